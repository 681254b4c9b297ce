#!/usr/bin/env bash
# Installs what the tests need, then runs all checks: ruff, mypy, the quick tests, the slow tests.
#
#   scripts/test.sh                      everything; every check runs, and any failure makes the exit status 1
#   scripts/test.sh PYTEST_OPTIONS...    one pytest call with these options and nothing else
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/install.sh demo,test
export PATH="$PWD/.venv/bin:$PATH"
# The tests need nothing but this disk.
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 WANDB_MODE=disabled
# Threads that wait give their core back: with two tests at a time, spinning ones keep it from the other.
export OMP_WAIT_POLICY=passive
python scripts/get_smollm2.py models/smollm2-135m
python scripts/make_demo_data.py --out data/demo

if (($#)); then
    exec pytest -ra "$@"
fi

failed=()
check() {
    printf '\n== %s\n' "$*"
    "$@" || failed+=("$*")
}
check ruff check
check ruff format --check
check mypy
# The tests of a file stay together and share its models and servers. Slow ones often wait, for SLURM, a launcher or a
# server: three of them keep two cores busy.
check pytest -ra -n 2 --dist loadfile -m "not slow"
check pytest -ra -n 3 --dist loadfile --no-loadscope-reorder -m slow
if ((${#failed[@]})); then
    printf '\nFailed:\n' >&2
    printf '  %s\n' "${failed[@]}" >&2
    exit 1
fi
printf '\nAll checks passed.\n'
