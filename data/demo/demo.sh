#!/bin/sh
# demo.sh: converts the small model, captions and questions its 64 pictures, prints a table and the score against the
# truth columns of demo.csv. Takes the program from $BLIP2.
set -u
here=$(dirname "$0")
blip2=${BLIP2:-build/blip2}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
start=$(date +%s)
model=build/demo.gguf
mkdir -p build

"$blip2" convert "$here/model" -o "$model" || exit $?
cd "$here" || exit 1
case $blip2 in /*) ;; *) blip2=$OLDPWD/$blip2 ;; esac
model=$OLDPWD/$model

"$blip2" caption -m "$model" --csv demo.csv --image-column image_path --format tsv --quiet -o "$work/captions.tsv" || exit $?
for question in "what color is the background?" "how many objects are there?"; do
    "$blip2" ask "$question" -m "$model" --csv demo.csv --image-column image_path --format tsv --quiet -o "$work/answers.tsv" || exit $?
    cut -f 2 "$work/answers.tsv" >>"$work/all-answers"
done
n=$(wc -l <"$work/captions.tsv")
head -n "$n" "$work/all-answers" >"$work/backgrounds"
tail -n "$n" "$work/all-answers" >"$work/counts"
tail -n +2 demo.csv | tr ',' '\t' >"$work/truth.tsv"

# truth: 1 path 2 number 3 color 4 texture 5 shape 6-8 second object 9 background | 10 path 11 caption | 12 background 13 count
paste "$work/truth.tsv" "$work/captions.tsv" "$work/backgrounds" "$work/counts" | awk -F '\t' '
    function has(words, word) { return index(" " words " ", " " word " ") > 0 }
    BEGIN { printf "\n  %-22s %-73s %-12s %s\n", "picture", "caption", "background?", "how many?" }
    {
        split($11, half, " on a "); first = half[1]; sub(/ and .*/, "", first)
        texture = "plain"
        split("striped dotted checkered speckled", all, " ")
        for (i = 1; i <= 4; i++) if (has(first, all[i])) texture = all[i]
        c = has(first, $3); t = texture == $4; s = has(first, $5); b = $12 == $9; k = ($13 == "two") == ($2 == 2)
        colour += c; textures += t; shape += s; background += b; count += k
        name = $1; sub(/^images\//, "", name)
        wrong = (c && t && s) ? "" : "   <- truth: " $3 " " $4 " " $5
        if (NR <= 16 || wrong != "" || !b || !k) printf "  %-22s %-73s %-12s %s%s\n", name, $11, $12, $13, wrong
    }
    END {
        printf "\n  (the first 16 pictures and every mistake are shown)\n"
        printf "\n  right: colour %d/%d, texture %d/%d, shape %d/%d, background %d/%d, number %d/%d\n", colour, NR, textures, NR, shape, NR, background, NR, count, NR
    }'
echo "  $(($(date +%s) - start)) s for $n pictures: one caption and two questions each"
