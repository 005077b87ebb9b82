#!/bin/sh
# check_job.sh: jobs under what happens to jobs: kill -9 at twenty moments, a disk that fills up at five, the student's own
# list and tables. TAP; BLIP2 names the program. What needs ../shared skips without it.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
noun=${NOUN:-$root/../shared/data/noun}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
export LC_ALL=C.UTF-8
unset BLIP2_MODEL OMP_NUM_THREADS SLURM_CPUS_PER_TASK
n=0 status=0
ok() { n=$((n + 1)); echo "ok $n - $1"; }
bad() { n=$((n + 1)); echo "not ok $n - $1"; status=1; }
check() { if [ "$1" = 0 ]; then ok "$2"; else bad "$2"; fi; }
skip() { n=$((n + 1)); echo "ok $n - $1 # SKIP $2"; }

cd "$work" || exit 1
"$BLIP2" convert "$root/data/demo/model" -o demo.gguf --quiet || exit 1
ln -s "$root/data/demo/images" images
i=0; while [ $i -lt 12 ]; do ls images/*; i=$((i + 1)); done >list
cat >job.sh <<'END'
exec "$BLIP2" caption -m demo.gguf --quiet --files-from list -q "what color is the object?" --format jsonl --tokens "$@"
END
export BLIP2
job() { sh job.sh "$@"; }

# ---- kill -9 at twenty moments of one job ---------------------------------------------------------------------------------
began=$(date +%s%N)
job -o whole.jsonl || exit 1
ms=$((($(date +%s%N) - began) / 1000000))
seed=$$ kills=0 k=0
while [ $k -lt 20 ]; do
    seed=$(((seed * 1103515245 + 12345) % 2147483648))
    sh job.sh -o killed.jsonl --resume --batch $((k % 5 + 1)) 2>>log &
    pid=$!
    sleep "$(awk "BEGIN { print (20 + $seed % 1000 / 1000 * $ms / 8) / 1000 }")"
    kill -KILL $pid 2>/dev/null && kills=$((kills + 1))
    wait $pid 2>/dev/null
    k=$((k + 1))
done
if [ -e killed.jsonl.part ]; then job -o killed.jsonl --resume 2>>log; fi
cmp -s whole.jsonl killed.jsonl && [ ! -e killed.jsonl.part ] && [ $kills -ge 5 ]
check $? "kill -9 at 20 random moments ($kills hit), resumed: equal bytes"

# ---- a disk that fills up at five moments: every record that was written is there, the rest is done later --------------------
full=0
for blocks in 1 16 64 200 400; do
    rm -f full.jsonl full.jsonl.part
    (ulimit -f $blocks; trap '' XFSZ; job -o full.jsonl 2>full.log)
    code=$?
    [ $code = 4 ] || [ $code = 0 ] || full=1
    [ $code = 4 ] && [ -e full.jsonl ] && full=1
    [ $code = 0 ] || job -o full.jsonl --resume 2>>full.log || full=1
    cmp -s whole.jsonl full.jsonl || full=1
done
check $full "a full disk at 5 moments: exit 4, nothing lost, equal bytes after --resume"

# ---- SIGTERM: exit 75 in time ------------------------------------------------------------------------------------------------
rm -f term.jsonl*
sh job.sh -o term.jsonl 2>term.log &
pid=$!
until [ -s term.jsonl.part ]; do sleep 0.02; done
began=$(date +%s); kill -TERM $pid; wait $pid; code=$?
[ $code = 75 ] && [ $(($(date +%s) - began)) -le 10 ] && job -o term.jsonl --resume && cmp -s whole.jsonl term.jsonl
check $? "SIGTERM: exit 75 within 10 s, resumed: equal bytes"

# ---- the bar, on a terminal -----------------------------------------------------------------------------------------------------
if command -v script >/dev/null; then
    script -qec '"$BLIP2" caption -m demo.gguf --files-from list -o bar.txt --time-limit 2s' /dev/null >bar.log </dev/null
    code=$?
    [ $code = 75 ] || [ $code = 0 ] && tr '\r' '\n' <bar.log | grep -Eq '\[#*\.+\] [0-9]+/768 pictures  [0-9.]+/s  [0-9]+:[0-9][0-9] left'
    check $? "a terminal sees a bar: count, rate, time left"
    esc=$(printf '\033')
    script -qec '"$BLIP2" score -m demo.gguf -t 1 --text "a red ring" images' /dev/null </dev/null | tr '\r' '\n' >bar.log
    grep -Eq '\[#*\.+\] [0-9]+/64 pictures  [0-9.]+/s' bar.log && [ "$(grep -Ec "^($esc\[K)?images/.*a red ring$" bar.log)" = 64 ]
    check $? "score has one, too; it is wiped before each result"
    script -qec '"$BLIP2" score -m demo.gguf -t 1 --text "a red ring" -o scores.txt images missing.png' /dev/null </dev/null |
        tr '\r' '\n' >bar.log
    grep -q '#.*/65 pictures' bar.log && grep -Eq "^($esc\[K)?blip2: missing.png: cannot be opened" bar.log
    check $? "and before the sentence about a picture that fails"
    script -qec '"$BLIP2" score -m demo.gguf -t 1 --quiet --text "a red ring" images' /dev/null </dev/null | tr -d '\r' >bar.log
    [ "$(wc -l <bar.log)" = 64 ] && [ "$(grep -c '^images/.*a red ring$' bar.log)" = 64 ]
    check $? "score --quiet: results and nothing else"
