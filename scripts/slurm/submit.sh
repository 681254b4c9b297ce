#!/usr/bin/env bash
# Submits the batch scripts with the options of scripts/slurm/cluster.env.
#
#   submit.sh [OPTIONS] train    RECIPE [--key value ...]
#   submit.sh [OPTIONS] prepare  RECIPE [--key value ...]
#   submit.sh [OPTIONS] evaluate RECIPE [--key value ...]
#   submit.sh [OPTIONS] collect  RECIPE [--key value ...]     an array of shards, and a job that joins them
#   submit.sh [OPTIONS] ablate   RECIPE [--key value ...]     an array of its runs, and a job that writes the table
#   submit.sh [OPTIONS] run      RECIPE [--key value ...]     a chain of its steps: collect, train, evaluate, report
#   submit.sh [OPTIONS] chain    RECIPE [--key value ...]     prepare, then train, then evaluate
#   submit.sh [OPTIONS] serve    NAME MODEL [VLLM OPTIONS]    a vLLM server that other jobs find under NAME
#   submit.sh stop NAME...                                    ends the servers called NAME
#
# OPTIONS are sbatch's own (--nodes=4, --time 12:00:00, --partition gpu, ...; in a chain they are the training's), and
#   --evaluate RECIPE   chain: evaluate the trained model with this recipe (without it there is no evaluation)
#   --shards N          collect: number of shards (8)
#   --teacher NAME, --student NAME, --model NAME   collect, evaluate: wait for these servers and use them
#   --stop-servers      collect: end these servers when the shards are done
#   --dry-run           print the calls of sbatch and submit nothing
#
# Prints one line for each job: its name and number.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[[ -r $here/lib.sh ]] || here=${SLURM_SUBMIT_DIR:-$PWD}/scripts/slurm # itself a job, which SLURM runs from a copy elsewhere
root=$(cd "$here/../.." && pwd)
# shellcheck source=scripts/slurm/lib.sh
source "$here/lib.sh"
# shellcheck source=scripts/slurm/servers.sh
source "$here/servers.sh"
at_end() {
    local status=$?
    [[ -z $reading ]] || status=2
    ((${#reason} == 0)) || printf 'submit.sh: %s\n' "$reason" >&2
    exit "$status"
}
trap at_end EXIT
if (($# == 0)) || [[ $1 == -h || $1 == --help ]]; then
    sed -n '2,/^set -/{/^set -/!s/^# \{0,1\}//p}' "$here/submit.sh"
    exit 0
fi
load_cluster_env

is_verb() { [[ $1 =~ ^(train|prepare|evaluate|collect|ablate|run|chain|serve|stop)$ ]]; }
options=() shared=() own=() evaluate='' shards=8 teacher='' student='' model='' stop_servers='' dry=''
while (($#)) && ! is_verb "$1"; do
    word=$1
    shift
    case $word in
    --stop-servers) stop_servers=1 own+=("$word") && continue ;;
    --dry-run) dry=1 && continue ;;
    -[!-]* | --?*) ;;
    *) fail "$word is neither an option nor one of train, prepare, evaluate, collect, ablate, run, chain, serve, stop." ;;
    esac
    # An option takes the next word as its value, unless it holds one or the next is an option or the verb.
    value=
    if [[ $word == --*=* ]]; then
        value=${word#*=} word=${word%%=*}
    elif (($#)) && [[ $1 != -* ]] && ! is_verb "$1"; then
        value=$1
        shift
    fi
    case $word in
    --evaluate | --shards | --teacher | --student | --model)
        [[ -n $value ]] || fail "$word needs a value, as in $word=VALUE."
        own+=("$word")
        ;;&
    --evaluate) evaluate=$value ;;
    --shards) shards=$value ;;
    --teacher) teacher=$value ;;
    --student) student=$value ;;
    --model) model=$value ;;
    *)
        if [[ $word == --* ]]; then pair=("$word${value:+=$value}"); else pair=("$word" ${value:+"$value"}); fi
        options+=("${pair[@]}")
        case $word in --account | -A | --qos | -q | --reservation) shared+=("${pair[@]}") ;; esac
        ;;
    esac
