#!/usr/bin/env bash
# Starts a command on N ranks with OpenMPI, with what a laptop, a container and a cluster node each need:
#
#   launch/mpirun.sh -np N [--hostfile FILE] COMMAND...
#
# It runs as root and with more ranks than cores when it must, prints the binding once, turns INT, TERM and HUP into USR1 (save, then exit
# 75; OpenMPI itself would kill the ranks a second later), and keeps the first cause of a failure as the last thing on the screen.
# A second INT, TERM or USR1 ends the job at once.
#
# Several hosts: FILE has a line "HOST slots=RANKS" for each; ranks fill one host after the other. OpenMPI starts them by ssh, which must
# need no password; its own variables (OMPI_MCA_plm_rsh_agent, OMPI_MCA_btl_tcp_if_include, ...) are passed on.
set -u

help() { sed -n '2,11s/^# \{0,1\}//p' "$0"; }
usage() {
  help >&2
  echo "mpirun.sh: $1" >&2
  exit 2
}

ranks="" hostfile=()
while [ $# -gt 0 ]; do
  case "$1" in
    -np | -n) [ $# -ge 2 ] || usage "$1 wants a number of ranks"; ranks=$2; shift 2 ;;
    --hostfile) [ $# -ge 2 ] || usage "$1 wants a file"; hostfile=(--hostfile "$2"); shift 2 ;;
    -h | --help) help; exit 0 ;;
    *) break ;;
  esac
done
case "$ranks" in
  '') usage "-np N is missing" ;;
  *[!0-9]* | 0*) usage "-np $ranks: a number of ranks, at least 1" ;;
