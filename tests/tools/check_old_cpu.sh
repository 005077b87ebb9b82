#!/bin/sh
# check_old_cpu.sh: kernels and whole captions on x86 CPUs without AVX, under qemu-x86_64-static: an instruction that such
# a CPU lacks is a SIGILL there, in our code and in every library. TAP; skipped, loudly, without qemu.
#   BLIP2=program KERNELS=checkkernels sh tests/tools/check_old_cpu.sh
set -u
cd "$(dirname "$0")/../.." || exit 1
qemu=$(command -v qemu-x86_64-static) || { echo "1..0 # SKIP qemu-x86_64-static (qemu-user-static) is not here"; exit 0; }
[ "$(uname -m)" = x86_64 ] || { echo "1..0 # SKIP the program under test is not for x86-64"; exit 0; }
unset OPENBLAS_CORETYPE
work=$(mktemp -d) || exit 1
n=0 code=0
"$qemu" -cpu Penryn "$KERNELS" >"$work/kernels" 2>&1 & # the longest; waited for at the end
kernels=$!
trap 'kill $kernels 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
report() { # status, title
    n=$((n + 1))
    if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; code=1; sed 's/^/#   /' "$work/log"; fi
}
pictures=$(ls data/demo/images/*.jpg data/demo/images/*.png 2>/dev/null | head -n 3)
caption() { "$@" caption -m "$work/m.gguf" -t 2 --format tsv --quiet $pictures 2>"$work/log"; }

"$BLIP2" convert data/demo/model -o "$work/m.gguf" >"$work/log" 2>&1 && caption "$BLIP2" >"$work/want" && [ -s "$work/want" ]
report $? "captions of this CPU's own kernels"

same() { # title, command and options before "caption"
    title=$1; shift
    caption "$@" >"$work/got" && cmp "$work/want" "$work/got" >>"$work/log" 2>&1
    report $? "$title"
}
set_of() { # CPU: the first set that it takes
    "$qemu" -cpu "$1" "$BLIP2" info "$work/m.gguf" 2>"$work/log" | sed -n 's/^ *kernels *\([a-z0-9]*\).*/\1/p'
}
for cpu in Penryn Denverton; do # Core 2 of 2008: nothing above SSE4.1; the Atom of NAS boxes
    [ "$(set_of $cpu)" = sse41 ]; report $? "$cpu takes sse41"
    same "$cpu: the same captions" "$qemu" -cpu $cpu "$BLIP2"
done
case $(set_of Conroe) in blas | scalar) true ;; *) false ;; esac
report $? "a CPU without SSE4.1 takes blas or scalar"

# The products through BLAS; then with a core type of another machine, which the program takes back before any product.
caption_blas() { "$@" "$BLIP2" caption -m "$work/m.gguf" -t 2 --isa blas --format tsv --quiet $pictures 2>"$work/log"; }
if "$BLIP2" info "$work/m.gguf" | grep -q '^ *kernels.*blas'; then
    caption_blas "$qemu" -cpu Penryn >"$work/got" && cmp "$work/want" "$work/got" >>"$work/log" 2>&1
    report $? "Penryn, --isa blas: the same captions"
    # (the second execution leaves qemu: that it is begun before a product is what is seen here)
    OPENBLAS_CORETYPE=Haswell caption_blas "$qemu" -cpu Penryn >"$work/got" && cmp "$work/want" "$work/got" >>"$work/log" 2>&1
    report $? "Penryn with OPENBLAS_CORETYPE=Haswell: no SIGILL, the same captions"
fi

wait $kernels
ended=$?
mv "$work/kernels" "$work/log"
report $ended "Penryn: every kernel of every set that it has, to the bit"
echo "1..$n"
exit $code
