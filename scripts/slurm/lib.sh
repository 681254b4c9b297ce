# shellcheck shell=bash
# What the batch scripts share; sourced by them, with `root` set. No script of its own.
#
# A job goes: open_job, enter_environment, check_recipe, the work, and settle or an exit. Whatever ends it early is one
# sentence, said through `fail`: on the job's output, in OUTPUT_DIR/logs/summary.log and in the file of its chain.

set -euo pipefail

cd "${root:?set by the script that sources this}"
job=${SLURM_JOB_NAME:-job}
job_id=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}}
job_id=${job_id:-${SLURM_JOB_ID:-0}}
restart=${SLURM_RESTART_COUNT:-0}
output_dir=
requeued=
reason=
reading= # cluster.env, while it is read
noticed= # the seconds after which SIGUSR1 or SIGTERM came

say() {
    local line
    line="$(date '+%F %T') $job (job $job_id, start $((restart + 1))): $*"
    printf '%s\n' "$line"
    if [[ -n $output_dir ]]; then
        mkdir -p "$output_dir/logs" && printf '%s\n' "$line" >>"$output_dir/logs/summary.log" || true
    fi
}

# One sentence, and the end: exit status 2, no restart.
fail() {
    reason=$*
    exit 2
}

tell_chain() {
    if [[ -n ${LEMMA_CHAIN:-} ]]; then
        printf '%s %s (job %s) %s\n' "$(date '+%F %T')" "$job" "$job_id" "$*" >>"$LEMMA_CHAIN" || true
    fi
}

at_exit() {
    local status=$?
    trap - EXIT
    [[ -z $reading ]] || status=2
    if [[ -n $requeued ]]; then
        exit 0
    fi
    if ((status == 0)); then
        say "done"
        tell_chain "is done."
        exit 0
    fi
    say "FAILED with status $status: ${reason:-see the lines above}"
    tell_chain "failed with status $status: ${reason:-see its output}"
    exit "$status"
}

# Values of the environment win over the file, so that one call can differ: LEMMA_TIME=1:00:00 submit.sh ...
load_cluster_env() {
    local file=${LEMMA_CLUSTER_ENV:-$root/scripts/slurm/cluster.env} name
    if [[ ! -r $file || -d $file ]]; then
        [[ -z ${LEMMA_CLUSTER_ENV:-} ]] || fail "LEMMA_CLUSTER_ENV: $file cannot be read."
        return 0
    fi
    if grep -q $'\r' "$file"; then fail "$file has the line ends of Windows; mend it: sed -i 's/\\r//' $file"; fi
    local -A kept=()
    while read -r name; do
        case $name in LEMMA_* | NCCL_* | GLOO_* | HF_*) kept[$name]=${!name} ;; esac
    done < <(compgen -A export)
    # Whatever ends the script within is told by the trap at its exit.
    reading=$file
    reason="$file: a line of it failed (bash's words about it stand above); it is read as shell, so write NAME=value or NAME=\"two words\"."
    set -a
    # shellcheck source=/dev/null
    source "$file"
    set +a
    reading='' reason=''
    for name in "${!kept[@]}"; do
        export "$name=${kept[$name]}"
    done
}

open_job() {
    trap at_exit EXIT
    # Either may come at any moment; what begins something that must hear of it sets its own.
    trap 'noticed=$SECONDS' USR1 TERM
    load_cluster_env
    say "begins on ${SLURM_JOB_NODELIST:-$(uname -n)}"
    tell_chain "begins (start $((restart + 1)))."
}

