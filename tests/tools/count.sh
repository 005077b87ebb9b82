#!/bin/sh
# count.sh: lines of code, without comments and blank lines, of src, convert, quant, tokenizer (.c .h .def); beside them
# the same of bca0bb7 laid out by today's .clang-format: the size before the house was rebuilt. Then what is too long:
# files over 500 lines, functions over 60.
set -u
cd "$(dirname "$0")/../.." || exit 2
code() { # FILE...: comments out, blank lines out
    cat "$@" | awk '
    {
        line = $0; out = ""
        while (line != "") {
            if (inside) {
                at = index(line, "*/")
                if (at == 0) { line = ""; break }
                line = substr(line, at + 2); inside = 0
            } else if (match(line, /"([^"\\]|\\.)*"|\/\*|\/\//)) {
                what = substr(line, RSTART, 2)
                if (what == "//") { out = out substr(line, 1, RSTART - 1); line = "" }
                else if (what == "/*") { out = out substr(line, 1, RSTART - 1); line = substr(line, RSTART + 2); inside = 1 }
                else { out = out substr(line, 1, RSTART + RLENGTH - 1); line = substr(line, RSTART + RLENGTH) }
            } else { out = out line; line = "" }
        }
        if (out ~ /[^ \t]/) n++
    }
    END { print n + 0 }'
}
list() { (cd "$1" && find src convert quant tokenizer \( -name '*.[ch]' -o -name '*.def' \) | sort | sed "s|^|$1/|"); }

before=16898 # bca0bb7 formatted; computed again where its history and clang-format-14 are at hand
if command -v clang-format-14 >/dev/null && git cat-file -e bca0bb7^{commit} 2>/dev/null; then
    old=$(mktemp -d)
    trap 'rm -rf "$old"' EXIT
    git archive bca0bb7 src convert quant tokenizer | tar -x -C "$old"
    cp .clang-format "$old"
    find "$old" -name '*.[ch]' | xargs clang-format-14 -i
    before=$(code $(list "$old"))
fi
echo "code lines: $(code $(list .)), before: $before"

bad=0
for file in $(find src convert quant tokenizer tests -name '*.[ch]' | sort); do
    n=$(wc -l <"$file")
    [ "$n" -le 500 ] || { echo "count: $file has $n lines, expected at most 500"; bad=1; }
done
# A function begins in column 1 with a line that ends in "{" and ends with "}" in column 1.
find src convert quant tokenizer tests -name '*.[ch]' | sort | xargs awk '
    FNR == 1 { start = 0 }
    /^[a-zA-Z].*\) \{$/ || (/^ +.*\) \{$/ && pending) { start = FNR; name = $0; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name) }
    { pending = (/^[a-zA-Z][^;{]*\(/ && !/[;{]$/) || (pending && !/[;{}]$/) }
    /^}/ { if (start && FNR - start + 1 > 60) { printf "count: %s: %s has %d lines, expected at most 60\n", FILENAME, name, FNR - start + 1; bad = 1 } start = 0 }
    END { exit bad }' || bad=1
exit $bad
