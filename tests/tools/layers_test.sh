#!/bin/sh
# layers_test.sh: the checks of the house are checks themselves: each violation is planted in a copy of the tree, and layers.sh,
# globals.sh or format.sh must name it. TAP.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
tools=$root/tests/tools
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
n=0

# report NAME FOUND: one line of TAP; FOUND is 0 where the check said what it must
report() {
    n=$((n + 1))
    [ "$2" -eq 0 ] && { echo "ok $n - $1"; return; }
    echo "not ok $n - $1"
    sed 's/^/#   /' "$work/said"
}

copy() {
    rm -rf "$work/tree"
    mkdir "$work/tree"
    cp -r "$root/src" "$root/quant" "$root/tokenizer" "$root/convert" "$work/tree/"
}

# layer NAME EXPECTED FILE TEXT: the text at the end of the file
layer() {
    copy
    grep -q "$2" "$work/clean" && { echo "not ok - $1: it is there without being planted"; return; }
    printf '%s\n' "$4" >>"$work/tree/$3"
    sh "$tools/layers.sh" "$work/tree" >"$work/said" && { report "$1" 1; return; }
    grep -q "$2" "$work/said"
    report "$1" $?
}

copy
sh "$tools/layers.sh" "$work/tree" >"$work/clean"
layer 'an include upwards' 'src/words/match.c includes "job/job.h"' src/words/match.c '#include "job/job.h"'
layer 'base includes nobody' 'src/base/path.c includes "lists/csv.h"' src/base/path.c '# include "lists/csv.h"'
layer 'microkernels do not see the verbs' 'src/kernels/ref/isa_ref.c includes "kernels/ops.h"' src/kernels/ref/isa_ref.c '#include "kernels/ops.h"'
layer 'the story sees no list' 'src/blip2.c includes "lists/inputs.h"' src/blip2.c '#include "lists/inputs.h"'
layer 'a header of intrinsics' 'src/model/opt.c has <immintrin.h>' src/model/opt.c '#include <immintrin.h>'
layer 'a map outside base' 'src/record/json.c has <sys/mman.h>' src/record/json.c '#include <sys/mman.h>'
layer 'the environment outside console' 'src/job/shard.c has a call of getenv' src/job/shard.c 'const char *f(void) { return getenv("X"); }'
layer 'an end outside console' 'src/job/job.c has a call of _exit' src/job/job.c 'void f(void) { _exit (1); }'
layer 'a circle' 'a circle: .*words/words -> words/match' src/words/words.h '#include "words/match.h"'

# ---- globals

cc=${CC:-cc}
# global NAME FILE TEXT: an object of that name
global() {
    printf '%s\n' "$3" >"$work/$2.c"
    "$cc" -fPIC -fvisibility=hidden -c -o "$work/$2.o" "$work/$2.c" || { report "$1" 1; return; }
    ! sh "$tools/globals.sh" "$work/$2.o" >"$work/said" && grep -q planted "$work/said"
    report "$1" $?
}
global 'a writable global' x 'int planted = 1;'
global 'a writable static' x 'static int planted; int f(void) { return planted++; }'
global 'a static with a name of the signal handler, elsewhere' x 'static int b2_signal_planted; int f(void) { return b2_signal_planted++; }'
printf '%s\n' 'const int a = 1; static const char *const b[] = {"b"}; const char *const c[] = {"c"}; const char *f(void) { return b[a - 1]; }' >"$work/c.c"
"$cc" -fPIC -fvisibility=hidden -c -o "$work/c.o" "$work/c.c" && sh "$tools/globals.sh" "$work/c.o" >"$work/said"
report 'constants are fine' $?

# ---- format

if "${CLANG_FORMAT:-clang-format-14}" --version 2>/dev/null | grep -q 'version 14'; then
    rm -rf "$work/tree"
    mkdir -p "$work/tree/src" "$work/tree/quant" "$work/tree/tokenizer" "$work/tree/convert" "$work/tree/tests"
    cp "$root/.clang-format" "$work/tree/"
    printf 'int f(void) { return 1; }\n' >"$work/tree/src/good.c"
    sh "$tools/format.sh" check "$work/tree" >"$work/said"
    report 'a formatted file is fine' $?
    printf 'int f(void){return 1;}\n' >"$work/tree/src/planted.c"
    ! sh "$tools/format.sh" check "$work/tree" >"$work/said" && grep -q 'src/planted.c' "$work/said"
    report 'an unformatted line' $?
    awk 'BEGIN { printf "/* "; for (i = 0; i < 121; i++) printf "x"; print " */" }' >"$work/tree/src/planted.c"
    ! sh "$tools/format.sh" check "$work/tree" >"$work/said" && grep -q 'src/planted.c:1: wider' "$work/said"
    report 'a comment that is too wide' $?
else
    n=$((n + 1))
    echo "ok $n - format # SKIP needs clang-format-14 (apt install clang-format-14): the check of formatting was not tested"
fi
echo "1..$n"
