#!/bin/sh
# check_faults.sh: every command while memory is refused, system calls fail or are interrupted, and signals come, one at a
# time (tests/faults/fail.c). What must hold: exit 0 with the right bytes, or the exit code of the fault with a sentence,
# or 1 with the reason in the record of its picture. An output is the old one or the new one; a journal keeps the
# records it had, says how many there are, and --resume ends in the right bytes; nothing hangs.
# TAP; BLIP2 names the program, FAIL the library. FAULTS=n: about how many places of each kind (default 8; 0: all, hours).
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
export LC_ALL=C.UTF-8
unset BLIP2_MODEL OMP_NUM_THREADS SLURM_CPUS_PER_TASK
skip_all() { echo "1..1"; echo "ok 1 - faults # SKIP $1"; exit 0; }
[ -e "${FAIL:-}" ] || skip_all "tests/faults/fail.c was not built"
if ldd "$BLIP2" 2>/dev/null | grep -Eq 'libasan|libtsan|libubsan|musl' || grep -aq __asan_init "$BLIP2" || grep -aq __tsan_init "$BLIP2"; then
    skip_all "a sanitizer (or musl) has a malloc of its own"
fi
places=${FAULTS:-8}
plain= # without the libraries of pictures stb_image decodes, which does not say of all memory that it was refused
ldd "$BLIP2" | grep -q libspng && ldd "$BLIP2" | grep -q libjpeg || plain=plain
cd "$work" || exit 1
"$BLIP2" convert "$root/tests/golden/models/one" -o m.gguf --quiet || exit 1
cp "$root/data/demo/images/00.png" "$root/data/demo/images/01.jpg" "$root/data/demo/images/03.jpg" .
printf 'p,x\n00.png,a\n01.jpg,"b,c"\n03.jpg,d\n' >l.csv
printf '{"image":"00.png"}\n{"image":"01.jpg"}\n{"image":"03.jpg"}\n' >l.jsonl
printf '00.png\n01.jpg\n' >list
printf 'red\nblue\nsky blue\n' >w.txt
printf 't,u\na red cat on blue-green wood,1\n"x, sky blue",2\n' >t.csv
quick="-m m.gguf -t 1 --quiet"
"$BLIP2" caption $quick --csv l.csv -o s.csv --shard 0/1 --report x.html --match all || exit 1
mkdir tar && printf '{"id":7}' >tar/a.json && cp 00.png tar/a.png && cp 01.jpg tar/b.jpg && (cd tar && tar cf ../in.tar a.json a.png b.jpg)
LD_PRELOAD=$FAIL FAIL_CALL=flock "$BLIP2" info m.gguf >/dev/null 2>&1
[ $? = 77 ] && skip_all "no filter for system calls (seccomp)"

commands="caption ask list csv resume report sidecar score merge match info verify convert bench"
! "$BLIP2" caption $quick --tar in.tar 2>&1 | grep -q libarchive && commands="$commands tar"
arguments() { # of a command by its name; it writes into the folder o
    case $1 in
    caption) echo "caption $quick 01.jpg" ;;
    ask) echo "ask $quick -q colour? -q number? 01.jpg 03.jpg --format jsonl --tokens" ;;
    list) echo "caption $quick --files-from list --format tsv --num-beams 2 -n 4" ;;
    csv | resume) echo "caption $quick --workers 1 --csv l.csv --format csv -q number? -o o/o.csv" ;;
    report) echo "caption $quick --workers 1 --jsonl l.jsonl --report o/r.html --match all --words w.txt --batch 2 -o o/o.jsonl" ;;
    tar) echo "caption $quick --workers 1 --tar in.tar -o o/t.jsonl" ;;
    sidecar) echo "caption $quick --workers 1 --sidecar --existing overwrite --out-dir o 00.png 01.jpg" ;;
    score) echo "score $quick 01.jpg 00.png 03.jpg --text red --text blue --format jsonl -o o/s.jsonl" ;;
    merge) echo "merge s.csv.0000-of-0001 -o o/m.csv --report o/m.html" ;;
    match) echo "match --csv t.csv --column t --words w.txt --match all -o o/t.csv" ;;
    info) echo "info m.gguf" ;;
    verify) echo "verify m.gguf" ;;
    convert) echo "convert $root/tests/golden/models/one -t 1 --quiet -o o/c.gguf" ;;
    bench) echo "bench -m m.gguf -t 1 --repeats 1 -n 2" ;;
    esac
}
is_job() { case $1 in csv | resume | report | tar | score) return 0 ;; *) return 1 ;; esac; }