else
    for t in "a bar on a terminal" "score's bar" "a failure beside it" "score --quiet"; do skip "$t" "script is missing"; done
fi

# ---- the demo's own list -------------------------------------------------------------------------------------------------------
cp "$root/data/demo/demo.csv" .
"$BLIP2" caption -m demo.gguf --quiet --csv demo.csv --format csv --match colors,textures -o demo_inference.csv
check $? "the demo's CSV: exit 0"

# ---- the student's ---------------------------------------------------------------------------------------------------------------
if [ -d "$noun/datasets" ]; then
    ln -s "$noun" data
    "$BLIP2" caption -m demo.gguf --csv data/datasets/dataset_full.csv --format csv -o dataset_inference.csv 2>student.log
    code=$?
    [ $code = 1 ] && [ "$(grep -c ',error,' dataset_inference.csv)" = 52 ] && [ "$(wc -l <dataset_inference.csv)" = 65 ] &&
        [ "$(grep -c 'cannot be opened: No such file' dataset_inference.csv)" = 52 ]
    check $? "the student's dataset_full.csv: 64 records, 12 captions, 52 errors, exit 1"
    same=0
    for csv in data/datasets/*.csv; do # every cell comes back: the input's bytes are the output's first columns
        "$BLIP2" match --csv "$csv" --column 1 --match colors --match-mode substring 2>/dev/null | sed 's/,[^,]*$//' >cells
        # as the file, without BOM, CRs and blank lines
        sed '1s/^\xEF\xBB\xBF//; s/\r*$//' "$csv" | grep -v '^$' >want
        awk -F, 'NR == FNR { n[FNR] = $0; next } { if (index($0, n[FNR]) != 1) bad = 1 } END { exit bad }' want cells || same=1
    done
    check $same "the student's tables: every cell comes back byte for byte"
    if command -v python3 >/dev/null; then
        python3 "$root/tests/tools/check_match.py" "$BLIP2" "$noun" >match.log 2>&1
        code=$?
        grep '^#' match.log | tail -n 3
        check $code "substring mode is the study's rule on every text of its tables"
    else
        skip "substring mode is the study's rule" "python3 is missing"
    fi
else
    skip "the student's list, tables and rule" "../shared/data/noun is missing"
fi
echo "1..$n"
exit $status
