#!/bin/sh
# run.sh: the command line's contract, case by case. A case is a file of tests/cli/cases:
#
#   # what it shows
#   $ command, run by sh in a fresh folder          (continues on lines that begin with ">")
#   needs: tar            (skipped, loudly, where the build reads none), or
#   needs: ulimit         (skipped, loudly, where no program starts with 4 GB of addresses: sanitizers)
#   exit: 0
#   stderr: extended regular expression             (any number; each must match; none: stderr must be empty)
#   stdout:
#   expected lines, to the end of the file          (absent: stdout must be empty; "stdout~" regular expressions instead)
#
# In the folder: demo.gguf (the demo's model, int8), images/ (its pictures), demo.csv, model/ (its checkpoint). On the PATH:
# blip2, interrupt, armed, roles and private_dev (*.sh beside this). $JOBS: tests/golden/jobs; $PICTURES: tests/golden/image. TAP;
# BLIP2 names the program; UPDATE=1 writes stdout as it is into the cases; SLICE=0 or 1 runs every other case.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
cases=${CASES:-$root/tests/cli/cases}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# Two halves at once, each with folders of its own. By xargs: a shell lets what it starts with & ignore Ctrl-C.
slice=${SLICE:-}
if [ -z "$slice" ] && [ "${UPDATE:-0}" = 0 ] && [ "$(getconf _NPROCESSORS_ONLN)" -gt 1 ]; then
    status=0
    printf '0\n1\n' | xargs -P 2 -I% sh -c 'SLICE=% sh "$0" >"$1/%" 2>&1' "$0" "$work" || status=1
    awk '/^1\.\.[0-9]+$/ { next }
         /^(not )?ok [0-9]+/ { sub(/ok [0-9]+/, "ok " ++n) }
         { print }
         END { print "1.." n }' "$work/0" "$work/1"
    exit $status
fi

unset BLIP2_MODEL OMP_NUM_THREADS SLURM_CPUS_PER_TASK HF_HOME HF_HUB_CACHE
export LC_ALL=C.UTF-8 JOBS="$root/tests/golden/jobs" PICTURES="$root/tests/golden/image"

prepare() {
    mkdir "$work/bin" "$work/common" && ln -s "$BLIP2" "$work/bin/blip2" && for tool in interrupt armed roles private_dev; do cp "$root/tests/cli/$tool.sh" "$work/bin/$tool"; done
    PATH=$work/bin:$PATH
    "$BLIP2" convert "$root/data/demo/model" -o "$work/common/demo.gguf" --quiet || exit 1
    ln -s "$root/data/demo/images" "$root/data/demo/demo.csv" "$root/data/demo/model" "$work/common/"
}

# field NAME FILE: the values of "NAME: value" lines before the output
field() { sed -n "/^stdout[:~]/q; s/^$1: //p" "$2"; }

run_case() {
    case_file=$1
    here=$work/here && rm -rf "$here" && mkdir "$here" && cp -P "$work"/common/* "$here"/
    sed -n '/^stdout[:~]/q; s/^\$ //p; s/^> //p' "$case_file" >"$work/command"
    (cd "$here" && sh "$work/command" </dev/null >"$work/stdout" 2>"$work/stderr")
    code=$?
    : >"$work/complaints"
    want=$(field exit "$case_file")
    [ "$code" = "$want" ] || echo "exit code $code, expected $want" >>"$work/complaints"
    field stderr "$case_file" >"$work/patterns"
    if [ -s "$work/patterns" ]; then
        while IFS= read -r pattern; do
            grep -Eq -- "$pattern" "$work/stderr" || echo "stderr has no match for: $pattern" >>"$work/complaints"
        done <"$work/patterns"
    elif [ -s "$work/stderr" ]; then
        echo "stderr is not empty" >>"$work/complaints"
    fi
    if grep -q '^stdout~' "$case_file"; then
        sed '1,/^stdout~/d' "$case_file" | while IFS= read -r pattern; do
            grep -Eq -- "$pattern" "$work/stdout" || echo "stdout has no match for: $pattern"
        done >>"$work/complaints"
    else
        sed '1,/^stdout:/d' "$case_file" >"$work/expected"
        if [ "${UPDATE:-0}" = 1 ]; then
            sed '/^stdout:/,$d' "$case_file" >"$work/new"
            { cat "$work/new"; [ -s "$work/stdout" ] && echo "stdout:" && cat "$work/stdout"; } >"$case_file"
        fi
        diff "$work/expected" "$work/stdout" >"$work/diff" || { echo "stdout differs (< expected, > got):"; cat "$work/diff"; } >>"$work/complaints"
    fi
}

[ -d "$root/data/demo/model" ] || { echo "1..1"; echo "ok 1 - command line # SKIP data/demo/model is missing"; exit 0; }
prepare
n=0 status=0 i=0
reads_tar() { ! "$BLIP2" caption --tar nowhere.tar 2>&1 | grep -q 'reads no tar'; }
starts_in_4_gb() { (ulimit -v 4000000; "$BLIP2" --version >/dev/null 2>&1); }
for file in "$cases"/*.case; do
    i=$((i + 1))
    [ -n "$slice" ] && [ $((i % 2)) != "$slice" ] && continue
    n=$((n + 1))
    lack=
    case $(field needs "$file") in
    tar) reads_tar || lack="this build reads no tar files (libarchive-dev)" ;;
    ulimit) starts_in_4_gb || lack="a sanitizer reserves more addresses than ulimit -v leaves" ;;
    esac
    if [ -n "$lack" ]; then
        echo "ok $n - $(basename "$file" .case) # SKIP $lack"
        continue
    fi
    run_case "$file"
    title="$(basename "$file" .case): $(sed -n '1s/^# //p' "$file")"
    if [ -s "$work/complaints" ]; then
        echo "not ok $n - $title"
        sed 's/^/#   /' "$work/complaints" "$work/stderr"
        status=1
    else
        echo "ok $n - $title"
    fi
done
echo "1..$n"
exit $status
