#!/usr/bin/env bash
# What `srun` starts once on each node of a training job: accelerate's launcher, and a guard over its signals.
#
#   node.sh check PATH...             can this node see them?
#   node.sh RECIPE [--key value ...]  launch the node's ranks
#
# torch's launcher dies of SIGUSR1 and gives its ranks 30 s upon SIGTERM, which a large checkpoint does not fit into. So
# the launcher ignores both, and this script tells the ranks themselves, once each, as soon as they listen.
set -euo pipefail

here=$(uname -n)${SLURMD_NODENAME:+ ($SLURMD_NODENAME)}
node=${SLURM_PROCID:-0}
say() { printf '%s node %s: %s\n' "$(date '+%F %T')" "$node" "$*"; }

if [[ ${1:-} == check ]]; then
    shift
    for path in "$@"; do
        # A folder that was just made may take a moment to be seen through a network file system.
        for _ in 1 2 3 4 5; do
            if [[ -r $path ]]; then break; fi
            sleep 2
        done
        if [[ ! -r $path ]]; then
            echo "node.sh: node $here cannot see $path; put it on a disk that all nodes share" >&2
            exit 2
        fi
    done
    exit 0
fi

# The interface through which this node reaches the first one; on the first node, the one that holds the address.
interface() {
    command -v ip >/dev/null || return 0
    local held
    held=$(ip -o addr show to "$LEMMA_MASTER_ADDR" 2>/dev/null | awk 'NR == 1 { print $2 }')
    [[ -n $held ]] || held=$(ip -o route get "$LEMMA_MASTER_ADDR" 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p')
    echo "$held"
}

machines=${LEMMA_MACHINES:-1}
processes=${LEMMA_PROCESSES:-1}
launch=(python -m accelerate.commands.launch --config_file "$LEMMA_ACCELERATE_CONFIG")
launch+=(--num_machines "$machines" --num_processes "$processes" --no_python)
if ((processes > 1)); then
    launch+=(--machine_rank "$node" --main_process_ip "$LEMMA_MASTER_ADDR" --main_process_port "$LEMMA_MASTER_PORT")
    launch+=(--rdzv_backend static --same_network --deepspeed_multinode_launcher standard)
fi
if ((machines > 1)); then
    device=$(interface)
    if [[ -n $device ]]; then
        export NCCL_SOCKET_IFNAME=${NCCL_SOCKET_IFNAME:-=$device} GLOO_SOCKET_IFNAME=${GLOO_SOCKET_IFNAME:-$device}
    fi
fi
cores=${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-1}}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores * machines / processes > 0 ? cores * machines / processes : 1))}
export LEMMA_PIDS=$LEMMA_LOGS/pids-$node
export PET_SIGNALS_TO_HANDLE=SIGINT # torch's launcher keeps its hands off SIGTERM

say "$here, ${NCCL_SOCKET_IFNAME:-any interface}, first node $LEMMA_MASTER_ADDR:$LEMMA_MASTER_PORT"
inside=()
while IFS= read -r -d '' word; do
    inside+=("$word")
done <"$LEMMA_LOGS/inside"
(
    trap '' USR1 TERM # inherited, until a rank installs its own handler
    exec "${inside[@]}" "${launch[@]}" bash scripts/slurm/rank.sh python lemma_train/sft.py "$@"
) &
launcher=$!

declare -A told=()
tell_ranks() {
    local file pid caught
    for file in "$LEMMA_PIDS"/*; do
        [[ -s $file && -z ${told[$file]:-} ]] || continue
        pid=$(<"$file")
        caught=$(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$pid/status" 2>/dev/null || true)
        if ((16#${caught:-0} & 1 << 9)); then # it has a handler for SIGUSR1, signal 10
            kill -USR1 "$pid" 2>/dev/null || continue
            told[$file]=1
            say "told rank ${file##*/}"
        fi
    done
}
stopped=$LEMMA_OUTPUT_DIR/stopped.json
has_stopped() { [[ -f $stopped && $(cksum <"$stopped") != "$LEMMA_STOPPED_BEFORE" ]]; }

# A rank that is told outside the training loop ends at once, with nothing to save, and so do the others, but for one
# that waits for it within a library's call, where no handler runs. That one is ended after a minute: else the job would
# stand until SLURM's time limit, which does not requeue it.
ended=
end_waiting_ranks() {
    local file
    has_stopped && grep -q '"in_training": false' "$stopped" || return 0
    ended=${ended:-$SECONDS}
    ((SECONDS - ended >= ${LEMMA_STOP_GRACE:-60})) || return 0
    for file in "$LEMMA_PIDS"/*; do
        [[ -s $file ]] && kill -KILL "$(<"$file")" 2>/dev/null && say "ended rank ${file##*/}, which did not stop"
    done
    return 0
}
noticed=
trap 'noticed=1' USR1 TERM
status=0
while kill -0 "$launcher" 2>/dev/null; do
    sleep 0.5 &
    wait $! || true # a signal ends it early
    if [[ -n $noticed ]]; then
        tell_ranks
        end_waiting_ranks
    fi
done
wait "$launcher" || status=$?
trap '' USR1 TERM
((status == 0)) && exit 0
# Ranks that stopped upon a signal end with 1 as well. Leaving with 1 would have srun kill the other nodes, whose ranks
# may still be writing: so wait for the file that says that it was a stop.
for ((tries = 0; tries < 20; tries++)); do
    if has_stopped; then
        say "stopped"
        exit 0
    fi
    sleep 0.5
done
say "the launcher ended with status $status"
exit 1
