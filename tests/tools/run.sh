#!/bin/sh
# run.sh PROGRAM...: runs test programs that speak TAP (cmocka programs are told to), prints one line for each, the
# whole output of those that fail, and as last line "N passed, N failed, N skipped". A program that dies before its
# plan is done counts the rest as failed.
set -u
export CMOCKA_MESSAGE_OUTPUT=TAP
passed=0 failed=0 skipped=0
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

for program in "$@"; do
    [ -e "$program" ] || continue
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
    set -- "$@"
    good=${counts%% *} rest=${counts#* }
    bad=${rest%% *} skip=${rest#* }
    name=$(basename "$program" .sh)
    [ "$name" = run ] && name=cli
    printf '  %-24s %4d passed, %d failed, %d skipped\n' "$name" "$good" "$bad" "$skip"
    if [ "$bad" -gt 0 ]; then cat "$log"; echo "  ($program: exit code $code)"; fi
    if [ "$skip" -gt 0 ]; then grep -iE 'skip' "$log" | sed 's/^/    /' | sort -u | head -20; fi
    passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + skip))
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
