#!/bin/sh
# roles: every command that writes, with every output laid over every input, by every way in which a name can lead there.
# Each try must end with exit code 2 and a sentence, and no file may have changed or come into being. Prints what does not
# hold, and how many tries there were. Run in the folder of a case (run.sh).
set -u
mkdir d && cp images/00.png d/pic.png && cp images/01.jpg d/two.jpg && cp demo.gguf d/m.gguf && ln -s "$PWD/model" d/ck && cd d || exit 1
printf 'image,words\npic.png,a red cat\ntwo.jpg,a dog\n' >t.csv && printf 'red\nblue\n' >w.txt && printf 'a red cat\na dog\n' >a.txt && mkdir sub && ln -s . here
blip2 caption --quiet -m m.gguf --csv t.csv --words w.txt --format jsonl -o s --shard 0/1 && mv s.0000-of-0001 shard && cp shard journal
blip2 caption --quiet -m m.gguf two.jpg -o fin && rm fin && head -n 2 shard >one && echo one >>one

listing() { find . \( -type f -o -type l \) -printf '%p %i %s %m %T@\n' | sort; }
before=$(listing) n=0

# try COMMAND OUTPUT-OPTION NAME WHAT
try() {
    case $1 in
    caption) set -- "$4" caption -m m.gguf --quiet --csv t.csv --words w.txt --answers a.txt --format jsonl $2 "$3" ;;
    ask) set -- "$4" ask -m m.gguf --quiet -q "what is it?" --csv t.csv --words w.txt --answers a.txt --format jsonl $2 "$3" ;;
    merge) set -- "$4" merge shard $2 "$3" ;;
    match) set -- "$4" match --csv t.csv --column words --words w.txt --format jsonl $2 "$3" ;;
    convert) set -- "$4" convert ck --quiet $2 "$3" ;;
    esac
    what=$1 && shift
    present=$(listing)
    blip2 "$@" >../out 2>../err </dev/null
    code=$? n=$((n + 1))
    [ $code = 2 ] && [ -s ../err ] || { echo "exit $code: $what: blip2 $*"; cat ../err; }
    [ "$(listing)" = "$present" ] || { echo "CHANGED: $what: blip2 $*"; }
}

# over COMMAND OPTION INPUT: the output itself is the input, by five names
over() {
    try "$1" "$2" "$3" plain
    try "$1" "$2" "sub/../$3" dotdot
    try "$1" "$2" "here/$3" folder
    ln -s "$3" l && try "$1" "$2" l link && rm l
    ln "$3" h && try "$1" "$2" h "hard link" && rm h
}

for input in pic.png t.csv m.gguf w.txt a.txt shard journal fin.blip2; do
    case $input in
    m.gguf) commands="caption ask merge match" ;;
    a.txt) commands="caption ask" ;; # which alone read it
    *) commands="caption ask merge match convert" ;;
    esac
    for command in $commands; do over $command -o $input; done
    for command in caption ask merge; do
        [ $command,$input = merge,a.txt ] || over $command "-o new --report" $input
    done
    for command in caption ask; do
        # the journal and the state beside the output
        for link in "ln" "ln -s"; do
            [ $input = shard ] || [ $input = journal ] || { $link $input o.part && try $command -o o "$link journal" && rm o.part; }
            [ $input = fin.blip2 ] && [ "$link" = ln ] || { $link $input o.blip2 && try $command -o o "$link state" && rm o.blip2; }
            $link $input pic.txt && for existing in skip overwrite append prepend; do
                try $command "--existing $existing --sidecar --ext" txt "$link sidecar"
            done && rm pic.txt
        done
        try $command "--shard 0/2 -o" $input "shard of"
    done
done
cp pic.png twin.txt && printf 'image\ntwin.txt\n' >u.csv
for existing in skip overwrite append prepend; do
    n=$((n + 1)) && blip2 caption -m m.gguf --quiet --csv u.csv --sidecar --existing $existing 2>../err && echo "a picture is its own sidecar"
done
cmp pic.png twin.txt && rm twin.txt u.csv
[ "$(listing)" = "$before" ] || echo "something is different at the end"
echo "$n tries"
