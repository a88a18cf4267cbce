# Shared functions of the jobs in this folder, which source it from the root of the checkout.

usage() { # SCRIPT: print its usage
  sed -n 's/^#   /usage: /p' "$1" >&2
  exit 2
}

submit() { # SCRIPT FIRST [--dry-run] [options of sbatch] -- words: submit SCRIPT with FIRST (an array's name) and words
  local script=$1 dry='' options=()
  local -n leading=$2
  shift 2
  while (($#)) && [[ "$1" != -- ]]; do
    if [[ "$1" == --dry-run ]]; then dry=yes; else options+=("$1"); fi
    shift
  done
  (($# > 1)) || usage "$script"
  set -- "${options[@]}" "$script" "${leading[@]}" "${@:2}"
  if [[ -n "$dry" ]]; then
    echo "$ sbatch ${*@Q}"
    cat "$script"
    exit
  fi
  mkdir -p runs/slurm
  exec sbatch "$@"
}

go_on() { # COMMAND: on USR1, before the time limit, stop it and requeue the job, which resumes the command
  local code=0 again='' child
  "$@" &
  child=$!
  trap 'kill -TERM $child 2> /dev/null || true' TERM
  trap 'again=yes; kill -TERM $child 2> /dev/null || true' USR1
  while true; do
    code=0
    wait "$child" || code=$?
    kill -0 "$child" 2> /dev/null || break # otherwise a signal ended the wait
  done
  trap - TERM USR1
  if [[ -n "$again" ]]; then
    scontrol requeue "$SLURM_JOB_ID"
  fi
  return "$code"
}
