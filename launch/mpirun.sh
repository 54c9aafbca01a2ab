#!/usr/bin/env bash
# Starts a command on N ranks with OpenMPI, with what a laptop, a container and a cluster node each need:
#
#   launch/mpirun.sh -np N [--hostfile FILE] COMMAND...
#
# It runs as root and with more ranks than cores when it must, prints the binding once, turns INT and TERM into USR1 (save, then exit 75;
# OpenMPI itself would kill the ranks a second later), and keeps the first error of the program as the last thing on the screen.
# A second INT or TERM ends the job at once.
set -u

usage() {
  sed -n '2,4s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

ranks="" hostfile=()
while [ $# -gt 0 ]; do
  case "$1" in
    -np | -n) [ $# -ge 2 ] || usage; ranks=$2; shift 2 ;;
    --hostfile) [ $# -ge 2 ] || usage; hostfile=(--hostfile "$2"); shift 2 ;;
    -h | --help) usage ;;
    *) break ;;
  esac
done
case "$ranks" in '' | *[!0-9]*) usage ;; esac
[ $# -gt 0 ] || usage
command -v mpirun >/dev/null || { echo "mpirun.sh: mpirun is missing (Debian/Ubuntu: apt install openmpi-bin)" >&2; exit 6; }

cores=$(nproc)
# One thread pool a rank: `run.threads` decides; a library that reads this variable must not do otherwise.
threads=$((cores / ranks))
export OMP_NUM_THREADS=$((threads > 0 ? threads : 1))
if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
binding=()
if [ ${#hostfile[@]} -eq 0 ]; then
  # More ranks than cores: OpenMPI 4 reads the first variable, 5 the second.
  export OMPI_MCA_rmaps_base_oversubscribe=1 PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
  binding=(--bind-to none)
  # Ranks of one machine meet in shared memory. OpenMPI 5 would warn of the network that they do not need.
  if [ -z "${SLURM_JOB_ID:-}${PBS_JOBID:-}${LSB_JOBID:-}" ]; then export OMPI_MCA_btl=${OMPI_MCA_btl:-^tcp}; fi
  turns=""
  if [ "$ranks" -gt "$cores" ]; then
    export OMPI_MCA_mpi_yield_when_idle=1
    turns=": they take turns"
  fi
  echo "mpirun.sh: $ranks ranks, $OMP_NUM_THREADS threads each, unbound on $cores cores$turns" >&2
else
  echo "mpirun.sh: $ranks ranks on the hosts of ${hostfile[1]}, bound as OpenMPI does" >&2
fi

# Columns of our own output, 0 where it is no terminal: the ranks see a pseudo-terminal of mpirun's in either case.
export DROVER_TERMINAL=0
if [ -t 1 ]; then
  exec 3>&1
  DROVER_TERMINAL=$(stty size <&3 2>/dev/null | cut -d' ' -f2)
  exec 3>&-
  [ "${DROVER_TERMINAL:-0}" -gt 0 ] || DROVER_TERMINAL=80
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
errors=$scratch/errors
mkfifo "$scratch/stderr"
# A session of its own: a Ctrl-C on the terminal reaches this script alone. Standard error is passed on without OpenMPI's banners; the
# program's own errors are kept, to be said last.
grep -a --line-buffered -vE '^(-{20,}|MPI_ABORT was invoked|with errorcode|NOTE: invoking MPI_ABORT|You may or may not see|exactly when Open MPI|Primary job  terminated normally|(mpirun|prterun) (detected|noticed|has exited due to)|thus causing the job to be|signal [0-9]+ \(|  Proc: \[|  Errorcode: |"abort"|a non-zero exit code|the job to be terminated|This may|Per user-direction|while attempting|   ?Process name: |   ?Exit code: |\[.*\] [0-9]+ more process|\[.*\] Set MCA parameter|\[.*\] .*ORTE_ERROR_LOG|$)' <"$scratch/stderr" |
  tee "$errors" >&2 &
filter=$!
setsid mpirun "${hostfile[@]}" "${binding[@]}" -x DROVER_TERMINAL -x OMP_NUM_THREADS -np "$ranks" "$@" 2>"$scratch/stderr" </dev/null &
job=$!

signals=0 interrupted=0
# shellcheck disable=SC2317  # called by the trap
forward() {
  interrupted=1 signals=$((signals + 1))
  case "$signals" in
    1)
      echo "mpirun.sh: asked the run to save and stop; a second signal ends it at once" >&2
      kill -USR1 "$job" 2>/dev/null
      ;;
    2) kill -TERM "$job" 2>/dev/null ;; # OpenMPI ends the ranks of all hosts
    *) kill -KILL -- "-$job" 2>/dev/null || kill -KILL "$job" 2>/dev/null ;;
  esac
}
trap forward INT TERM
trap 'interrupted=1; kill -USR1 "$job" 2>/dev/null' USR1

# A trapped signal ends `wait` early; a job that was waited for already answers 127.
code=127
while true; do
  interrupted=0
  wait "$job"
  result=$?
  [ "$result" = 127 ] || code=$result
  [ "$interrupted" = 1 ] || break
done
wait "$filter"
first=$(grep -a -m1 '^drover: error:' "$errors" || true)
last=$(tail -n 1 "$errors")
if [ "$code" -ne 0 ] && [ "$code" -ne 75 ]; then
  if [ -z "$first" ] && [ "$code" -gt 128 ] && [ "$code" -lt 160 ]; then
    echo "mpirun.sh: a rank was ended by signal $((code - 128)) ($(kill -l $((code - 128)))); the others were stopped (exit $code)" >&2
  elif [ -n "$first" ]; then
    case "$last" in
      "$first" | '  '*) ;; # it is the last thing already, or its own details are
      *) echo "$first" >&2 ;;
    esac
  fi
fi
exit "$code"
