#!/bin/sh
# check_demo.sh: the demo's checkpoint against what transformers f32 said about its pictures (data/demo/expected.tsv), by way
# of the same check-real that a user runs on the published weights. Without Python. TAP.
set -u
cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
unset BEACH CATS IMAGE
n=0 code=0
check() { # title, pattern of the verdict, then NAME=value for check_real.sh
    n=$((n + 1)) title=$1 pattern=$2
    shift 2
    env CHECKPOINT=data/demo/model MODEL="$work/m.gguf" "$@" sh tests/tools/check_real.sh >"$work/log" 2>&1
    if tail -n 1 "$work/log" | grep -Eq "$pattern"; then echo "ok $n - $title"
    else echo "not ok $n - $title"; sed 's/^/#   /' "$work/log"; code=1; fi
}
check "an f32 file gives transformers' ids" "all 192 compared answers" TYPE=f32 EXPECT=data/demo/expected.tsv
check "an i8 file gives them but for near ties" "all 192 compared|19[0-9] answers are the published ones; [12] differ only behind|1[89][0-9] answers are the published ones; [12] differ" EXPECT=data/demo/expected.tsv
check "other answers are called different" "2 of 2 answers are NOT" BEACH=data/demo/images/01.jpg
check "without expectations nothing is claimed" "nothing was compared" IMAGE=data/demo/images/01.jpg
echo "1..$n"
exit $code
