#!/bin/sh
# make_ptx.sh find           prints what the GPU's kernels can be made with: a clang, an nvcc, "texts", or nothing
# make_ptx.sh ARCH OUT       writes the PTX text for compute capability ARCH (61, 75, 80) to OUT
# No header of CUDA is needed. The version that a text demands of the driver is the oldest that has its instructions:
# PTX 6.0 is CUDA 9, 6.5 is 10.2, 7.0 is 11.0 (2020); compilers write their own, whatever the text needs.
set -eu
here=$(dirname "$0")
find_compiler() {
    for c in ${CLANG_PTX:-} clang-14 clang-15 clang-16 clang-17 clang-18 clang-19 clang-20 clang; do
        if command -v "$c" >/dev/null 2>&1 && "$c" --print-targets 2>/dev/null | grep -q nvptx64; then
            v=$("$c" -dumpversion) && [ "${v%%.*}" -ge 14 ] && { echo "$c"; return; }
        fi
    done
    # A release archive brings the texts; nvcc 13 and newer cannot make the one for 6.1.
    if [ -f "$here/ptx/kernels_80.ptx" ]; then echo texts; return; fi
    if command -v nvcc >/dev/null 2>&1 && nvcc --list-gpu-arch 2>/dev/null | grep -q compute_61; then echo nvcc; fi
}
if [ "$1" = find ]; then find_compiler; exit 0; fi

arch=$1 out=$2
case $arch in 61) version=6.0 ;; 75) version=6.5 ;; *) version=7.0 ;; esac
compiler=$(find_compiler)
case $compiler in
texts) cp "$here/ptx/kernels_$arch.ptx" "$out.tmp" ;;
nvcc) nvcc -ptx -O3 -std=c++17 -fmad=false -I"$here/.." -arch=compute_$arch "$here/kernels.cu" -o "$out.tmp" ;;
*) "$compiler" -x cuda --cuda-device-only --cuda-gpu-arch=sm_$arch -nocudainc -nocudalib -O3 -S -std=c++17 \
    -ffp-contract=off -I"$here/.." -Wall -Wextra -Wno-unknown-cuda-version -Wno-pass-failed "$here/kernels.cu" -o "$out.tmp" ;;
esac
sed "s/^\.version .*/.version $version/" "$out.tmp" >"$out"
rm -f "$out.tmp"
