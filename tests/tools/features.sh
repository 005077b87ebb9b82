#!/bin/sh
# features.sh NAME=1|0...: one line for each optional library: what it gives, or what is lost and which package brings it.
line() { # FLAG NAME GAIN LOSS
    if [ "$1" = 1 ]; then printf '  ✓ %-14s %s\n' "$2" "$3"; else printf '  ✗ %-14s %s\n' "$2" "$4"; fi
}
for feature; do
    on=${feature#*=}
    case $feature in
    OPENMP=*) line "$on" OpenMP 'threads from OpenMP' 'threads of our own, just as fast (OPENMP=1, libgomp or libomp-dev)' ;;
    BLAS=*) line "$on" OpenBLAS 'f32/f16 files, int8 on CPUs without int8 instructions' 'f32/f16 files run slowly (libopenblas-dev)' ;;
    JPEG=*) line "$on" libjpeg 'JPEG exactly as Pillow decodes it' 'JPEG through stb_image, a few levels off, none of four inks (libjpeg62-turbo-dev)' ;;
    SPNG=*) line "$on" libspng 'PNG row by row, also what is left of damaged files' 'PNG through stb_image, whole, damaged ones not at all (libspng-dev)' ;;
    WEBP=*) line "$on" libwebp 'WebP' 'no WebP (libwebp-dev)' ;;
    TIFF=*) line "$on" libtiff 'TIFF' 'no TIFF (libtiff-dev, 4.5 or newer)' ;;
    GIF=*) line "$on" giflib 'GIF, the first frame' 'no GIF (libgif-dev)' ;;
    HEIF=*) line "$on" libheif 'HEIC, as phones write it' 'no HEIC (libheif-dev)' ;;
    AVIF=*) line "$on" libavif 'AVIF' 'no AVIF (libavif-dev)' ;;
    JXL=*) line "$on" libjxl 'JPEG XL' 'no JPEG XL (libjxl-dev)' ;;
    ARCHIVE=*) line "$on" libarchive 'tar files, plain, gzip and zstd (--tar)' 'no tar files (libarchive-dev)' ;;
    PTX=*) line "$on" GPU 'layers on CUDA devices (--gpu-layers)' 'left out (clang-14, or nvcc)' ;;
    esac
done
