#!/bin/sh
# hashes.sh MODEL.gguf IMAGE...: the same bytes from a full-size int8 file, whatever computes them: every native ISA and BLAS at
# 1, 2 and 64 threads, one picture at a time and eight, and one caption of 3 tokens with the plain C that defines the numbers.
set -eu
blip2=${BLIP2:-$(dirname "$0")/../../build/blip2}
model=$1; shift
want= bad=0
run() { # NAME OPTIONS...
    name=$1; shift
    began=$(date +%s)
    hash=$("$blip2" caption -m "$model" --quiet --tokens --format jsonl "$@" "$pictures" | sha256sum | cut -c1-16)
    [ -n "$want" ] || want=$hash
    [ "$hash" = "$want" ] && verdict=same || { verdict=DIFFERENT; bad=1; }
    printf '%-40s %s %s (%s s)\n' "$name" "$hash" "$verdict" "$(($(date +%s) - began))"
}
pictures=$(mktemp -d)
trap 'rm -rf "$pictures"' EXIT
i=0
for image; do ln -s "$(realpath "$image")" "$pictures/$i.${image##*.}"; i=$((i + 1)); done
for isa in $("$blip2" info "$model" | sed -n 's/^ *kernels *//; s/ (the first.*//p' | tr -d ,); do
    [ "$isa" = scalar ] && continue
    for threads in 1 2 64; do
        for batch in 1 8; do
            [ "$isa" = blas ] && [ "$threads$batch" != 28 ] && [ "$threads$batch" != 641 ] && [ "$threads$batch" != 11 ] && continue
            run "$isa, $threads threads, batch $batch" --isa "$isa" -t "$threads" --batch "$batch" -n "${TOKENS:-8}"
        done
    done
done
rm -f "$pictures"/[1-9].*
want=
run "fastest, 3 tokens" -n 3
run "scalar, 3 tokens" --isa scalar -n 3
exit $bad
