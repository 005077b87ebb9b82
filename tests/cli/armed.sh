#!/bin/sh
# armed PID: waits until the process catches SIGTERM (bit 14 of its caught signals) and sleeps, so that the signal finds it
# in its read() and not on the way there; or until it is gone.
is_armed() { grep -q '^SigCgt:.*[4-7c-f]...$' "/proc/$1/status" && grep -q '^State:.S' "/proc/$1/status"; }
while kill -0 "$1" 2>/dev/null && ! is_armed "$1"; do sleep 0.02; done
