#!/bin/sh
# cold.sh MODEL.gguf IMAGE [ROUNDS]: a caption from a file that is in no cache, beside reading that file and beside the same
# caption warm, in turns. Pages come in while the picture is seen, so a cold caption should cost hardly more than the longer of
# the two: reading the file, or captioning.
set -eu
blip2=${BLIP2:-build/blip2} model=$1 image=$2 rounds=${3:-3}
drop() { sync; dd if="$model" iflag=nocache count=0 2>/dev/null; } # tells the system that nobody needs its pages
seconds() { began=$(date +%s%N); "$@" >/dev/null 2>&1; echo $((($(date +%s%N) - began) / 1000000)); }
printf '%8s %12s %12s %12s   (ms)\n' round 'read, cold' 'caption, cold' 'caption, warm'
round=0
while [ "$round" -lt "$rounds" ]; do
    drop; read=$(seconds cat "$model")
    drop; cold=$(seconds "$blip2" caption -m "$model" --quiet "$image")
    warm=$(seconds "$blip2" caption -m "$model" --quiet "$image")
    round=$((round + 1))
    printf '%8s %12s %12s %12s\n' "$round" "$read" "$cold" "$warm"
done
