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
if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
binding=()
if [ ${#hostfile[@]} -eq 0 ]; then
  export OMPI_MCA_rmaps_base_oversubscribe=1
  binding=(--bind-to none)
  if [ "$ranks" -gt "$cores" ]; then
    export OMPI_MCA_mpi_yield_when_idle=1
    echo "mpirun.sh: $ranks ranks on $cores cores: they take turns" >&2
  fi
fi
# One thread pool a rank: `run.threads` decides; a library that reads this variable must not do otherwise.
threads=$((cores / ranks))
export OMP_NUM_THREADS=$((threads > 0 ? threads : 1))

if [ -t 1 ]; then export DROVER_TERMINAL=1; else export DROVER_TERMINAL=0; fi

errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
# A session of its own: a Ctrl-C on the terminal reaches this script alone. Standard error is passed on without OpenMPI's banners; the
# program's own errors are kept, to be said last.
setsid mpirun "${hostfile[@]}" "${binding[@]}" -np "$ranks" "$@" 2> >(
  grep --line-buffered -vE '^(-{20,}|MPI_ABORT was invoked|with errorcode|NOTE: invoking MPI_ABORT|You may or may not see|exactly when Open MPI|Primary job  terminated normally|mpirun (detected|noticed)|a non-zero exit code|the job to be terminated|This may|Per user-direction|while attempting|  Process name:|  Exit code: |\[.*\] [0-9]+ more process|\[.*\] Set MCA parameter|$)' |
    tee "$errors" >&2
) </dev/null &
job=$!

signals=0
# shellcheck disable=SC2317  # called by the trap
forward() {
  signals=$((signals + 1))
  if [ "$signals" -eq 1 ]; then
    echo "mpirun.sh: asked the run to save and stop; a second signal ends it at once" >&2
    kill -USR1 "$job" 2>/dev/null
  else
    kill -KILL -- "-$job" 2>/dev/null || kill -KILL "$job" 2>/dev/null
  fi
}
trap forward INT TERM
trap 'kill -USR1 "$job" 2>/dev/null' USR1

while true; do
  wait "$job"
  code=$?
  kill -0 "$job" 2>/dev/null || break
done
sleep 0.1 # the filter's last lines
first=$(grep -m1 '^drover: error:' "$errors" || true)
last=$(tail -n 1 "$errors")
if [ "$code" -ne 0 ] && [ "$code" -ne 75 ]; then
  if [ -z "$first" ] && [ "$code" -gt 128 ]; then
    echo "mpirun.sh: a rank was ended by signal $((code - 128)) ($(kill -l $((code - 128)))); the others were stopped (exit $code)" >&2
  elif [ -n "$first" ]; then
    case "$last" in
      "$first" | '  '*) ;; # it is the last thing already, or its own details are
      *) echo "$first" >&2 ;;
    esac
  fi
fi
exit "$code"
