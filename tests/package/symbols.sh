#!/bin/sh
# SPDX-License-Identifier: MIT
# The shared library exports exactly the functions that the public header declares.
# usage: symbols.sh HEADER BUILD_DIR
set -eu

header=$1
library=$(find "$2" -name 'libtickstate.so*' -type f ! -name '*.symbols' | head -n 1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

[ -n "$library" ] || { echo "no libtickstate.so in the build folder" >&2; exit 1; }
sed -n 's/^TKS_API [^(]*\(tks_[a-z0-9_]*\)(.*/\1/p' "$header" | sort > "$work/declared"
nm -D --defined-only "$library" | awk '{ sub(/@.*/, "", $3); print $3 }' | sort > "$work/exported"
[ "$(wc -l < "$work/declared")" -gt 50 ] || { echo "the header was not understood" >&2; exit 1; }
diff -u "$work/declared" "$work/exported" || {
    echo "left out (-) or exported without being declared (+)" >&2
    exit 1
}
# The tests' hook is in the tiny build only.
for built in "$library" "$2"/src/libtickstate.a; do
    ! nm "$built" | grep tks_point || { echo "$built has points" >&2; exit 1; }
done
echo "$(wc -l < "$work/exported") functions, as declared"
