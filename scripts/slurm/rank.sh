#!/usr/bin/env bash
# One rank, as accelerate starts it: its output goes to a file of its own, its process id to where node.sh finds it.
#
#   rank.sh COMMAND...        with LEMMA_LOGS and LEMMA_PIDS, folders of this start
set -euo pipefail

rank=${RANK:-0} # a single process has no RANK
mkdir -p "$LEMMA_PIDS"
echo $$ >"$LEMMA_PIDS/$rank"
exec >>"$LEMMA_LOGS/rank-$rank.log" 2>&1
# The same process goes on as Python, so that it stays the launcher's child.
exec "$@"
