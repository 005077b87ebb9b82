#!/bin/sh
# install.sh build|test: makes sure that what a build (or the tests) needs is there. On Debian and its children it
# installs what is missing when it may (root, or sudo without a question); otherwise it prints the exact line and stops.
set -u
want="gcc make pkg-config libjansson-dev libzip-dev libutf8proc-dev libxxhash-dev libstb-dev libopenblas-dev libjpeg62-turbo-dev"
[ "${1:-build}" = test ] && want="$want libcmocka-dev"

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "install.sh: no dpkg here: nothing is installed; the packages needed are called on Debian: $want" >&2
    exit 0
fi
missing=""
for package in $want; do
    case $package in
    gcc) command -v "${CC:-gcc}" >/dev/null 2>&1 && continue ;;
    esac
    state=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null)
    [ "$state" = "install ok installed" ] && continue
    missing="$missing $package"
done
[ -z "$missing" ] && exit 0

line="apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" = 0 ]; then
    sudo=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    sudo="sudo"
else
    echo "blip2.c needs packages that are not installed. Run this, then try again:" >&2
    echo "    sudo $line" >&2
    exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
$sudo $line >/dev/null 2>&1 || { $sudo apt-get update >/dev/null && $sudo $line >/dev/null; } || {
    echo "apt-get could not install:$missing" >&2
    echo "    $sudo $line" >&2
    exit 1
}
