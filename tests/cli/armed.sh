#!/bin/sh
# armed PID: waits until the process catches SIGTERM (bit 14 of its caught signals), or is gone.
while kill -0 "$1" 2>/dev/null && ! grep -q '^SigCgt:.*[4-7c-f]...$' "/proc/$1/status"; do sleep 0.02; done
