#!/bin/sh
# SPDX-License-Identifier: MIT
# The folders of src are layers: a file includes from its own folder and from earlier ones only.
# usage: layers.sh SOURCE_ROOT
set -eu

layers='base json segment memory table recovery checkpoint store local database api factory'
src=$1/src
failed=0

rank() {
    position=0
    for layer in $layers; do
        position=$((position + 1))
        [ "$layer" = "$1" ] && { echo "$position"; return; }
    done
    echo 0
}

complain() {
    echo "$1" >&2
    failed=1
}

# One #include "NAME" of one file of one layer.
check_include() {
    file=$1 layer=$2 name=$3
    case $name in
    */*) target=${name%%/*} path=$src/$name ;;
    *) target=$layer path=$src/$layer/$name ;;
    esac
    if [ ! -f "$path" ]; then
        complain "$file: \"$name\" is neither of its own folder nor FOLDER/FILE below src"
    elif [ "$(rank "$target")" -eq 0 ]; then
        complain "$file: \"$name\" is of no layer"
    elif [ "$(rank "$target")" -gt "$(rank "$layer")" ]; then
        complain "$file: \"$name\" is of a higher layer"
    fi
}

files=$(find "$src" -name '*.[ch]')
[ -n "$files" ] || { echo "no source in $src" >&2; exit 1; }
for path in $files; do
    file=${path#"$src"/}
    layer=${file%%/*}
    if [ "$(rank "$layer")" -eq 0 ]; then
        complain "$file: lies in no layer ($layers)"
        continue
    fi
    for name in $(sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*"\([^"]*\)".*/\1/p' "$path"); do
        check_include "$file" "$layer" "$name"
    done
    for name in $(sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*<\(tickstate\/[^>]*\)>.*/\1/p' "$path"); do
        [ "$name" = tickstate/tickstate.h ] || complain "$file: <$name> is not the public header"
    done
done
exit $failed
