#!/bin/sh
# check_fake_gpu.sh: layers on a GPU, without a GPU: the driver is tests/gpu/fake_cuda.cpp. GPU_B: the folder with it and
# with the programs that are to load it. GPU_TESTS: few (for sanitizers), all (default), full (the long matrix too). TAP.
set -u
cd "$(dirname "$0")/../.." || exit 1
if [ ! -x "${GPU_B:-}/blip2" ] || [ ! -f "$GPU_B/libcuda.so.1" ]; then
    echo "1..0 # SKIP no g++: layers on a GPU are not tested"
    echo "ok 1 - layers on a GPU # SKIP no g++"
    exit 0
fi
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
unset BLIP2_GPU_LAYERS BLIP2_MODEL
much=${GPU_TESTS:-all} orders="0 1 2 7 8 15" models="one odd heads deep outlier" step=1
[ "$much" = few ] && orders="0 7" models=one step=9
n=0 code=0
check() { # title, command: it must succeed
    n=$((n + 1)) title=$1
    shift
    if "$@" >"$work/log" 2>&1; then echo "ok $n - $title: $(tail -n 1 "$work/log")"
    else echo "not ok $n - $title"; tail -n 20 "$work/log" | sed 's/^/#   /'; code=1; fi
}
fake() { LD_LIBRARY_PATH=$GPU_B "$@"; }
session() { fake "$GPU_B/test_session" "$@"; }
ours=$GPU_B/blip2
golden=tests/golden/models
for m in one odd heads deep outlier; do "$ours" convert $golden/$m -o "$work/$m.gguf" --quiet || exit 1; done
"$ours" convert data/demo/model -o "$work/demo.gguf" --quiet && "$ours" convert $golden/one --type f16 -o "$work/f16.gguf" --quiet || exit 1

# ---- verbs, sessions ----
for order in $orders; do check "verbs, order $order" env FAKE_CUDA_ORDER=$order LD_LIBRARY_PATH="$GPU_B" "$GPU_B/test_verbs"; done
check "verbs, memory that only kernels may touch" env FAKE_CUDA_PROTECT=1 LD_LIBRARY_PATH="$GPU_B" "$GPU_B/test_verbs"
for m in $models; do check "$m: every number of layers" session "$work/$m.gguf" $golden/$m/picture0.png 4 layers; done
check "what refuses at once; sharing; silence; fork" session "$work/one.gguf" $golden/one/picture0.png 4 door share hang fork
check "a tiny model: failing calls" session "$work/one.gguf" $golden/one/picture0.png 2 fail $step
[ "$much" = few ] || check "the demo: some layers, some memory" session "$work/demo.gguf" data/demo/images/01.jpg 6 some
[ "$much" = few ] || check "the demo: a failure at every 37th call" session "$work/demo.gguf" data/demo/images/01.jpg 2 fail-last 37
[ "$much" = full ] && check "every call, every number of layers" session "$work/deep.gguf" $golden/deep/picture0.png 2 fail-all

# ---- the program ----
job() { # NAME=value... then options: the demo's first pictures to $work/got
    env LD_LIBRARY_PATH="$GPU_B" "$@" -m "$work/demo.gguf" data/demo/images/01.jpg data/demo/images/02.png data/demo/images/03.jpg \
        --quiet --format jsonl --tokens >"$work/got" 2>"$work/said"
}
same() { # title of the sentence expected on stderr (empty: none), then a job
    want=$1
    shift
    job "$@" || { echo "exit code $?"; cat "$work/said"; return 1; }
    cmp "$work/want" "$work/got" || return 1
    if [ -z "$want" ]; then [ ! -s "$work/said" ] || { cat "$work/said"; return 1; }
    else [ "$(wc -l <"$work/said")" = 1 ] && grep -q "$want" "$work/said" || { cat "$work/said"; return 1; }; fi
    echo same bytes
}
job "$ours" caption && cp "$work/got" "$work/want" || exit 1
check "caption --gpu-layers auto" same "" "$ours" caption --gpu-layers auto
check "BLIP2_GPU_LAYERS=7" same "" BLIP2_GPU_LAYERS=7 "$ours" caption
check "three workers share one copy" same "" "$ours" caption --gpu-layers auto --workers 3 -t 3 --batch 1
check "too little memory is said once" same "of 11 layers fit into fake GPU 0" FAKE_CUDA_VRAM=5000000 "$ours" caption --gpu-layers auto --batch 1
check "no device is said once" same "no CUDA-capable device is detected (100); everything runs on the CPU" FAKE_CUDA_DEVICES=0 "$ours" caption --gpu-layers 3 --workers 3 -t 3
check "a second device that is not there" same "GPU 1 does not exist: there is 1" "$ours" caption --gpu-layers 3 --gpu-device 1
check "lost half-way is said once" same "an illegal memory access was encountered (700); everything runs on the CPU" FAKE_CUDA_FAIL=900:700 "$ours" caption --gpu-layers auto
check "silent half-way is said once" same "no answer for 1 s; everything runs on the CPU" FAKE_CUDA_HANG=900 "$ours" caption --gpu-layers auto --gpu-timeout 1
check "without a driver" same "no NVIDIA driver: libcuda.so.1 was not found; everything runs on the CPU" LD_LIBRARY_PATH=/nonexistent "$ours" caption --gpu-layers auto
for beams in 1 3; do
    told="--alternatives 3 --output-scores --repetition-penalty 1.2 --num-beams $beams"
    job "$ours" caption $told && cp "$work/got" "$work/want" && grep -q alternatives "$work/want" || exit 1
    check "alternatives and scores, $beams beams" same "" "$ours" caption --gpu-layers auto $told
    check "alternatives and scores, $beams beams, lost half-way" same "everything runs on the CPU" FAKE_CUDA_FAIL=900:700 "$ours" caption --gpu-layers auto $told
