#!/bin/sh
# layers.sh: the arrows of inclusion of DESIGN section 1, checked. Every #include "..." of a room must name a room that
# it may see; a few system headers are allowed in one place only.
set -u
allowed() {
    case $1 in
    src/base) echo "base blip2.h" ;;
    quant) echo "quant base" ;;
    src/checkpoint) echo "checkpoint quant base" ;;
    src/kernels) echo "kernels quant base" ;;
    src/image) echo "image base" ;;
    tokenizer) echo "tokenizer base" ;;
    src/model) echo "model kernels checkpoint quant base" ;;
    src/generate) echo "generate model kernels quant base" ;;
    src) echo "blip2.h blip2_text.h blip2_model.h generate model checkpoint image tokenizer kernels quant base" ;;
    convert) echo "convert tokenizer quant base" ;;
    src/cli) echo "cli convert blip2.h base" ;;
    esac
}
bad=0
complain() { echo "layers: $1"; bad=1; }

for room in src/base quant src/checkpoint src/kernels src/image tokenizer src/model src/generate src convert src/cli; do
    depth=""
    [ "$room" = src ] && depth="-maxdepth 1"
    for file in $(find $room $depth -name '*.[ch]' -o $room $depth -name '*.def' 2>/dev/null | sort -u); do
        for include in $(sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*"\([^"]*\)".*/\1/p' "$file"); do
            target=${include%%/*}
            case " $(allowed $room) " in
            *" $target "*) ;;
            *" $include "*) ;;
            *)
                [ "$file" = src/cli/cmd_bench.c ] && [ "$include" = kernels/probe.h ] && continue
                complain "$file includes \"$include\": $room may see only: $(allowed $room)"
                ;;
            esac
        done
    done
done

only() { # header pattern, where it may be
    for file in $(grep -lE "^[[:space:]]*#[[:space:]]*include[[:space:]]*<$1>" -r src quant tokenizer convert --include='*.[ch]' 2>/dev/null); do
        case $file in $2) ;; *) complain "$file includes <$1>: allowed only in $2" ;; esac
    done
}
only 'immintrin\.h' 'src/kernels/x86/*'
only 'arm_neon\.h' 'src/kernels/arm/*'
only 'cblas\.h' 'src/kernels/blas/*'
only 'omp\.h' 'src/base/parallel.c'
only 'sys/mman\.h' 'src/base/*'
for file in $(grep -lE '#pragma[[:space:]]+omp' -r src quant tokenizer convert --include='*.[ch]'); do
    [ "$file" = src/base/parallel.c ] || complain "$file has an OpenMP pragma: only src/base/parallel.c may"
done
for file in $(grep -lE '\bgetenv[[:space:]]*\(' -r src quant tokenizer convert --include='*.[ch]'); do
    case $file in src/cli/*) ;; *) complain "$file reads the environment: only src/cli may" ;; esac
done
[ $bad -eq 0 ] && echo "layers: every include follows the arrows"
exit $bad
