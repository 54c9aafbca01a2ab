#!/usr/bin/env bash
# A Slurm of two nodes on this machine, for the tests: munged, slurmctld and two slurmd with files and ports of their own.
#
#   tests/slurm/cluster.sh DIRECTORY PORT      PORT to PORT + 2 are used; clients need SLURM_CONF=DIRECTORY/slurm.conf
#
# Says "ready" once both nodes are idle, and runs until it is killed; everything it started, jobs included, lives in a process namespace of
# its own and dies with it. Exits 77, with the reason, where that cannot be had.
set -eu
PATH=$PATH:/usr/sbin:/sbin

skip() {
  echo "skipped: $*"
  exit 77
}
for program in munged slurmctld slurmd sbatch srun; do
  command -v "$program" >/dev/null || skip "$program is missing (Debian/Ubuntu: apt install slurm-wlm munge); launch/test --slurm installs it"
done
if [ "$$" != 1 ]; then
  unshare --pid --fork --uts true 2>/dev/null || skip "takes root, for namespaces and for the daemons"
  exec setpriv --pdeathsig KILL unshare --pid --fork --kill-child --mount-proc "$0" "$@"
fi

home=$1 port=$2
mkdir -p "$home"/{munge,state,spool_n1,spool_n2,tmp_n1,tmp_n2}
chmod 700 "$home/munge"
(umask 077 && head -c 128 /dev/urandom >"$home/munge/key")
# Requeued jobs wait for cred_expire, two minutes by default. OpenMPI names its files by host name and TmpFS, so that two nodes on one
# machine need two of each.
cat >"$home/slurm.conf" <<CONF
ClusterName=drover_tests
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthInfo=socket=$home/munge/socket,cred_expire=5
StateSaveLocation=$home/state
SlurmdSpoolDir=$home/spool_%n
TmpFS=$home/tmp_%n
SlurmctldPidFile=$home/slurmctld.pid
SlurmdPidFile=$home/slurmd_%n.pid
SlurmctldLogFile=$home/slurmctld.log
SlurmdLogFile=$home/slurmd_%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=20
MessageTimeout=60
SlurmdTimeout=0
ReturnToService=2
NodeName=n[1-2] NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=$((port + 1))-$((port + 2)) CPUs=4
PartitionName=low Nodes=n[1-2] Default=YES PriorityTier=1
PartitionName=grace Nodes=n[1-2] PriorityTier=1 GraceTime=60
PartitionName=high Nodes=n[1-2] PriorityTier=10
CONF
export SLURM_CONF=$home/slurm.conf

munged --foreground --force --key-file="$home/munge/key" --socket="$home/munge/socket" --pid-file="$home/munge/pid" \
  --log-file="$home/munge/log" --seed-file="$home/munge/seed" >"$home/munge/out" 2>&1 &
for ((tries = 0; tries < 600; ++tries)); do
  [ -S "$home/munge/socket" ] && break
  sleep 0.05
done
slurmctld -D >"$home/slurmctld.out" 2>&1 &
for node in n1 n2; do
  unshare --uts sh -c "echo $node >/proc/sys/kernel/hostname; exec slurmd -D -N $node" >"$home/slurmd_$node.out" 2>&1 &
done
while [ "$SECONDS" -lt 60 ]; do
  [ "$(timeout 5 sinfo --noheader --partition low --format '%T %D' 2>/dev/null)" = "idle 2" ] && echo ready && wait
  sleep 0.1
done
echo "no Slurm after a minute:"
tail -n 5 "$home"/*.log "$home"/*.out "$home/munge/out"
exit 1
