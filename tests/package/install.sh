#!/bin/sh
# SPDX-License-Identifier: MIT
# A plugin of one's own: the README's, against what an installation leaves, shared and static.
# usage: install.sh SOURCE_ROOT BUILD_DIR MESON
set -eu

source_root=$1 build=$2 meson=$3
cc=${CC:-cc}
work=$(mktemp -d)
name=tickstate-test-package-$$
trap 'rm -rf "$work" "/dev/shm/$name"' EXIT

[ -f "$source_root/README.md" ] || { echo "no README.md yet"; exit 77; }

# The first C block with a main(), on a store of its own.
awk '/^```c$/ { inside = 1; block = ""; next }
     /^```/ { if (inside && block ~ /int main/) { printf "%s", block; exit } inside = 0 }
     inside { block = block $0 "\n" }' "$source_root/README.md" > "$work/plugin.c"
[ -s "$work/plugin.c" ] || { echo "README.md has no C block with a main()" >&2; exit 1; }
sed -i "s,shm://[A-Za-z0-9_.-]*,shm://$name,g" "$work/plugin.c"

DESTDIR=$work/root $meson install -C "$build" --no-rebuild --quiet > "$work/log" 2>&1 || {
    cat "$work/log" >&2
    exit 1
}
pc=$(find "$work/root" -name tickstate.pc)
[ -n "$pc" ] || { echo "no tickstate.pc is installed" >&2; exit 1; }
# Under the default prefix pkg-config finds it unasked.
installed=${pc#"$work/root"}
case $installed in
/usr/local/*)
    case :$(pkg-config --variable=pc_path pkg-config): in
    *:"${installed%/*}":*) ;;
    *)
        echo "pkg-config does not look where tickstate.pc is: $installed" >&2
        exit 1
        ;;
    esac
    ;;
esac
export PKG_CONFIG_SYSROOT_DIR="$work/root"
export PKG_CONFIG_PATH="${pc%/*}"
libdir=$(pkg-config --variable=libdir tickstate)
case $libdir in "$work"/*) ;; *) libdir=$work/root$libdir ;; esac
flags='-std=c11 -Wall -Wextra -Werror'

# What is installed knows nothing of where it was built.
for file in "$pc" "$(find "$work/root" -name tickstate.h)"; do
    if grep -nF -e "$source_root" -e "$build" "$file"; then
        echo "$file names the build's folders" >&2
        exit 1
    fi
done

# "$@" runs the plugin twice: it finds its state of the first time.
run() {
    for time in first second; do
        "$@" > "$work/output" 2>&1 || {
            echo "the plugin fails the $time time:" >&2
            cat "$work/output" >&2
            exit 1
        }
    done
    rm -f "/dev/shm/$name"
}

# shellcheck disable=SC2086,SC2046 # flags are words
$cc $flags -o "$work/shared" "$work/plugin.c" $(pkg-config --cflags --libs tickstate)
readelf -d "$work/shared" | grep -q 'NEEDED.*libtickstate\.so' || {
    echo "the shared plugin does not need libtickstate.so" >&2
    exit 1
}
run env LD_LIBRARY_PATH="$libdir" "$work/shared"

# Everything static, libc too. Its look-up of groups by name needs libc's shared part at run time,
# of which the linker warns.
# shellcheck disable=SC2086,SC2046
$cc $flags -static -o "$work/static" "$work/plugin.c" \
    $(pkg-config --static --cflags --libs tickstate) 2> "$work/log" || { cat "$work/log" >&2; exit 1; }
run "$work/static"

# Only this library static.
mkdir "$work/archive"
cp "$libdir/libtickstate.a" "$work/archive"
# shellcheck disable=SC2086,SC2046
$cc $flags -o "$work/mixed" "$work/plugin.c" -L"$work/archive" \
    $(pkg-config --static --cflags --libs tickstate)
if readelf -d "$work/mixed" | grep -q 'NEEDED.*libtickstate'; then
    echo "the plugin with the archive needs the shared library" >&2
    exit 1
fi
run "$work/mixed"
