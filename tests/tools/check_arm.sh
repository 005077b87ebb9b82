#!/bin/sh
# check_arm.sh: the whole library on the other ISA, compiled crosswise against Debian's arm64 packages in a folder of their
# own (build/arm64-root), run by qemu: kernels bit for bit, the goldens' committed hashes, parity with transformers.
#
#   sh tests/tools/check_arm.sh        needs root, apt (to download, nothing arm64 is installed), gcc-aarch64-linux-gnu,
#                                      qemu-user-static; exit 77 where the packages cannot be had
set -eu
cd "$(dirname "$0")/../.."
root=$PWD/build/arm64-root
packages="libc6 libc6-dev linux-libc-dev libjansson-dev libjansson4 libzip-dev libzip4 libutf8proc-dev libutf8proc2 libxxhash-dev
libxxhash0 libjpeg62-turbo-dev libjpeg62-turbo libcmocka-dev libcmocka0 zlib1g libbz2-1.0 liblzma5 libzstd1 libssl3 libgcc-s1
libcrypt1"

if [ ! -e "$root/.done" ]; then
    mkdir -p "$root" build/arm64-debs
    had=$(dpkg --print-foreign-architectures | grep -x arm64 || true)
    [ -n "$had" ] || dpkg --add-architecture arm64
    apt-get update -qq
    fetched=yes
    (cd build/arm64-debs && for p in $packages; do apt-get download -qq "$p:arm64" 2>/dev/null || exit 1; done) || fetched=
    [ -n "$had" ] || { dpkg --remove-architecture arm64; apt-get update -qq; }
    [ -n "$fetched" ] || { echo "check_arm.sh: Debian's arm64 packages cannot be downloaded here; nothing was tested" >&2; exit 77; }
    for deb in build/arm64-debs/*.deb; do dpkg -x "$deb" "$root"; done
    cp -r /usr/include/stb "$root/usr/include/"
    touch "$root/.done"
fi

export PKG_CONFIG_LIBDIR=$root/usr/lib/aarch64-linux-gnu/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root
# (not test_quant: GCC 12 stops with an internal error on it; what it tests is in the hashes of test_bytes)
tests="tests/kernels/checkkernels tests/unit/test_ops tests/unit/test_image tests/unit/test_tokenizer tests/parity/test_parity tests/parity/test_bytes"
built=
for t in $tests; do built="$built build/arm64/$t"; done
make -j2 --no-print-directory CC="aarch64-linux-gnu-gcc --sysroot=$root" OPENMP=0 BLAS=0 JPEG=1 SPNG=0 WEBP=0 TIFF=0 GIF=0 HEIF=0 AVIF=0 JXL=0 VARIANT=arm64 $built
code=0
printf '%s\n' $tests | xargs -P 2 -I% sh -c '
    if qemu-aarch64-static -cpu max -L "$0" "build/arm64/%" >"build/arm64/%.log" 2>&1; then echo "arm64 ok     %"
    else echo "arm64 FAILED %"; cat "build/arm64/%.log"; exit 1; fi' "$root" || code=1
exit $code
