#!/bin/sh
# check_tsan.sh TEST...: the tests of threads, and jobs whose reader, workers and writer run at once, in a build with
# ThreadSanitizer: it ends a program that has a race with 66. TAP; BLIP2 names the program. What blip2 itself writes is
# compared with one worker's. Run by `make check-tsan`.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
export LC_ALL=C.UTF-8 TSAN_OPTIONS='halt_on_error=1 exitcode=66'
unset BLIP2_MODEL OMP_NUM_THREADS SLURM_CPUS_PER_TASK
n=0 status=0
check() {
    n=$((n + 1))
    if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2 (exit $1)"; status=1; fi
}

for test in "$@"; do
    "$test" >"$work/log" 2>&1
    code=$?
    [ $code = 0 ] || cat "$work/log"
    check $code "$(basename "$test")"
done

cd "$work" || exit 1
"$BLIP2" convert "$root/tests/golden/models/one" -o one.gguf --quiet
check $? "convert"
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do ls "$root"/data/demo/images/0*; done >list
cat >job.sh <<'END'
exec "$BLIP2" caption -m one.gguf --quiet --files-from list -q "how many?" --format jsonl --tokens "$@"
END
export BLIP2
job() { sh job.sh "$@"; }
job --workers 1 -t 1 -o one.jsonl
check $? "a job, one worker"
job --workers 3 -t 2 --batch 2 -o three.jsonl --report three.html --match all
check $? "a job, three workers of two threads, with a page"
job --workers 3 -t 1 --batch 3 -o again.jsonl && cmp -s one.jsonl again.jsonl
check $? "the same bytes"
sh job.sh --workers 2 -t 2 -o stopped.jsonl 2>log &
pid=$!
while kill -0 $pid 2>/dev/null && [ "$(wc -l <stopped.jsonl.part 2>/dev/null || echo 0)" -lt 3 ]; do sleep 0.1; done
kill -TERM $pid
wait $pid
[ $? = 75 ]
check $? "a job that is stopped"
job --workers 2 -t 2 -o stopped.jsonl --resume && cmp -s one.jsonl stopped.jsonl
check $? "and goes on"
echo "1..$n"
exit $status
