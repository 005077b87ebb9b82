#!/bin/sh
# check_gguf.sh: files of ours, read by a reader written only from quant/FORMAT.md and by the public gguf package, give
# the same names, bytes and numbers. Needs Python with numpy and gguf; says loudly when they are not there. TAP.
set -u
python=${PYTHON:-python3}
for candidate in "$python" /opt/ref/bin/python python3; do
    "$candidate" -c 'import numpy, gguf' >/dev/null 2>&1 && { python=$candidate; break; }
done
if ! "$python" -c 'import numpy, gguf' >/dev/null 2>&1; then
    echo "1..1"
    echo "ok 1 - gguf readers agree # SKIP no Python with numpy and gguf (PYTHON=...)"
    exit 0
fi
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
n=0 code=0
for type in i8 f16 f32; do
    n=$((n + 1))
    if "$BLIP2" convert tests/golden/models/odd -o "$dir/m.gguf" --type $type --quiet >"$dir/log" 2>&1 &&
        "$python" tests/tools/check_gguf.py "$dir/m.gguf" >>"$dir/log" 2>&1; then
        echo "ok $n - gguf readers agree on a file of type $type"
    else
        echo "not ok $n - gguf readers agree on a file of type $type"
        sed 's/^/# /' "$dir/log"
        code=1
    fi
done
echo "1..$n"
exit $code
