#!/bin/sh
# SPDX-License-Identifier: MIT
# The tests must be able to fail: each build with a planted bug has to be caught by one of them.
#   plants.sh FOLDER PLANT...      FOLDER has PROGRAM_PLANT for each program below
set -u
folder=$1
shift
seconds=12 # for a program and seed
missed=0

# Exit status 1 and a line that says FAILED: the test itself saw it. A crash counts too, a
# hang that only this script's clock ends does not.
run() {
    output=$(timeout 60 "$folder/$1_$2" --plant --budget $seconds --seed "$3" 2>&1)
    status=$?
    [ $status -eq 126 ] || [ $status -eq 127 ] && return 127
    [ $status -eq 77 ] && return 77
    line=$(printf '%s\n' "$output" | grep -m 1 FAILED | cut -c 1-160)
    [ $status -ne 0 ] && [ $status -ne 124 ]
}

# catch_plant PLANT PROGRAM...: one of them must
catch_plant() {
    plant=$1
    shift
    for seed in 1 2 3; do
        for program in "$@"; do
            run "$program" "$plant" $seed
            case $? in
                0) echo "[       OK ] $plant: caught by $program --seed $seed: $line"; return 0 ;;
                77) return 77 ;;
                127) echo "[  FAILED  ] $plant: $program cannot be run"; return 1 ;;
            esac
        done
    done
    echo "[  FAILED  ] $plant: not caught by $*"
    return 1
}

total=0
skipped=0
# The named points alone, and then those that know nothing of them.
for plant in "$@"; do
    for programs in points 'stall_sweep kill_sweep random_kill stall linear'; do
        total=$((total + 1))
        # shellcheck disable=SC2086 # words
        catch_plant "$plant" $programs
        case $? in
            0) ;;
            77) skipped=$((skipped + 1)) && total=$((total - 1)) ;;
            *) missed=$((missed + 1)) ;;
        esac
    done
done
echo "$((total - missed)) passed, $missed failed, $skipped skipped (they cannot run here)"
[ $missed -eq 0 ] || exit 1
[ $skipped -eq 0 ] || exit 77
