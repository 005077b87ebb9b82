#!/bin/sh
# check_install.sh: what `make install` installs is enough for another program, through pkg-config, shared and static, in C
# and in C++. TAP.
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
build() { # compiler language pkg-config-options linker-options out
    $1 -x "$2" "$root/tests/tools/example.c" -x none $4 $(pkg-config --cflags --libs $3 blip2) -o "$5" && same "$5"
}
only_ours() { ! nm -D --defined-only "$work/usr/lib/libblip2.so.0" | awk '{print $3}' | grep -v '^blip2_'; }
check "make install with DESTDIR and PREFIX" make -C "$root" --no-print-directory install DESTDIR="$work" PREFIX=/usr
check "the shared library serves a C program" build "${CC:-cc}" c "" "" "$work/shared"
check "the static library too" build "${CC:-cc}" c --static "-L$work/usr/lib -Wl,-Bstatic -lblip2 -Wl,-Bdynamic" "$work/static"
header_is_cxx() { printf '#include <blip2.h>\nint main() { return blip2_prompt_tokens(nullptr, nullptr) > 0; }\n' |
    g++ -x c++ -std=c++17 -Wall -Wextra -Werror -fsyntax-only $(pkg-config --cflags blip2) -; }
no_libraries_of_the_converter() { ! grep -E 'jansson|-lzip' "$work/usr/lib/pkgconfig/blip2.pc"; }
if command -v g++ >/dev/null; then check "the header is C++ as well" header_is_cxx; fi
check "the library asks for nothing that only the converter needs" no_libraries_of_the_converter
check "the shared library exports nothing but blip2_*" only_ours
echo "1..$n"
exit $code