# What lies in the folder before: old outputs, and half a job. A job that is finished is made anew, not continued.
mkdir -p have/csv have/report have/sidecar have/score have/merge have/match have/convert have/resume have/tar
for c in csv/o.csv report/o.jsonl report/r.html sidecar/00.txt score/s.jsonl merge/m.csv merge/m.html match/t.csv \
    tar/t.jsonl; do echo old >have/$c; done
echo GGUF-old >have/convert/c.gguf
mkdir o
printf '00.png\n01.jpg\nmissing.png\n' >half
"$BLIP2" $(arguments csv) 2>/dev/null && mv o want.csv

n_runs=0
attempt() { # NAME VARIABLES...: runs the command under a fault; its exit code is in $code
    what=$1; shift
    n_runs=$((n_runs + 1))
    rm -rf o
    if [ -d "have/$what" ]; then cp -r "have/$what" o; else mkdir o; fi
    again=; [ "$what" = resume ] && again=--resume
    timeout 60 env "$@" LD_PRELOAD="$FAIL" "$BLIP2" $(arguments "$what") $again >out 2>err </dev/null
    code=$?
}

# Is all as it was without a fault? A journal that cannot be removed may lie there yet, with a word about it.
is_right() {
    [ "$what" = bench ] && return
    cmp -s out "want/$what.out" || return 1
    if grep -q 'part: cannot be removed' err; then diff -rq -x '*.part' o "want/$what"; else diff -rq o "want/$what"; fi >/dev/null
}

# Each file is what it was before or what it becomes; of a picture that failed there is a record with the reason.
check_files() {
    for file in o/*; do
        name=${file#o/}
        case $name in
        '*' | *.part | *.blip2) continue ;;
        *.partial-*) complain "$1: left $name"; continue ;;
        esac
        cmp -s "$file" "want/$what/$name" || cmp -s "$file" "have/$what/$name" && continue
        case $name in
        *.html) [ "$code" = 1 ] && [ "$(tail -n 1 "$file")" = "$(tail -n 1 "want/$what/$name")" ] ;;
        s.jsonl | t.jsonl) [ "$code" = 1 ] && grep -q '"status":"error"' "$file" ;; # a record a text; an archive ends there
        *) [ "$code" = 1 ] && [ "$(wc -l <"$file")" = "$(wc -l <"want/$what/$name")" ] ;;
        esac || complain "$1: exit $code, $name is half"
    done
    for file in "have/$what"/*; do
        name=${file##*/}
        [ -e "$file" ] && [ "${name%.part}" = "$name" ] && [ ! -e "o/$name" ] && complain "$1: $name is gone"
    done
}

# A job's journal has what it had and what it says, and the same command with --resume ends as if nothing had been.
check_journal() {
    for part in o/*.part; do
        [ -e "$part" ] || continue
        name=${part#o/}
        [ "$(wc -l <"$part")" -gt 0 ] || continue # it ended before the first line
        if [ -e "have/$what/$name" ]; then
            cmp -s -n "$(wc -c <"have/$what/$name")" "$part" "have/$what/$name" || complain "$1: $name lost records"
        fi
        safe=$(sed -n 's/^blip2: \([0-9]*\) records\{0,1\} \(is\|are\) safe .*/\1/p' err)
        [ -z "$safe" ] || [ "$safe" = $(($(wc -l <"$part") - 1)) ] || complain "$1: $safe records are not safe"
        "$BLIP2" $(arguments "$what") --resume >/dev/null 2>err.resume ||
            { complain "$1: resume ends with $?: $(head -n 1 err.resume)"; continue; }
        diff -rq o "want/$what" >/dev/null || complain "$1: resumed, another output"
    done
    if [ -e "have/$what/o.csv.part" ] && [ ! -e o/o.csv.part ] && ! cmp -s o/o.csv want/$what/o.csv; then
        complain "$1: the journal is gone"
    fi
}

judge() { # EXPECTED-CODES FAULT: complains unless the outcome is one that may be
    if [ "$code" = 0 ]; then is_right || complain "$2: exit 0, but another output"; return; fi
    case " $1 " in *" $code "*) ;; *) complain "$2: exit $code, expected 0 or $1"; return ;; esac
    check_files "$2"
    if [ "$code" = 1 ]; then grep -rqE 'memory|cannot be|damaged' out err o || complain "$2: exit 1 without a reason"; return; fi
    grep -q '^blip2' err || complain "$2: exit $code without a sentence"
    [ "$code" != 5 ] || grep -q 'memory' err || complain "$2: exit 5, but no word of memory"
    if is_job "$what"; then check_journal "$2"; fi
}
complain() { echo "$what, $1: $(head -n 1 err | cut -c1-150)" >>complaints; }

