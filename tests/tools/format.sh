#!/bin/sh
# format.sh fix|check [ROOT]: lays out every C file as .clang-format says, or names those that are laid out otherwise.
# Versions of clang-format differ in what they do, so only 14 is taken (Debian 12: apt install clang-format-14).
set -u
cd "${2:-$(dirname "$0")/../..}" || exit 2
tool=${CLANG_FORMAT:-clang-format-14}
version=$("$tool" --version 2>/dev/null | sed -n 's/.*version \([0-9]*\).*/\1/p')
if [ "$version" != 14 ]; then
    echo "format: $tool is version ${version:-none}, expected 14 (apt install clang-format-14, or CLANG_FORMAT=path)" >&2
    exit 2
fi
files() { find src quant tokenizer convert tests -name '*.[ch]' | sort; }
bad=0
if [ "${1:-check}" = fix ]; then
    files | xargs "$tool" -i
else
    for file in $(files); do
        "$tool" "$file" | cmp -s - "$file" || { echo "format: $file is laid out otherwise: make format"; bad=1; }
    done
fi
# Strings stay whole whatever their length; everything else fits the page.
wide=$(files | xargs awk 'length > 120 && !/"/ {print "format: " FILENAME ":" FNR ": wider than 120 columns"}')
[ -z "$wide" ] || { echo "$wide"; bad=1; }
[ $bad -eq 0 ] && echo "format: every file is laid out as .clang-format says"
exit $bad
