#!/bin/sh
# fuzz.sh SECONDS FUZZER...: each fuzzer reads its seeds, which must bring it where tests/fuzz/reach.h asks, then makes inputs of
# its own for SECONDS (0: none); two at a time. What it finds lies beside it, the end of its log is printed, and the rest is not begun.
set -u
limits='-rss_limit_mb=4096 -timeout=25 -close_fd_mask=3 -verbosity=0 -print_final_stats=1'
if [ "$1" != --one ]; then
    seconds=$1
    shift
    printf '%s\n' "$@" | xargs -r -P 2 -I% sh "$0" --one "$seconds" %
    exit
fi

seconds=$2 f=$3
fail() {
    tail -40 "$f.log"
    echo "$f: $1"
    exit 255 # xargs begins no other
}
mkdir -p "$f.corpus" "$f.seeds"
FUZZ_SEEDS_ONLY=1 "$f" -runs=0 $limits "$f.seeds" >"$f.log" 2>&1 || fail "a seed fails, or none gets far"
if [ "$seconds" != 0 ]; then
    "$f" "-max_total_time=$seconds" "-artifact_prefix=$f-" $limits "$f.corpus" "$f.seeds" >"$f.log" 2>&1 || fail "an input fails"
fi
echo "$f: $(sed -n 's/^stat::number_of_executed_units: *//p' "$f.log") inputs"