n=0 status=0
conclude() {
    n=$((n + 1))
    if [ -s complaints ]; then echo "not ok $n - $1 ($n_runs runs)"; sed 's/^/# /' complaints | head -n "${SHOW:-20}"; status=1
    else echo "ok $n - $1 ($n_runs runs)"; fi
    : >complaints
    n_runs=0
}

each_place() { # TOTAL SHARE: the places of 1..TOTAL that are tried, `places` of them or a share of that
    step=1 most=$(((places + ${2:-1} - 1) / ${2:-1}))
    if [ "$places" -gt 0 ] && [ "$1" -gt "$most" ]; then step=$((($1 + most - 1) / most)); fi
    seq $((step > 1 ? step / 2 : 1)) $step "$1"
}

# ---- without a fault; half a job for `resume` ------------------------------------------------------------------------
mkdir want; : >complaints
for fault in 2 3 4 5; do # the second write of the journal after its header
    what=csv; rm -rf o; mkdir o
    FAIL_CALL=pwrite FAIL_N=$fault FAIL_ERRNO=5 LD_PRELOAD="$FAIL" "$BLIP2" $(arguments csv) --batch 1 >/dev/null 2>&1
    [ "$(grep -c index o/o.csv.part 2>/dev/null)" = 2 ] && break
done
mv o/o.csv.part have/resume/ || exit 1
for c in $commands; do
    attempt $c FAIL_COUNT="$work/count.$c"
    [ "$code" = 0 ] && [ "$(cut -d' ' -f1 "count.$c")" -gt 40 ] || complain "no fault: exit $code, $(cat "count.$c") allocations"
    cp -r o "want/$c"; cp out "want/$c.out"
done
cmp -s want/csv/o.csv want/resume/o.csv || complain "resumed: another output"
conclude "every command without a fault"

# ---- memory ------------------------------------------------------------------------------------------------------------
for all in 0 1; do
    for c in ${COMMANDS:-$commands}; do
        read -r total ignored <"count.$c"
        for k in $(each_place "$total"); do
            attempt $c FAIL_MALLOC=$k FAIL_ALL=$all
            case $c$plain in tar | *plain) judge "5 1" "allocation $k" ;; *) judge 5 "allocation $k" ;; esac # libarchive does not always say
        done
    done
    if [ $all = 0 ]; then conclude "one allocation is refused: exit 5 with a sentence, or the right output"
    else conclude "so are all after it"; fi
done

# ---- system calls ------------------------------------------------------------------------------------------------------
for c in ${COMMANDS:-$commands}; do
    for call in read write pread pwrite open fsync ftruncate flock getdents close; do
        case $c/$call in info/write | verify/write | bench/write) continue ;; esac # a few lines by printf: exit 4
        attempt $c FAIL_CALL=$call FAIL_EINTR=2
        judge "" "each $call is interrupted once"
    done
done
conclude "interrupted system calls are made again"

# EIO 5, ENOMEM 12, EACCES 13, EMFILE 24, ENOSPC 28. The model or checkpoint is exit 3, a picture a failed record.
for c in ${COMMANDS:-$commands}; do
    for fault in "read 5" "pread 5" "write 28" "write 5" "pwrite 28" "pwrite 27" "fsync 5" "rename 13" "open 24" "open 13" \
        "fstat 5" "ftruncate 5" "close 5" "close 28" "link 5" "unlink 5" "getdents 5" "mmap 12" "flock 5" "lseek 5" "mkdir 28"; do
        call=${fault% *}
        if [ ! -e "calls.$c.$call" ]; then
            attempt $c FAIL_COUNT="$work/calls.$c.$call" FAIL_CALL="$call"
        fi
        read -r ignored total <"calls.$c.$call"
        for k in $(each_place "$total" 4); do
            attempt $c FAIL_CALL="$call" FAIL_ERRNO="${fault#* }" FAIL_N="$k"
            codes=4
            case $c in caption | ask | list | csv | resume | report | tar | sidecar | score) codes="4 1" ;; esac
            grep -qE 'm\.gguf|models/one' err && codes=3
            [ "$call" = mmap ] && codes=5
            judge "$codes" "$fault, call $k"
        done
    done
done
conclude "a call that fails is exit 4 with a sentence, or the right output"

# ---- signals -----------------------------------------------------------------------------------------------------------
for c in ${COMMANDS:-$commands}; do
    read -r total ignored <"count.$c"
    for k in 1 20 $(each_place "$total"); do
        attempt $c FAIL_SIGNAL=15 FAIL_N="$k"
        judge 75 "SIGTERM at allocation $k"
    done
done
conclude "SIGTERM at any moment: exit 75 with a sentence, or the right output"
echo "1..$n"
exit $status
