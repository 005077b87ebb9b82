#!/bin/sh
# check_install.sh: what `make install` installs is enough for another program, through pkg-config, shared and static, in C
# and in C++; the programs are the examples of blip2.h: of its head comment, and of score. The library exports what symbols.txt lists. TAP.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
n=0 code=0
check() { # title command...
    n=$((n + 1)) title=$1
    shift
    if "$@" >"$work/log" 2>&1; then echo "ok $n - $title"; else echo "not ok $n - $title"; sed 's/^/#   /' "$work/log"; code=1; fi
}
case $BLIP2 in */release/blip2) ;; *) echo "1..1"; echo "ok 1 - install # SKIP only of the release build"; exit 0 ;; esac
want=$("$BLIP2" convert "$root/data/demo/model" -o "$work/m.gguf" --quiet && "$BLIP2" caption -m "$work/m.gguf" "$root/data/demo/images/01.jpg")
export PKG_CONFIG_PATH=$work/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$work LD_LIBRARY_PATH=$work/usr/lib
same() { [ "$("$1" "$work/m.gguf" "$root/data/demo/images/01.jpg")" = "$want" ]; }
head_lines() { sed -n '/\*\//q; s/^ \*     \(.*\)$/    \1/p' "$root/src/blip2.h"; } # those indented by four more spaces
score_lines() { sed -n '/^\/\* How likely the model holds/,/\*\// s/^ \*      \(.*\)$/    \1/p' "$root/src/blip2_experimental.h"; }
program() { # the lines on stdin as a program
    printf '#include <blip2.h>\n#include <stdio.h>\nint main(int argc, char **argv) {\n    if (argc != 3) return 2;\n'
    cat
    printf '    blip2_image_free(&image);\n    blip2_session_free(&session);\n    blip2_model_close(&model);\n    return 0;\n'
    printf 'failed:\n    fprintf(stderr, "%%s\\n", err.message);\n    return 1;\n}\n'
}
head_lines | program >"$work/example.c"
{ head_lines | sed '/blip2_session_encode/q'; score_lines; } | program >"$work/score.c"
scores() { # the second example says what blip2 score says
    want_scores=$("$BLIP2" score -m "$work/m.gguf" "$root/data/demo/images/01.jpg" -q "what color is the object?" --text red --text green --text yellow |
        awk '{printf "%s %.4f\n", $4, $3}') && [ -n "$want_scores" ] || return 1
    ${CC:-cc} -Wall -Wextra -Werror "$work/score.c" $(pkg-config --cflags --libs blip2) -o "$work/score" &&
        [ "$("$work/score" "$work/m.gguf" "$root/data/demo/images/01.jpg")" = "$want_scores" ]
}
build() { # compiler language pkg-config-options linker-options out
    $1 -x "$2" "$work/example.c" -x none $4 $(pkg-config --cflags --libs $3 blip2) -o "$5" && same "$5"
}
exports() { nm -D --defined-only "$work/usr/lib/libblip2.so.1" | awk '{print $3}' | LC_ALL=C sort | diff "$root/tests/tools/symbols.txt" -; }
check "make install with DESTDIR and PREFIX" make -C "$root" --no-print-directory install DESTDIR="$work" PREFIX=/usr
check "the shared library serves a C program" build "${CC:-cc}" c "" "" "$work/shared"
check "the example of score, with warnings as errors, says what blip2 score says" scores
check "the static library too" build "${CC:-cc}" c --static "-L$work/usr/lib -Wl,-Bstatic -lblip2 -Wl,-Bdynamic" "$work/static"
header_is_cxx() { printf '#include <blip2.h>\nint main() { return blip2_prompt_tokens(nullptr, nullptr) > 0; }\n' |
    g++ -x c++ -std=c++17 -Wall -Wextra -Werror -fsyntax-only $(pkg-config --cflags blip2) -; }
no_libraries_of_the_converter() { ! grep -E 'jansson|-lzip' "$work/usr/lib/pkgconfig/blip2.pc"; }
if command -v g++ >/dev/null; then check "the header is C++ as well" header_is_cxx; fi
check "the library asks for nothing that only the converter needs" no_libraries_of_the_converter
check "the shared library exports what tests/tools/symbols.txt lists" exports
echo "1..$n"
exit $code