done
(($#)) || fail "no job was named: train, prepare, evaluate, collect, ablate, run, chain, serve or stop."
verb=$1
shift
[[ $verb == stop ]] || (($#)) || fail "$verb needs a recipe (serve: a name and a model)."
case $verb in
chain) takes='--evaluate' ;;
collect) takes='--shards --teacher --student --stop-servers' ;;
evaluate) takes='--model --teacher' ;;
*) takes= ;;
esac
for word in "${own[@]}"; do
    [[ " $takes " == *" $word "* ]] || fail "$verb has no option $word."
done
[[ $shards =~ ^[1-9][0-9]{0,5}$ ]] || fail "--shards: $shards is not a number of shards."
[[ -z $stop_servers || -n $teacher$student ]] || fail "--stop-servers: no server is named; give --teacher or --student."
for word in ${teacher:+"$teacher"} ${student:+"$student"} ${model:+"$model"}; do
    check_server_name "$word"
done
if [[ $verb =~ ^(train|prepare|evaluate|collect|ablate|run|chain)$ && ! -f $1 ]]; then
    fail "the recipe $1 does not exist or is no file (paths are taken from $root)."
fi
if [[ -n $evaluate && ! -f $evaluate ]]; then fail "--evaluate: the recipe $evaluate does not exist or is no file."; fi

logs=outputs/slurm
mkdir -p "$logs"
# shellcheck disable=SC2206 # several words
common=(${LEMMA_ACCOUNT:+--account=$LEMMA_ACCOUNT} ${LEMMA_QOS:+--qos=$LEMMA_QOS})
# shellcheck disable=SC2206
gpu=("${common[@]}" ${LEMMA_PARTITION:+--partition=$LEMMA_PARTITION} ${LEMMA_TIME:+--time=$LEMMA_TIME} ${LEMMA_SBATCH:-})
# shellcheck disable=SC2206
cpu=("${common[@]}" ${LEMMA_CPU_PARTITION:+--partition=$LEMMA_CPU_PARTITION} ${LEMMA_CPU_TIME:+--time=$LEMMA_CPU_TIME} ${LEMMA_CPU_SBATCH:-})
whole=(${LEMMA_NODES:+--nodes=$LEMMA_NODES} ${LEMMA_GPUS_PER_NODE:+--gpus-per-node=$LEMMA_GPUS_PER_NODE} ${LEMMA_CPUS_PER_TASK:+--cpus-per-task=$LEMMA_CPUS_PER_TASK})
single=(${LEMMA_GPUS_PER_NODE:+--gpus-per-node=1})

# submit NAME SCRIPT SBATCH-OPTIONS... -- ARGUMENTS...: sets `submitted`, the job's number.
submit() {
    local name=$1 script=$2 words=()
    shift 2
    while [[ $1 != -- ]]; do
        words+=("$1")
        shift
    done
    shift
    local call=(sbatch --parsable --job-name="$name" --output="$logs/%x-%j.out" "${words[@]}" "scripts/slurm/$script" "$@")
    if [[ -n $dry ]]; then
        printf '%q ' "${call[@]}" && printf '\n'
        submitted=JOB_OF_${name}
        return
    fi
    submitted=$("${call[@]}") || fail "sbatch refused the job $name; see its message above."
    submitted=${submitted%%;*}
    printf '%s %s\n' "$name" "$submitted"
    [[ -z ${LEMMA_CHAIN:-} ]] || printf 'job %s %s\n' "$name" "$submitted" >>"$LEMMA_CHAIN"
}

after() { printf -- '--dependency=%s:%s' "$1" "$2"; }

