#!/bin/sh
# run.sh PROGRAM...: runs test programs that speak TAP (cmocka programs are told to), two at a time (AT_ONCE=N), prints one
# line for each when it ends, the whole output of those that fail, and as last line "N passed, N failed, N skipped". A program
# that dies before its plan is done counts the rest as failed.
set -u
export CMOCKA_MESSAGE_OUTPUT=TAP

# run.sh --one FOLDER NUMBER PROGRAM: one of them; FOLDER/NUMBER gets its counts, stdout its report in one piece
run_one() {
    work=$1 number=$2 program=$3 log=$1/$2.log
    began=$(date +%s)
    case $program in *.sh) sh "$program" ;; *) "$program" ;; esac >"$log" 2>&1
    code=$?
    counts=$(awk -v code="$code" '
        /^[[:space:]]*(not )?ok .*# *[Ss][Kk][Ii][Pp]/ { skip++; next } # cmocka writes "not ok 1 # SKIP name"
        /^[[:space:]]*not ok/ { bad++; next }
        /^[[:space:]]*ok/ { good++; next }
        /^[[:space:]]*1\.\.[0-9]+/ { sub(/.*1\.\./, ""); plan += $1 }
        END {
            seen = good + bad + skip
            if (plan > seen) bad += plan - seen
            if (code != 0 && bad == 0) bad = 1
            if (seen == 0 && plan == 0 && code == 0) bad = 1
            printf "%d %d %d", good, bad, skip
        }' "$log")
    good=${counts%% *} rest=${counts#* }
    bad=${rest%% *} skip=${rest#* }
    name=$(basename "$program" .sh)
    [ "$name" = run ] && name=cli
    {
        printf '  %-24s %4d passed, %d failed, %d skipped, %d s\n' "$name" "$good" "$bad" "$skip" $(($(date +%s) - began))
        if [ "$bad" -gt 0 ]; then cat "$log"; echo "  ($program: exit code $code)"; fi
        if [ "$skip" -gt 0 ]; then grep -iE 'skip' "$log" | sed 's/^/    /' | sort -u | head -20; fi
    } >"$work/$number.report"
    until mkdir "$work/printing" 2>/dev/null || [ ! -d "$work" ]; do sleep 0.1; done
    cat "$work/$number.report"
    rmdir "$work/printing"
    echo "$counts" >"$work/$number"
}
if [ "${1:-}" = --one ]; then
    shift
    run_one "$@"
    exit 0
fi

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
n=0
for program in "$@"; do
    [ -e "$program" ] || continue
    n=$((n + 1))
    echo "$n $program"
done >"$work/programs"
# By xargs: a shell lets what it starts with & ignore Ctrl-C.
xargs -r -P "${AT_ONCE:-2}" -L 1 sh "$0" --one "$work" <"$work/programs"

passed=0 failed=0 skipped=0 i=0
while [ $i -lt "$n" ]; do
    i=$((i + 1))
    if ! read -r good bad skip 2>/dev/null <"$work/$i"; then # the runner itself was killed
        good=0 bad=1 skip=0
        echo "  $(sed -n "${i}s/^[0-9]* //p" "$work/programs"): not run to its end"
    fi
    passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + skip))
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
