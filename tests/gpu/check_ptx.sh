#!/bin/sh
# check_ptx.sh [FOLDER]: the PTX texts that ship (build/embedded/gpu):
#   - no multiply-add that was not written: every float operation carries its rounding
#   - ptxas (from PyPI, nvidia-cuda-nvcc-cu12 12.9.86: 13 has no Pascal) takes them for every generation of cards, without
#     spills, without a stack frame; nothing newer than the .version: ptxas refuses that itself
#   - run by ptx_run.py (numpy) they leave the same memory as the kernels' source does as C++ (GPU_B: folder of the fake driver)
# PTXAS: a ptxas of 12.x; without it one is downloaded to build/ptxas (never installed, never shipped). TAP.
set -u
cd "$(dirname "$0")/../.." || exit 1
texts=${1:-build/embedded/gpu} python=${PYTHON:-python3}
if [ ! -s "$texts/kernels_80.ptx" ]; then echo "1..0 # SKIP no PTX texts (clang-14)"; echo "ok 1 - PTX # SKIP no clang"; exit 0; fi
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
n=0 code=0
check() { # title, command
    n=$((n + 1)) title=$1
    shift
    if "$@" >"$work/log" 2>&1; then echo "ok $n - $title: $(tail -n 1 "$work/log")"
    else echo "not ok $n - $title"; tail -n 20 "$work/log" | sed 's/^/#   /'; code=1; fi
}

rounded() { ! grep -nE '(add|sub|mul|mad|fma|div|sqrt)(\.ftz|\.approx|\.full|\.sat)*\.f32' "$1"; }
for a in 61 75 80; do check "compute $a: every operation on floats says how it rounds" rounded "$texts/kernels_$a.ptx"; done

find_ptxas() {
    if [ -n "${PTXAS:-}" ]; then echo "$PTXAS"; return; fi
    if [ ! -x build/ptxas/ptxas ]; then
        mkdir -p build/ptxas
        "$python" -m pip download -q --no-deps nvidia-cuda-nvcc-cu12==12.9.86 -d "$work" >/dev/null 2>&1 &&
            "$python" -m zipfile -e "$work"/*.whl "$work/wheel" && cp "$(find "$work/wheel" -name ptxas)" build/ptxas/ptxas &&
            chmod +x build/ptxas/ptxas || return
    fi
    echo build/ptxas/ptxas
}
# One line a generation: kernel:registers, with what must not be in capitals.
assemble() { # PTX SM
    "$ptxas" "-arch=sm_$2" -v "$texts/kernels_$1.ptx" -o "$work/cubin" >"$work/ptxas" 2>&1 || { cat "$work/ptxas"; return 1; }
    awk '/Compiling entry/ { name = $0; sub(/.*function ./, "", name); sub(/. for.*/, "", name) }
         /bytes stack frame/ {
             stack = $0; sub(/ bytes stack frame.*/, "", stack); sub(/.* /, "", stack)
             spill = $0; sub(/.*stack frame, /, "", spill); sub(/ bytes.*/, "", spill)
             if (stack + spill > 0) bad = 1
         }
         /Used [0-9]+ registers/ {
             registers = $0; sub(/.*Used /, "", registers); sub(/ .*/, "", registers)
             line = line sprintf("%s %s%s%s, ", name, registers, stack > 0 ? " STACK " stack : "", spill > 0 ? " SPILL " spill : "")
             kernels++
         }
         END { print kernels " kernels; registers: " line "no spill, no stack"; exit bad || kernels < 20 }' "$work/ptxas"
}
ptxas=$(find_ptxas)
if [ -n "$ptxas" ]; then
    for pair in 61:61 61:70 75:75 80:80 80:86 80:89 80:90 80:100 80:120; do
        check "sm_${pair#*:} takes the text for ${pair%:*}" assemble "${pair%:*}" "${pair#*:}"
    done
else
    n=$((n + 1))
    echo "ok $n - ptxas # SKIP nvidia-cuda-nvcc-cu12 cannot be downloaded"
fi

if [ -x "${GPU_B:-}/test_verbs" ] && "$python" -c 'import numpy' 2>/dev/null; then
    mkdir "$work/dump"
    check "launches to be repeated" env FAKE_CUDA_DUMP="$work/dump" LD_LIBRARY_PATH="$GPU_B" "$GPU_B/test_verbs" tiny
    for a in 61 75 80; do check "the text for $a does what its source does" "$python" tests/gpu/ptx_run.py "$texts/kernels_$a.ptx" "$work"/dump/*.launch; done
    sed '/entry layernorm/,/^}/s/sub\.rn\.f32/add.rn.f32/' "$texts/kernels_80.ptx" >"$work/wrong.ptx"
    wrong() { "$python" tests/gpu/ptx_run.py "$work/wrong.ptx" "$work"/dump/*.launch && return 1; grep -q DIFFERENT "$work/log"; }
    check "a wrong text is told from it" wrong
else
    n=$((n + 1))
    echo "ok $n - the interpreter # SKIP no fake driver, or no numpy for $python"
fi
echo "1..$n"
exit $code