# stop_servers NAME...: all of them, before one that is not known is a fault.
stop_servers() {
    local name file ids=() unknown=()
    for name in "$@"; do
        check_server_name "$name"
        for file in "${LEMMA_SERVERS:-outputs/servers}/$name"/*.log; do # one that has not answered yet has its log already
            if [[ -e $file ]]; then ids+=("$(basename "${file%.*}")"); else unknown+=("$name"); fi
        done
    done
    if ((${#ids[@]})); then ${dry:+echo} scancel --quiet "${ids[@]}"; fi
    ((${#unknown[@]} == 0)) || fail "no server has begun under the name ${unknown[0]} (${LEMMA_SERVERS:-outputs/servers})."
}

chain() {
    local recipe=$1 name evaluation last
    shift
    LEMMA_CHAIN=$root/$logs/chain-$(date +%Y%m%d-%H%M%S)-$$.log
    export LEMMA_CHAIN
    # Found at once rather than after hours in the queue: a recipe that does not parse, a model that is not there.
    enter_environment
    check_recipe prepare "$recipe" "$@"
    submit prepare prepare.sbatch "${cpu[@]}" "${shared[@]}" -- "$recipe" "$@"
    submit train train.sbatch "${gpu[@]}" "${whole[@]}" "${options[@]}" "$(after afterok "$submitted")" --kill-on-invalid-dep=yes -- "$recipe" "$@"
    last=$submitted
    if [[ -n $evaluate ]]; then
        name=$(basename "$evaluate" .yaml)
        evaluation=(--model.model "$output_dir/final" --output_dir "$output_dir/evaluation/$name")
        submit evaluate evaluate.sbatch "${gpu[@]}" "${single[@]}" "${shared[@]}" "$(after afterok "$last")" --kill-on-invalid-dep=yes -- "$evaluate" "${evaluation[@]}"
        last=$submitted
    fi
    submit chain-end chain_end.sbatch "${cpu[@]}" --time=5 "${shared[@]}" "$(after afterany "$last")" --
    sed -i '/^job chain-end /d' "$LEMMA_CHAIN" 2>/dev/null || true
    echo "chain: $LEMMA_CHAIN"
}

case $verb in
train) submit train train.sbatch "${gpu[@]}" "${whole[@]}" "${options[@]}" -- "$@" ;;
prepare) submit prepare prepare.sbatch "${cpu[@]}" "${options[@]}" -- "$@" ;;
evaluate)
    export LEMMA_MODEL_SERVER=$model LEMMA_TEACHER_SERVER=$teacher
    if [[ -n $model ]]; then pool=("${cpu[@]}"); else pool=("${gpu[@]}" "${single[@]}"); fi
    submit evaluate evaluate.sbatch "${pool[@]}" "${options[@]}" -- "$@"
    ;;
collect)
    export LEMMA_TEACHER_SERVER=$teacher LEMMA_STUDENT_SERVER=$student LEMMA_SHARDS=$shards
    submit collect collect.sbatch --array=0-$((shards - 1)) --output="$logs/%x-%A_%a.out" "${cpu[@]}" "${options[@]}" -- "$@"
    array=$submitted
    LEMMA_SHARDS=merge submit merge collect.sbatch "${cpu[@]}" "${options[@]}" "$(after afterok "$array")" --kill-on-invalid-dep=yes -- "$@"
    if [[ -n $stop_servers ]]; then
        submit stop-servers submit.sh "${cpu[@]}" --ntasks=1 --time=5 "${shared[@]}" "$(after afterany "$array")" -- stop ${teacher:+"$teacher"} ${student:+"$student"}
    fi
    ;;
ablate)
    enter_environment
    check_recipe ablate "$@"
    submit ablate ablate.sbatch --array=0-$((runs - 1)) --output="$logs/%x-%A_%a.out" "${gpu[@]}" "${single[@]}" "${options[@]}" -- "$@"
    array=$submitted
    # A failed element must not keep the table from being written: the table is what names it.
    LEMMA_GATHER=1 submit gather ablate.sbatch "${cpu[@]}" "${shared[@]}" "$(after afterany "$array")" -- "$@"
    ;;
run)
    enter_environment
    check_recipe run "$@"
    last=
    for LEMMA_STEP in $steps; do
        export LEMMA_STEP
        case $LEMMA_STEP in
        train-*) pool=("${gpu[@]}" "${whole[@]}" "${options[@]}") ;;
        evaluate-*) pool=("${gpu[@]}" ${LEMMA_GPUS_PER_NODE:+--gpus-per-node=$evaluate_gpus} "${shared[@]}") ;;
        *) pool=("${cpu[@]}" "${shared[@]}") ;;
        esac
        [[ -z $last ]] || pool+=("$(after afterok "$last")" --kill-on-invalid-dep=yes)
        submit "$LEMMA_STEP" run.sbatch "${pool[@]}" -- "$@"
        last=$submitted
    done
    ;;
chain) chain "$@" ;;
serve)
    (($# >= 2)) || fail "write: submit.sh serve NAME MODEL [VLLM OPTIONS]"
    check_server_name "$1"
    submit "serve" serve_vllm.sbatch "${gpu[@]}" "${single[@]}" "${options[@]}" -- "$@"
    ;;
stop)
    (($#)) || fail "write: submit.sh stop NAME..."
    stop_servers "$@"
    ;;
esac