done
not_touched() { job FAKE_CUDA_COUNT="$work/count" "$ours" caption "$@" && [ ! -e "$work/count" ] && echo no call; }
check "0 layers: the driver is not touched" not_touched --gpu-layers 0
check "f16 files stay on the CPU" sh -c "LD_LIBRARY_PATH='$GPU_B' '$ours' caption -m '$work/f16.gguf' --gpu-layers auto $golden/one/picture0.png 2>&1 | grep 'the GPU computes int8 files only, this one is f16'"
refused() { "$ours" caption -m "$work/demo.gguf" "$@" data/demo/images/01.jpg 2>&1; [ $? = 2 ]; }
check "no number of layers" refused --gpu-layers many
check "info says what would run where" sh -c "LD_LIBRARY_PATH='$GPU_B' '$ours' info '$work/demo.gguf' --gpu-layers 9 | grep 'fake GPU 0, compute 8.0, driver for CUDA 12.4.*5 of 5 ViT blocks, Q-Former on the GPU, LM head on the GPU, 2 of 4 text blocks'"
check "-v says it too" sh -c "LD_LIBRARY_PATH='$GPU_B' '$ours' caption -v -m '$work/demo.gguf' --gpu-layers 2 data/demo/images/01.jpg 2>&1 | grep 'GPU: fake GPU 0.*2 of 5 ViT blocks'"
check "--timings tell the GPU's part" sh -c "LD_LIBRARY_PATH='$GPU_B' '$ours' caption --format jsonl --timings -m '$work/demo.gguf' --gpu-layers 2 data/demo/images/01.jpg 2>&1 | grep '\"gpu_ms\":[1-9]'"
check "bench tells the GPU's part" sh -c "LD_LIBRARY_PATH='$GPU_B' '$ours' bench --repeats 1 -n 2 -m '$work/demo.gguf' --gpu-layers 2 2>&1 | grep 'GPU .* ms waited for: fake GPU 0'"
linked() { ! { ldd "$BLIP2"; nm -D "$BLIP2"; nm "$BLIP2" | grep -v ' [tTrR] '; } | grep -v libicudata | grep -iE 'cuda|nvidia|libcu| cu[A-Z]'; }
check "nothing of CUDA is linked" linked

# ---- planted bugs: each must be found by the verbs' test, in one order or the other ----
plant() { # title, file, sed script
    mkdir -p "$work/k/gpu" && cp src/gpu/*.cu src/gpu/*.h "$work/k/gpu/" || return 1
    sed "$3" "src/gpu/$2" >"$work/k/gpu/$2"
    cmp -s "src/gpu/$2" "$work/k/gpu/$2" && { echo "the bug was not planted"; return 1; }
    ${CXX:-g++} -x c++ -std=c++17 -O1 -fPIC -fvisibility=hidden -ffp-contract=off -w '-DB2_EMULATE="tests/gpu/emu.h"' -I"$work/k" -I. \
        -c -o "$work/k/bug.o" "$work/k/gpu/$2" || return 1
    other=kernels_rows.cu
    [ "$2" = kernels_rows.cu ] && other=kernels_gemm.cu
    mkdir -p "$work/bug"
    ${CXX:-g++} -shared -Wl,-soname,libcuda.so.1 -o "$work/bug/libcuda.so.1" "$work/k/bug.o" "$GPU_B/fake/src/gpu/$other.o" \
        "$GPU_B/fake/tests/gpu/emu.cpp.o" "$GPU_B/fake/tests/gpu/fake_cuda.cpp.o" || return 1
    for order in 0 7; do
        LD_LIBRARY_PATH=$work/bug FAKE_CUDA_ORDER=$order "$GPU_B/test_verbs" >"$work/bug.log" 2>&1 || { echo "found, order $order: $(tail -n 1 "$work/bug.log")"; return 0; }
    done
    echo "not found"
    return 1
}
if [ "$much" = few ]; then echo "1..$n"; exit $code; fi
check "bug: no barrier after a stage" plant "" kernels_gemm.cu '/the stage just read is the next/d'
check "bug: no barrier before a stage" plant "" kernels_gemm.cu '/copy_wait<0>();/{n;d;}'
check "bug: no barrier between passes" plant "" kernels_gemm.cu '/the next pass writes where/d'
check "bug: no wait for copies" plant "" kernels_gemm.cu 's/copy_wait<1>()/copy_wait<2>()/'
check "bug: no barrier before the sums are walked" plant "" kernels_gemm.cu '/sums + (group - first)/{n;d;}'
check "bug: a key too many" plant "" kernels_rows.cu 's/b.first_visible = a.slots ? n_past + first + 1/b.first_visible = a.slots ? n_past + first + 2/'
check "bug: a key too few" plant "" kernels_rows.cu 's/const int n = visible(b, QUERIES - 1);/const int n = visible(b, QUERIES - 1) - 1;/'
check "bug: reads behind the end" plant "" kernels_gemm.cu 's/const bool is_there = n < n_padded;/const bool is_there = true;/; s/is_there ? n \/ a.panel : 0/n \/ a.panel/; s/is_there ? n % a.panel : 0/n % a.panel/'
check "bug: a shuffle that some lanes miss" plant "" kernels_rows.cu 's/if (tid() < 32) { \/\* both halves/if (tid() < 16) { \/* both halves/'
check "bug: no barrier before the softmax" plant "" kernels_rows.cu '/^    soften(a, b);/{n;d;}'
check "bug: lanes summed in another order" plant "" kernels_rows.cu 's/by = 8; by > 0; by \/= 2) {$/by = 1; by < 16; by *= 2) {/'
echo "1..$n"
exit $code
