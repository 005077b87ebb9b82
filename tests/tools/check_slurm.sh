#!/bin/sh
# check_slurm.sh: data/cluster/caption.sbatch on a real Slurm of one node, made here of Debian's slurmctld and slurmd without
# munge, systemd or cgroups: an array of 4, one task stopped by a signal and queued again because of its exit code 75; what
# blip2 merge makes of the shards is what one run makes of the list. Then the same with GNU parallel. TAP. Needs root.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
: "${BLIP2:=$root/build/blip2}"
export BLIP2 LC_ALL=C.UTF-8
if ! command -v slurmctld >/dev/null || ! command -v slurmd >/dev/null || [ "$(id -u)" != 0 ]; then
    echo "1..1"
    echo "ok 1 - an array on Slurm # SKIP needs root, slurmctld and slurmd (apt install slurmctld slurmd slurm-client)"
    exit 0
fi
work=$(mktemp -d) || exit 1
host=$(hostname -s)
export SLURM_CONF=$work/slurm.conf
cat >"$SLURM_CONF" <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
SlurmUser=root
SlurmdUser=root
ReturnToService=2
MailProg=/bin/true
RequeueExit=75
KillWait=5
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/ctld.pid
SlurmdPidFile=$work/d.pid
SlurmctldLogFile=$work/ctld.log
SlurmdLogFile=$work/d.log
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 RealMemory=2000
PartitionName=main Nodes=$host Default=YES State=UP MaxTime=INFINITE
END
mkdir -p "$work/state" "$work/spool"
slurmctld -D >"$work/ctld.out" 2>&1 &
ctld=$!
slurmd -D >"$work/d.out" 2>&1 &
d=$!
trap 'kill $ctld $d 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT
cd "$work" || exit 1

# until SECONDS COMMAND: waits until it holds
until_holds() {
    limit=$1; shift
    while [ "$limit" -gt 0 ]; do "$@" >/dev/null 2>&1 && return 0; sleep 1; limit=$((limit - 1)); done
    return 1
}
n=0 status=0
check() { n=$((n + 1)); if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; status=1; fi; }
is_idle() { sinfo -h -o %T | grep -q idle; }
is_running() { squeue -h -j "$1" -o %T | grep -q RUNNING; }
is_gone() { ! squeue -h -j "$1" 2>/dev/null | grep -q .; }
has_restarted() { scontrol show job "$1" | grep -q 'Restarts=1'; }

until_holds 60 is_idle || { echo "1..1"; echo "not ok 1 - Slurm does not start"; cat "$work"/*.log "$work"/*.out | tail -n 30 | sed 's/^/# /'; exit 1; }

"$BLIP2" convert "$root/data/demo/model" -o demo.gguf --quiet || exit 1
ln -s "$root/data/demo/images" images
head -n 1 "$root/data/demo/demo.csv" >list.csv # 64 pictures, so often that a task takes a while
i=0; while [ $i -lt 100 ]; do tail -n +2 "$root/data/demo/demo.csv" >>list.csv; i=$((i + 1)); done
"$BLIP2" caption -m demo.gguf --csv list.csv --format csv -o whole.csv --quiet

export MODEL=demo.gguf LIST=list.csv OUT=array.csv BLIP2_OPTIONS="--batch 1"
job=$(sbatch --parsable --array=0-3 --cpus-per-task=1 --mem=400 --time=10:00 -o slurm-%a.out "$root/data/cluster/caption.sbatch")
until_holds 60 is_running "${job}_1"
sleep 2
until_holds 20 scancel --signal=TERM "${job}_1" # to its steps: blip2, not the script
until_holds 30 has_restarted "${job}_1"
check $? "a task that ends with 75 is queued again"
grep -q 'the same command with --resume goes on from there' slurm-1.out
check $? "it says what is safe"
scontrol update JobId="${job}_1" StartTime=now 2>/dev/null # Slurm would wait two minutes
until_holds 300 is_gone "$job"
grep -q 'others are done' slurm-1.out
check $? "it goes on where it was"
"$BLIP2" merge array.csv.*-of-* -o array.csv 2>merge.log && cmp -s whole.csv array.csv
check $? "the four shards merged are one run's output"
[ $status = 0 ] || { cat slurm-*.out merge.log; tail -n 20 "$work/ctld.log"; } 2>/dev/null | sed 's/^/# /'

if command -v parallel >/dev/null; then
    parallel --will-cite -j 2 "$BLIP2" caption -m demo.gguf --csv list.csv --format csv -o par.csv --shard {}/4 --resume -t 1 --quiet ::: 0 1 2 3 &&
        "$BLIP2" merge par.csv.*-of-* -o par.csv 2>merge.log && cmp -s whole.csv par.csv
    check $? "GNU parallel over four shards"
else
    n=$((n + 1)); echo "ok $n - GNU parallel # SKIP parallel is not installed"
fi
echo "1..$n"
exit $status
