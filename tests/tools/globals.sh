#!/bin/sh
# globals.sh OBJECT...: no writable state of ours outside handles. Lists every symbol in a writable section; allowed are
# relocated constant tables (.data.rel.ro), what runs before main (.preinit_array) and what stb_image and the program's signal handler cannot do without.
set -u
allow='[/:]stb\.o:.* stbi__(g_failure_reason|vertically_flip|unpremultiply|de_iphone|h2l|l2h)|[/:]signals\.o:.* b2_signal_'
found=$(nm -A "$@" 2>/dev/null | awk 'NF > 1 && $(NF-1) ~ /^[bBdDsSgGC]$/ {print}' | grep -vE "$allow|asan|ubsan|__gcov|completed|\.LC|DW\.ref" )
# const tables of pointers are relocated once and then read-only; nm shows them as d/D
real=""
for line in $(printf '%s' "$found" | tr ' ' '|'); do
    symbol=${line##*|}
    section=$(objdump -t "$@" 2>/dev/null | awk -v s="$symbol" '$NF == s {print $($(NF-1) == ".hidden" ? NF-3 : NF-2); exit}')
    case $section in .data.rel.ro* | .preinit_array) ;; *) real="$real$symbol ($section)
" ;; esac
done
if [ -n "$real" ]; then
    echo "globals: writable symbols:"
    printf '%s' "$real"
    exit 1
fi
echo "globals: no writable state outside handles"