esac
[ $# -gt 0 ] || usage "a command is missing"
command -v mpirun >/dev/null || { echo "mpirun.sh: mpirun is missing (Debian/Ubuntu: apt install openmpi-bin)" >&2; exit 6; }
[ ${#hostfile[@]} -gt 0 ] || command -v -- "$1" >/dev/null || {
  echo "mpirun.sh: $1 cannot be run: no such program (cmake --preset release && cmake --build --preset release makes build/release/drover)" >&2
  exit 2
}
# The number of hosts of a hostfile, or what is wrong with it.
read_hosts() {
  awk -v form="a line a host: HOST slots=RANKS" '
    { sub(/#.*/, "") }
    NF == 0 { next }
    NF != 2 || $1 ~ /:|=/ || $2 !~ /^slots=[1-9][0-9]*$/ { print "line " NR ": \"" $0 "\"; " form; bad = 1; exit }
    seen[$1] { print "line " NR ": " $1 " stands in line " seen[$1] " already; " form; bad = 1; exit }
    { seen[$1] = NR; hosts++ }
    END { if (bad) exit 1; if (!hosts) { print "it names no host; " form; exit 1 }; print hosts }' "$1"
}
hosts=1
if [ ${#hostfile[@]} -gt 0 ]; then
  if [ ! -r "${hostfile[1]}" ] || [ -d "${hostfile[1]}" ]; then
    echo "mpirun.sh: hostfile ${hostfile[1]} cannot be read" >&2
    exit 2
  fi
  hosts=$(read_hosts "${hostfile[1]}") || { echo "mpirun.sh: hostfile ${hostfile[1]}, $hosts" >&2; exit 2; }
fi

scratch=$(mktemp -d)
finish() { # no trap of EXIT: a job that is killed while it is still a copy of this shell would run it too
  rm -rf "$scratch"
  exit "$1"
}
signals=0 interrupted=0 early=0 job=""
# The program says when a stop signal finds it ready (and nothing before it is worth saving): until then the job is ended instead.
stop() {
  if [ -s "$scratch/ready" ]; then
    echo "mpirun.sh: asked the run to save and stop; a second signal ends it at once" >&2
    kill -USR1 "$job" 2>/dev/null
  else
    early=1
    kill -TERM "$job" 2>/dev/null
  fi
}
# shellcheck disable=SC2317  # called by the trap
forward() {
  interrupted=1 signals=$((signals + 1))
  [ -n "$job" ] || return 0
  case "$signals" in
    1) stop ;;
    2) kill -TERM "$job" 2>/dev/null ;; # OpenMPI ends the ranks of all hosts
    *) kill -KILL -- "-$job" 2>/dev/null || kill -KILL "$job" 2>/dev/null ;;
  esac
}
trap '' PIPE # whoever reads this script's output may be gone: a `tee` by the same Ctrl-C
trap forward INT TERM USR1
trap 'interrupted=1; [ "$signals" -gt 0 ] || forward' HUP # a closing terminal may send more than one

cores=$(nproc)
# One thread pool a rank: `run.threads` decides; a library that reads this variable must not do otherwise.
threads=$((cores * hosts / ranks))
export OMP_NUM_THREADS=$((threads > 0 ? threads : 1))
if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
# Unbound, so that a rank's threads find all cores: OpenMPI would give two ranks a core each, however many the host has.
binding=() bound="bound by OMPI_MCA_hwloc_base_binding_policy"
if [ -z "${OMPI_MCA_hwloc_base_binding_policy:-}" ]; then binding=(--bind-to none) bound="unbound"; fi
counted() { echo "$1 $2$([ "$1" = 1 ] || echo s)"; }
turns="" here=""
if [ "$ranks" -gt $((cores * hosts)) ]; then
  export OMPI_MCA_mpi_yield_when_idle=1
  turns=": they take turns"
fi
if [ ${#hostfile[@]} -eq 0 ]; then
  # More ranks than cores: OpenMPI 4 reads the first variable, 5 the second.
  export OMPI_MCA_rmaps_base_oversubscribe=1 PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
  # Ranks of one machine meet in shared memory. OpenMPI 5 would warn of the network that they do not need.
  if [ -z "${SLURM_JOB_ID:-}${PBS_JOBID:-}${LSB_JOBID:-}" ]; then here=1 OMPI_MCA_btl=${OMPI_MCA_btl:-^tcp}; export OMPI_MCA_btl; fi
  echo "mpirun.sh: $(counted "$ranks" rank), $(counted "$OMP_NUM_THREADS" thread) each, $bound on $(counted "$cores" core)$turns" >&2
else
  echo "mpirun.sh: $(counted "$ranks" rank) on the $(counted "$hosts" host) of ${hostfile[1]}, $bound$turns" >&2
fi

# Columns of our own output, 0 where it is no terminal: the ranks see a pseudo-terminal of mpirun's, or a pipe, in either case.
export DROVER_TERMINAL=0
if [ -t 1 ]; then
  exec 3>&1
  DROVER_TERMINAL=$(stty size <&3 2>/dev/null | cut -d' ' -f2)
  exec 3>&-
  [ "${DROVER_TERMINAL:-0}" -gt 0 ] || DROVER_TERMINAL=80
fi

# Standard error is passed on without OpenMPI's banners; the program's own errors are kept, to be said last. What reads it outlives every
# signal, and whoever looks at it.
errors=$scratch/errors
: >"$errors"
exec 4> >(
  trap '' INT TERM USR1 HUP
  sed -uE -e "/^drover: ready\$/{w $scratch/ready" -e 'd}' -e "/^(mpirun|prterun) noticed that process rank/{w $scratch/noticed" -e 'd}' \
    -e '/^(-{20,}|MPI_ABORT was invoked|with errorcode|NOTE: invoking MPI_ABORT|You may or may not see|exactly when Open MPI|Primary job  terminated normally|(mpirun|prterun) (detected|noticed|has exited due to)|thus causing the job to be|signal [0-9]+ \(|  Proc: \[|  Errorcode: |"abort"|a non-zero exit code|the job to be terminated|This may|Per user-direction|while attempting|   ?Process name: |   ?Exit code: |\[.*\] [0-9]+ more process|\[.*\] Set MCA parameter|\[.*\] .*(ORTE_ERROR_LOG|PRTE ERROR|PMIX ERROR)|mpirun: Forwarding signal|$)/d' |
    tee "$errors" >&2
)
filter=$!
# OpenMPI 5 at times passes on no more of a rank's output (seen with 5.0.7): ranks of this machine write where OpenMPI itself would write it.
outlet="" through=()
if [ -n "$here" ] && mpirun --version | head -n 1 | grep -q '(Open MPI) [5-9]'; then
  # shellcheck disable=SC2094  # a pipe
  exec 5> >(
    trap '' INT TERM USR1 HUP
    cat 2>/dev/null || cat >/dev/null
  )
  outlet=$!
  # shellcheck disable=SC2016  # of the ranks' shell
  through=(bash -c 'exec >"/proc/$1/fd/0" 2>"/proc/$2/fd/0" && shift 2 && exec "$@"' rank "$outlet" "$filter")
else
  { exec 5>&1; } 2>/dev/null || exec 5>/dev/null # closed by whoever called
fi
# A session of its own: a Ctrl-C on the terminal reaches this script alone.
setsid mpirun "${hostfile[@]}" "${binding[@]}" -x DROVER_TERMINAL -x OMP_NUM_THREADS -np "$ranks" "${through[@]}" "$@" \
  >&5 2>&4 4>&- 5>&- </dev/null &
job=$!
exec 4>&- 5>&-
[ "$signals" = 0 ] || stop

mkfifo "$scratch/nothing"
pause() { read -rt "$1" _ <>"$scratch/nothing"; } # as sleep, but no process that could be left behind
# Succeeds when no process that the job started is alive and some have not been waited for: $last is the largest of their exit codes.
only_dead() {
  local list children child status fields dead=1
  last=0
  for list in "/proc/$job/task/"*/children; do
    children=()
    read -ra children <"$list"
    for child in "${children[@]}"; do
      read -r status <"/proc/$child/stat" || return 1
      read -ra fields <<<"${status##*) }"
      [ "${fields[0]}" = Z ] || return 1
      status=${fields[49]} dead=0
      status=$(((status & 127) == 0 ? status >> 8 : 128 + (status & 127)))
      [ "$status" -le "$last" ] || last=$status
    done
  done
  return "$dead"
}
# OpenMPI waits forever for the daemon of a host that it cannot reach any more, even when the ranks that it can reach have ended; and OpenMPI 5
# at times (seen with 5.0.7) for a lock of its own, when its ranks have ended.
(
  seconds=0
  until grep -q '^drover: error:' "$errors"; do
    kill -0 "$job" || exit
    pause 1
    if [ ${#hostfile[@]} -eq 0 ] && only_dead; then seconds=$((seconds + 1)); else seconds=0; fi
    [ "$seconds" -lt 10 ] || {
      echo "$last" >"$scratch/ended"
      kill -KILL "$job"
      exit
    }
  done
  pause 20
  kill -0 "$job" || exit
  touch "$scratch/unreachable"
  kill -TERM "$job"
  pause 5
  kill -KILL "$job"
) >/dev/null 2>&1 &
reaper=$!

# A trapped signal ends `wait` early; a job that was waited for already answers 127.
wait_for() {
  local code=127
  while true; do
    interrupted=0
    wait "$1" 2>/dev/null # without the shell's own word on how the job was killed
    result=$?
    [ "$result" = 127 ] || code=$result
    [ "$interrupted" = 1 ] || return "$code"
  done
}
wait_for "$job"
code=$?
kill "$reaper" 2>/dev/null
wait "$reaper" 2>/dev/null
[ ! -e "$scratch/unreachable" ] || code=6
if [ -e "$scratch/ended" ]; then
  code=$(<"$scratch/ended")
  echo "mpirun.sh: all ranks have ended, which OpenMPI did not notice: it was ended too (exit $code)" >&2
fi
if [ -e "$scratch/unreachable" ] || [ "$signals" -ge 2 ]; then
  # Connections to other hosts, which hold our output open, and what is left of the ranks here.
  pkill -KILL -s "$job"
  pkill -KILL -P "$filter" sed
fi 2>/dev/null
wait_for "$filter"
[ -z "$outlet" ] || wait_for "$outlet"

# What OpenMPI says in a page when it cannot start the program, in a line. Fails where there is nothing of that kind.
start_failure() {
  local node program
  node=$(sed -n 's/^ *Node: *//p' "$errors" | head -n 1)
  program=$(sed -n 's/^ *Executable: *//p' "$errors" | head -n 1)
  if [ -n "$node" ] && [ -n "$program" ]; then
    echo "$program is missing on host $node, or cannot be run there: every host needs the same program in the same place"
  elif grep -q '^There are not enough slots' "$errors"; then
    echo "$ranks ranks are more than the slots of ${hostfile[1]}; a line a host: HOST slots=RANKS"
  elif grep -qE '^(ORTE|PRTE|mpirun|prterun) was unable to reliably start' "$errors"; then
    echo "a host of ${hostfile[1]:-this job} cannot be reached, or has no OpenMPI ($(head -n 1 "$errors")); \`ssh HOST orted --version\` must work for each, without a password"
  else
    return 1
  fi
}

# The first error of the program, with its details.
first=$(awk '/^drover: error:/ && !found { found = 1; print; next } found && /^  / { print; next } found { exit }' "$errors")
if [ "$code" -ne 0 ] && [ -z "$first" ]; then
  if [ "$early" = 1 ]; then
    echo "mpirun.sh: stopped at the start (exit 75)" >&2
    finish 75
  elif [ "$signals" -gt 1 ]; then
    echo "mpirun.sh: ended at once by a second signal; the checkpoints of before are there (exit 130)" >&2
    finish 130
  fi
fi
if [ "$code" -ne 0 ] && [ "$code" -ne 75 ]; then
  if [ -n "$first" ]; then
    [ "$(tail -n "$(wc -l <<<"$first")" "$errors")" = "$first" ] || echo "$first" >&2
    # A host that cannot start the program leaves a code of OpenMPI's.
    if [ "$code" -gt 128 ] && failure=$(start_failure); then
      echo "mpirun.sh: error: $failure" >&2
      code=6
    fi
  elif failure=$(start_failure); then
    echo "mpirun.sh: error: $failure" >&2
    code=6
  elif [ "$code" -gt 128 ] && name=$(kill -l $((code - 128)) 2>/dev/null); then
    who=$(sed -nE 's/.*process (rank [0-9]+) with PID [0-9]+ on node ([^ ]+) .*/\1 on \2/p' "$scratch/noticed" 2>/dev/null | head -n 1)
    echo "mpirun.sh: ${who:-a rank} was ended by signal $((code - 128)) ($name); the others were stopped (exit $code)" >&2
  fi
fi
finish "$code"
