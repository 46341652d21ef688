#!/bin/sh
# SPDX-License-Identifier: MIT
# No file names a folder of the machine it was written on.
# usage: paths.sh SOURCE_ROOT
set -eu

cd "$1"
# A path as of the root, not the end of a longer one or of a URL.
pattern='(^|[^A-Za-z0-9_.~}/-])/(home|root|work|Users|mnt|srv)/'

# Without git (a tarball): every file that is no build folder's.
if git rev-parse --is-inside-work-tree > /dev/null 2>&1; then
    found=$(git grep -nIE "$pattern" -- . || true)
else
    found=$(grep -rnIE --exclude-dir='build*' --exclude-dir='.*' "$pattern" . || true)
fi
if [ -n "$found" ]; then
    echo "$found" >&2
    exit 1
fi
