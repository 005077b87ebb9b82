#!/bin/sh
# check_amx.sh: the AMX kernels that ship. On a CPU without AMX a SIGILL handler carries out their tile instructions
# (tests/kernels/amx), and counts them; a CPU with AMX does it itself. Kernels, the goldens' hashes, whole captions of the demo, and what happens where the system refuses.
# TAP; skipped, loudly, without AVX-512 VNNI.
#   BLIP2=program AMX=folder of the programs with the trap sh tests/tools/check_amx.sh
set -u
cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
n=0 code=0
report() { # status, title
    n=$((n + 1))
    if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; code=1; sed 's/^/#   /' "$work/log"; fi
}
"$AMX/checkamx" >"$work/log" 2>&1
status=$?
if grep -q '^1..0' "$work/log"; then cat "$work/log"; exit 0; fi
report $status "kernels: every shape to the bit, each configuration released"

balanced() { # products were made, and as many configurations released as loaded; the CPU's own: none is left
    awk '/^tile_trap: this CPU/ {seen = $NF == "0"; next}
         /^tile_trap:/ {sub(",", "", $5); seen = $2 > 0 && $5 + 0 == $7 + 0} END {exit !seen}' "$work/log"
}
"$AMX/test_bytes" >"$work/log" 2>&1 && balanced
report $? "the goldens: the committed hashes"

pictures=$(ls data/demo/images/*.jpg data/demo/images/*.png | head -n 4)
caption() { "$@" -m "$work/m.gguf" -t 2 --format tsv --quiet $pictures 2>"$work/log"; }
"$BLIP2" convert data/demo/model -o "$work/m.gguf" >"$work/log" 2>&1 && caption "$BLIP2" caption >"$work/want" && [ -s "$work/want" ]
report $? "captions of this CPU's own kernels"
caption "$AMX/blip2" caption >"$work/got" && cmp "$work/want" "$work/got" >>"$work/log" 2>&1 && balanced
report $? "amx is chosen by itself and gives the same captions"
"$AMX/blip2" info "$work/m.gguf" 2>"$work/log" | grep -q '^ *kernels *amx, avx512vnni'
report $? "info names it first"
caption "$AMX/blip2" caption --isa avx512vnni >"$work/got" && cmp "$work/want" "$work/got" >>"$work/log" 2>&1 &&
    grep -q '^tile_trap: 0 products, configured 0' "$work/log"
report $? "--isa avx512vnni prevents it"
AMX_REFUSED=1 caption "$AMX/blip2" caption >"$work/got" && cmp "$work/want" "$work/got" >>"$work/log" 2>&1 &&
    grep -q '^tile_trap: 0 products' "$work/log"
report $? "where the system refuses, the next set serves, in silence"
! AMX_REFUSED=1 caption "$AMX/blip2" caption --isa amx >"$work/got" && grep -q "does not let this process use it" "$work/log"
report $? "where the system refuses what was asked for by name, a sentence says so"
echo "1..$n"
exit $code