# Sets `inside` (what a command is prefixed with, to run in the container) and `srun_options` (what srun needs for that).
inside=()
srun_options=()
enter_environment() {
    if [[ -n ${LEMMA_MODULES:-} ]]; then
        # shellcheck source=/dev/null
        type module &>/dev/null || source /etc/profile
        type module &>/dev/null || fail "LEMMA_MODULES is set, but this node has no command 'module'."
        # shellcheck disable=SC2086 # several names
        module load $LEMMA_MODULES || fail "LEMMA_MODULES: module load $LEMMA_MODULES failed on $(uname -n)."
    fi
    if [[ -n ${LEMMA_CONTAINER:-} ]]; then
        _enter_container
    elif [[ -n ${LEMMA_CONDA:-} ]]; then
        command -v conda >/dev/null || fail "LEMMA_CONDA is set, but conda is not on the PATH; load its module with LEMMA_MODULES."
        # shellcheck source=/dev/null
        source "$(conda info --base)/etc/profile.d/conda.sh"
        conda activate "$LEMMA_CONDA" || fail "LEMMA_CONDA: conda activate $LEMMA_CONDA failed."
    else
        local venv=${LEMMA_VENV:-$root/.venv}
        if [[ -x $venv/bin/python ]]; then
            export PATH="$venv/bin:$PATH" VIRTUAL_ENV=$venv
        elif [[ -n ${LEMMA_VENV:-} ]]; then
            fail "LEMMA_VENV: $venv/bin/python does not exist on $(uname -n); put the environment on a disk that all nodes share."
        fi
    fi
    prefix=("${inside[@]}")
    ((${#srun_options[@]} == 0)) || prefix=(srun --overlap --nodes=1 --ntasks=1 --nodelist="$SLURMD_NODENAME" "${srun_options[@]}")
    in_environment python -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "no Python 3.11 or newer in the job's environment on $(uname -n); run scripts/install.sh, or set LEMMA_VENV, LEMMA_CONDA or LEMMA_CONTAINER."
}

_enter_container() {
    local mounts=$root${LEMMA_CONTAINER_MOUNTS:+,$LEMMA_CONTAINER_MOUNTS} kind=${LEMMA_CONTAINER_KIND:-apptainer} list='' path
    case $kind in
    apptainer)
        command -v apptainer >/dev/null || fail "LEMMA_CONTAINER_KIND: apptainer is not on the PATH of $(uname -n); load its module with LEMMA_MODULES."
        [[ -e $LEMMA_CONTAINER ]] || fail "LEMMA_CONTAINER: $LEMMA_CONTAINER does not exist on $(uname -n)."
        inside=(apptainer exec --bind "$mounts" --pwd "$root")
        [[ -z ${SLURM_GPUS_ON_NODE:-} ]] || inside+=(--nv)
        inside+=("$LEMMA_CONTAINER")
        ;;
    pyxis)
        for path in ${mounts//,/ }; do
            list+=${list:+,}$path:$path
        done
        srun_options=(--container-image="$LEMMA_CONTAINER" --container-mounts="$list" --container-workdir="$root")
        ;;
    *) fail "LEMMA_CONTAINER_KIND: $kind is neither apptainer nor pyxis." ;;
    esac
}

# Run one command in the environment, on this node.
in_environment() { "${prefix[@]}" "$@"; }

# json_value FILE KEY: one value of a JSON object, on one line.
json_value() {
    in_environment python -c 'import json, sys
print(" ".join(str(json.load(open(sys.argv[1]))[sys.argv[2]]).split()))' "$1" "$2" || echo "(unreadable: $1)"
}

# check_recipe KIND RECIPE [--key value ...]: sets output_dir, the number of runs of an ablation, the steps of a
# run and the GPUs of its evaluations. KIND: train, prepare, collect, evaluate, ablate, run.
check_recipe() {
    local kind=$1 errors said
    (($# >= 2)) || fail "no recipe was named; write: $kind.sbatch RECIPE [--key value ...]"
    [[ -r $2 ]] || fail "the recipe $2 cannot be read on $(uname -n); name it from $root, or by its full path on a disk that all nodes share."
    errors=$(mktemp)
    if ! said=$(in_environment python "$root/scripts/slurm/check_job.py" "$@" 2>"$errors"); then
        # What a library may have said comes before the sentences of check_job.py, which are the reason.
        sed '/^check_job.py: /,$d' "$errors" >&2
        reason=$(sed -n '/^check_job.py: /,$p' "$errors" | sed 's/^check_job.py: //' | paste -s -d ' ')
        rm -f "$errors"
        fail "${reason:-the recipe $2 could not be read; see the lines above}"
    fi
    rm -f "$errors"
    output_dir=$(sed -n 's/^output_dir=//p' <<<"$said")
    # shellcheck disable=SC2034 # submit.sh reads it
    runs=$(sed -n 's/^runs=//p' <<<"$said") steps=$(sed -n 's/^steps=//p' <<<"$said")
    # shellcheck disable=SC2034
    evaluate_gpus=$(sed -n 's/^evaluate_gpus=//p' <<<"$said")
    [[ $output_dir == /* ]] || output_dir=$root/$output_dir
    mkdir -p "$output_dir/logs" || fail "output_dir: $output_dir cannot be written on $(uname -n)."
}

# A node's address: what SLURM knows it under, as a number. A name that leads to the node's own loopback is of no use to
# other nodes; then this node's first address is taken, so ask on the node itself.
node_address() {
    local known number
    known=$(scontrol -o show node "$1" | sed -n 's/.* NodeAddr=\([^ ]*\).*/\1/p')
    number=$(getent ahostsv4 "${known:-$1}" | awk 'NR == 1 { print $1 }')
    if [[ -z $number || ($number == 127.* && $known != 127.*) ]]; then
        number=$(hostname -I | awk '{ print $1 }')
    fi
    echo "${number:-$1}"
}

# A port of this node that nothing listens on; 1 where there is none.
free_port() {
    local port tries
    for ((tries = 0; tries < 100; tries++)); do
        port=$((20000 + (SLURM_JOB_ID + 97 * tries) % 10000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return 0
        fi
    done
    return 1
}

# The last line of a log that says anything; a cut may not leave half a character behind.
last_line() { grep -v '^[[:space:]]*$' "$1" | tail -n 1 | cut -c1-400 | iconv -c -f utf-8 -t utf-8 || true; }

# A number that tells whether a file has been written anew; 0 where there is none.
print_of() {
    if [[ -f $1 ]]; then cksum <"$1"; else echo 0; fi
}

# Has a file been written since it had this print? That it is gone does not count: the trainer removes what is stale.
written_since() { [[ -f $1 && $(print_of "$1") != "$2" ]]; }

# Start this job again, unless SLURM or its user is ending it already.
requeue() {
    local state answer
    state=$(squeue -h -j "$SLURM_JOB_ID" -o %T 2>/dev/null || true)
    if [[ $state == COMPLETING || $state == REQUEUED || $state == PENDING ]]; then
        # `scontrol requeue` and pre-emption bring it back by themselves; scancel and a time-out do not mean it to.
        say "stopped: $*; SLURM is ending this job"
        requeued=1
        exit 0
    fi
    say "goes on in a new start: $*"
    if answer=$(scontrol requeue "$SLURM_JOB_ID" 2>&1); then
        requeued=1
        exit 0
    fi
    reason="$*; it could not be requeued ($answer): submit the same command again to go on."
    exit 1
}

# Run one command of collect, evaluate, prepare, ablate or run to its end. SIGUSR1 (ahead of the time limit) and SIGTERM
# reach it as SIGTERM, upon which it keeps what it has and ends; then, or when it was killed, the job is requeued.
work() {
    local log=$output_dir/logs/$job_id.$restart.log child status
    [[ -z $noticed ]] || requeue "SIGUSR1 or SIGTERM came before the work began"
    say "log: $log"
    # The child inherits that SIGUSR1 is ignored: SLURM may send it to every process of a job.
    (
        trap '' USR1
        exec "${prefix[@]}" "$@"
    ) >"$log" 2>&1 &
    child=$!
    trap 'noticed=$SECONDS; kill -TERM "$child" 2>/dev/null || true' USR1 TERM
    status=0
    wait "$child" || status=$?
    while kill -0 "$child" 2>/dev/null; do # a signal ends `wait` early
        status=0
        wait "$child" || status=$?
    done
    trap 'noticed=$SECONDS' USR1 TERM
    tail -n 20 "$log"
    ((status == 0)) && return 0
    reason=$(last_line "$log")
    if [[ -n $noticed ]]; then
        requeue "SIGUSR1 or SIGTERM came"
    elif ((status == 2)); then
        exit 2
    elif ((status > 128)) || [[ -n ${served:-} ]]; then
        # Killed (137: SIGKILL, often by the memory limit), or its servers went away.
        ((restart < ${LEMMA_RESTARTS:-3})) && requeue "ended with status $status"
        reason="ended with status $status in start $((restart + 1)), the last that LEMMA_RESTARTS allows: $reason"
    fi
    exit 1
}
