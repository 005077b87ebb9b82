#!/bin/sh
# check_lists.sh: LISTS=200 lists of every kind, damaged at random, always the same ones: mutate_lists.py. Needs Python
# (nothing but its own modules); says loudly when it is not there. TAP; BLIP2 names the program.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python3}
n=${LISTS:-200}
echo "1..1"
"$python" -c 'import json' >/dev/null 2>&1 || { echo "ok 1 - damaged lists # SKIP no Python (PYTHON=...)"; exit 0; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
unset BLIP2_MODEL SLURM_CPUS_PER_TASK
"$BLIP2" convert "$root/data/demo/model" -o "$work/demo.gguf" --quiet || exit 1
if "$python" "$root/tests/tools/mutate_lists.py" "$work/demo.gguf" "$root/data/demo/images" "$n" >"$work/log" 2>&1; then
    echo "ok 1 - $n damaged lists: every row in the output once, or a refusal that is true"
else
    echo "not ok 1 - $n damaged lists: every row in the output once, or a refusal that is true"
    sed 's/^/# /' "$work/log"
    exit 1
fi
