#!/bin/sh
# interrupt SIGNAL N FILE COMMAND...: runs the command and sends it the signal as soon as FILE has more than N lines, however
# slow the machine is. Exits as the command does.
set -u
signal=$1 n=$2 file=$3
shift 3
case $signal in # "&" of a script ignores SIGINT, and then so would the program; nobody ignores KILL
KILL) "$@" & ;;
*) env --default-signal="$signal" "$@" & ;;
esac
pid=$!
while kill -0 "$pid" 2>/dev/null; do
    if [ -f "$file" ] && [ "$(wc -l <"$file")" -gt "$n" ]; then break; fi
    sleep 0.02
done
kill -"$signal" "$pid" 2>/dev/null
wait "$pid"
