#!/bin/sh
# check_real.sh: a real download, converted and compared with published token ids (transformers' own tests of
# Salesforce/blip2-opt-2.7b, tests/models/blip_2/test_modeling_blip_2.py; f16 on a GPU, greedy).
#
#   make check-real CHECKPOINT=folder-or-org/name [BEACH=file] [CATS=file] [IMAGE=file] [EXPECT=file.tsv] [MODEL=out.gguf]
#
# BEACH  https://huggingface.co/hf-internal-testing/blip-test-image/resolve/main/demo.jpg
# CATS   http://images.cocodataset.org/val2017/000000039769.jpg
# EXPECT lines "picture<TAB>question or -<TAB>ids", for checkpoints with expectations of their own
set -u
blip2=${BLIP2:-build/blip2}
model=${MODEL:-build/check-real.gguf}
tab=$(printf '\t')
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

if [ -z "${CHECKPOINT:-}" ]; then
    echo "check-real: say which checkpoint: make check-real CHECKPOINT=folder [BEACH=file] [CATS=file] [IMAGE=file]" >&2
    exit 2
fi
echo "converting $CHECKPOINT to $model"
"$blip2" convert "$CHECKPOINT" -o "$model" ${TYPE:+--type "$TYPE"} || exit $?
"$blip2" verify "$model" || exit $?

# picture, question or -, ids; a bar before an id: from there on a near tie may turn the other way in int8
{
    [ -n "${BEACH:-}" ] && printf '%s\t-\t102 693 2828 15 5 4105 19 |10 2335 50118\n' "$BEACH" &&
        printf '%s\twhich city is this?\t24 18 45 10 343 6 24 18 10 4105 50118\n' "$BEACH"
    [ -n "${CATS:-}" ] && printf '%s\t-\t7109 10017 11963 15 10 16433 50118\n' "$CATS" &&
        printf '%s\thow many cats are there?\t80 ...\n' "$CATS"
    [ -n "${EXPECT:-}" ] && cat "$EXPECT"
} >"$work/rows"

same=0 near=0 different=0
say_text() { sed -n 's/.*"\(caption\|answer\)":"\([^"]*\)".*/\2/p' "$work/record"; }
run_row() { # picture question: the record as JSON
    case $1 in "${BEACH:-}" | "${CATS:-}") exif=--no-exif ;; *) exif= ;; esac # transformers' tests ignore EXIF
    if [ "$2" = - ]; then "$blip2" caption -m "$model" --tokens --format jsonl $exif "$1"
    else "$blip2" ask "$2" -m "$model" --tokens --format jsonl $exif "$1"; fi >"$work/record" 2>"$work/err"
}
while IFS=$tab read -r picture question want; do
    [ -n "$picture" ] || continue
    if ! run_row "$picture" "$question" </dev/null; then
        echo "  FAILED     $picture: $(cat "$work/err")"
        different=$((different + 1))
        continue
    fi
    got=$(sed -n 's/.*"tokens":\[\([0-9,]*\)\].*/\1/p' "$work/record" | tr ',' ' ')
    plain=$(printf '%s' "$want" | tr -d '|')
    certain=${want%%|*}
    case $plain in
    *' ...') case "$got " in "${plain%...}"*) verdict=same ;; *) verdict=different ;; esac ;;
    "$got") verdict=same ;;
    *) verdict=different
        [ "$certain" != "$want" ] && case "$got " in "$certain"*) verdict=near ;; esac ;;
    esac
    case $verdict in
    same) same=$((same + 1)) word="same      " ;;
    near) near=$((near + 1)) word="near tie  " ;;
    different) different=$((different + 1)) word="DIFFERENT " ;;
    esac
    echo "  $word $(basename "$picture")  ${question#-}  ->  $(say_text)"
    [ "$verdict" = same ] || printf '             expected %s\n             got      %s\n' "$want" "$got"
done <"$work/rows"

if [ -n "${IMAGE:-}" ]; then
    echo "  not compared: $(basename "$IMAGE")  ->  $("$blip2" caption -m "$model" "$IMAGE")"
fi
if [ $((same + near + different)) = 0 ]; then
    echo "verdict: the checkpoint converts and runs; nothing was compared (give BEACH= and CATS=, their addresses are in this script and in README)"
elif [ "$different" = 0 ] && [ "$near" = 0 ]; then
    echo "verdict: all $same compared answers are the published ones, token for token"
elif [ "$different" = 0 ]; then
    echo "verdict: $same answers are the published ones; $near differ only behind a known near tie (\"a dog\" / \"her dog\"), which int8 may turn"
else
    echo "verdict: $different of $((same + near + different)) answers are NOT the published ones: please report this with the lines above"
    exit 1
fi
