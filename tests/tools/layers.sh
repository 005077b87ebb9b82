#!/bin/sh
# layers.sh [ROOT]: who may include whom (src/README.md has the table), and no circle between the files of a room.
# Every #include "..." of a room must name a room of its row; some system headers and calls have one home.
# layers_test.sh plants violations and wants each found.
set -u
cd "${1:-.}" || exit 2

allowed() { # the row of a room
    case $1 in
    src/base) echo "base blip2.h" ;;
    quant | tokenizer | src/image | src/words) echo "base" ;;
    src/checkpoint) echo "base quant" ;;
    src/kernels) echo "base quant" ;;
    src/gpu) echo "base quant kernels/ops.h kernels/verbs.h kernels/tensor.h kernels/isa.h" ;;
    src/model) echo "base quant kernels checkpoint" ;;
    src/generate) echo "base quant kernels model" ;;
    src) echo "base quant tokenizer image words checkpoint kernels gpu model generate blip2.h decoding.def" ;;
    src/lists) echo "base blip2.h" ;;
    src/eval) echo "base lists" ;;
    src/record) echo "base lists words blip2.h decoding.def" ;;
    src/console) echo "base blip2.h" ;;
    src/job) echo "base lists words record console blip2.h decoding.def asking.def" ;;
    convert) echo "base quant tokenizer" ;;
    src/cli) echo "base lists words record job console eval convert blip2.h decoding.def asking.def" ;;
    esac
}
rooms="src/base quant tokenizer src/image src/words src/checkpoint src/kernels src/gpu src/model src/generate src
       src/lists src/eval src/record src/console src/job convert src/cli"

sources() { # of a room: its files
    depth=""
    [ "$1" = src ] && depth="-maxdepth 1"
    [ -d "$1" ] && find "$1" $depth \( -name '*.[ch]' -o -name '*.def' -o -name '*.inc' \) | sort
}

# Reads "room|allowed words|files ..." lines: every include of every file against its row, then circles within the room.
for room in $rooms; do
    files=$(sources "$room")
    [ -n "$files" ] && echo "$room|$(allowed "$room")|$(echo $files)"
done | awk -F '|' '
function complain(text) { print "layers: " text; bad = 1 }
function own(include) { return index(include, self "/") == 1 || (room == "src" && include !~ /\//) }
function permitted(file, include,    i) {
    if (room == "src/cli" && file ~ /cmd_bench\.c$/ && include == "kernels/probe.h") return 1
    if (file ~ /^src\/kernels\/(ref|x86|arm|blas)\// && include ~ /^kernels\/(cpu\/|ops)/) return 0
    if (own(include)) return 1
    for (i = 1; i <= n_allowed; i++)
        if (include == row[i] || index(include, row[i] "/") == 1) return 1
    return 0
}
function walk(node, path,    i, n, next_nodes) { # depth first; state 1: on the path, 2: done
    state[node] = 1
    n = split(edges[node], next_nodes, " ")
    for (i = 1; i <= n; i++) {
        if (!(next_nodes[i] in state)) walk(next_nodes[i], path " -> " next_nodes[i])
        else if (state[next_nodes[i]] == 1) complain("a circle: " path " -> " next_nodes[i])
    }
    state[node] = 2
}
function unit(name) { sub(/\.(inc\.)?[ch]$/, "", name); return name } # a header and its .c are one
{
    room = $1; self = room; sub(/^src\//, "", self)
    n_allowed = split($2, row, " "); n_files = split($3, list, " ")
    for (f = 1; f <= n_files; f++) {
        file = list[f]; from = file; sub(/^src\//, "", from); from = unit(from)
        while ((getline line < file) > 0) {
            if (line !~ /^[ \t]*#[ \t]*include[ \t]*"/) continue
            include = line; sub(/^[^"]*"/, "", include); sub(/".*/, "", include)
            if (!permitted(file, include)) complain(file " includes \"" include "\": " room " may see only itself and: " $2)
            if (own(include) && include != "blip2.h" && unit(include) != from && include !~ /\.def$/) edges[from] = edges[from] " " unit(include)
        }
        close(file)
        nodes[++n_nodes] = from
    }
}
END {
    for (i = 1; i <= n_nodes; i++) if (!(nodes[i] in state)) walk(nodes[i], nodes[i])
    exit bad
}'
bad=$?

only() { # what, pattern, where it may stand
    for file in $(grep -lE "$2" -r src quant tokenizer convert --include='*.[ch]' 2>/dev/null); do
        found=0
        for place in $3; do case $file in $place) found=1 ;; esac; done
        [ $found = 1 ] || { echo "layers: $file has $1: allowed only in $3"; bad=1; }
    done
}
system() { only "<$1>" "^[[:space:]]*#[[:space:]]*include[[:space:]]*<$2>" "$3"; }
system immintrin.h 'immintrin\.h' 'src/kernels/x86/*'
system arm_neon.h 'arm_neon\.h' 'src/kernels/arm/*'
system cblas.h 'cblas\.h' 'src/kernels/blas/*'
system dlfcn.h 'dlfcn\.h' 'src/gpu/driver.c src/base/library.c'
system omp.h 'omp\.h' 'src/base/parallel*'
system sys/mman.h 'sys/mman\.h' 'src/base/*'
system archive.h 'archive(_entry)?\.h' 'src/lists/tar.c'
only 'an OpenMP pragma' '#pragma[[:space:]]+omp' 'src/base/parallel*'
for call in getenv exit _exit; do
    only "a call of $call" "(^|[^_a-zA-Z0-9])$call[[:space:]]*\(" 'src/console/*'
done
[ $bad -eq 0 ] && echo "layers: every include follows the arrows, no room has a circle"
exit $bad
