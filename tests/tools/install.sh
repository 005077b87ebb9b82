#!/bin/sh
# install.sh build|test: makes sure that what a build (or the tests) needs is there. On Debian and its children it
# installs what is missing when it may (root, or sudo without a question); otherwise it prints the exact line and stops.
set -u
want="gcc make pkg-config libjansson-dev libzip-dev libutf8proc-dev libxxhash-dev libstb-dev"
[ "${1:-build}" = test ] && want="$want libcmocka-dev g++"
# What a build can do without: tests/tools/features.sh says what is lost then.
optional="libopenblas-dev libjpeg62-turbo-dev libspng-dev libwebp-dev libtiff-dev libgif-dev libheif-dev libavif-dev libjxl-dev libarchive-dev"

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "install.sh: no dpkg here: nothing is installed; the packages needed are called on Debian: $want" >&2
    echo "install.sh: and those that add something: $optional" >&2
    exit 0
fi
find_missing() {
    for package; do
        case $package in
        gcc) command -v "${CC:-gcc}" >/dev/null 2>&1 && continue ;;
        esac
        state=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null)
        [ "$state" = "install ok installed" ] || printf ' %s' "$package"
    done
}
missing=$(find_missing $want) extra=$(find_missing $optional)
[ -z "$missing$extra" ] && exit 0

line="apt-get install -y --no-install-recommends"
if [ "$(id -u)" = 0 ]; then
    sudo=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    sudo="sudo"
elif [ -z "$missing" ]; then
    echo "blip2.c works without them, but can do more with:    sudo $line$extra" >&2
    exit 0
else
    echo "blip2.c needs packages that are not installed. Run this, then try again:" >&2
    echo "    sudo $line$missing$extra" >&2
    exit 1
fi
echo "installing:$missing$extra"
export DEBIAN_FRONTEND=noninteractive
install() { $sudo $line "$@" >/dev/null 2>&1; }
install $missing $extra && exit 0
$sudo apt-get update >/dev/null 2>&1
install $missing $extra && exit 0
for package in $extra; do # one that this Debian does not have must not cost the others
    install "$package" || echo "apt-get could not install $package: done without" >&2
done
[ -z "$missing" ] || install $missing || {
    echo "apt-get could not install:$missing" >&2
    echo "    $sudo $line$missing" >&2
    exit 1
}
