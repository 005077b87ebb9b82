#!/bin/sh
# onednn.sh [ROUNDS]: the ViT's weight products by oneDNN (Debian: g++ libdnnl-dev) and by us, in turns, 2 threads. oneDNN's
# program lies in ../shared/perf; its activations are quantised beforehand with one scale for all, its weights are packed
# in a layout of its own and have none, so it does less. Ours: whole b2_ops_linear calls, and the
# products alone, without quantising and epilogue.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd) rounds=${1:-5} threads=${THREADS:-2}
program=$root/../shared/perf/bench_onednn.cpp ours=$root/build/release/tests/kernels/checkkernels
[ -f "$program" ] || { echo "onednn.sh: ../shared/perf/bench_onednn.cpp is missing" >&2; exit 1; }
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
g++ -O2 -fopenmp "$program" -ldnnl -o "$work/onednn"
make -C "$root" -s "$ours" >/dev/null
round=0
while [ "$round" -lt "$rounds" ]; do
    OMP_NUM_THREADS=$threads "$work/onednn" vit | sed -n 's/.*=> phase.*u8s8f32 \([0-9.]* ms\).*/oneDNN  \1/p'
    "$ours" --bench "${ISA:-avx512vnni}" "$threads" vit | sed -n 's/^vit *all */ours    /p;s/^vit *products alone */alone   /p'
    round=$((round + 1))
done
