#!/usr/bin/env bash
# Makes an environment of its own for LLaMA-Factory 0.9.5, the peer of benchmarks/training_speed.py.
#
#   benchmarks/install_llamafactory.sh [FOLDER]     (.venv-llamafactory at the repository's root where none is named)
#
# Needs uv and PyPI. torch and torchaudio are pinned because with the newest torch this release stops at an import; its
# transformers, TRL and PEFT are those that it asks for itself. A later call returns at once.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=${1:-$root/.venv-llamafactory}
uv=$(command -v uv || echo "$root/.venv/bin/uv")
if [[ ! -x $uv ]]; then
    echo "install_llamafactory.sh: uv is missing; install it with: pip install uv" >&2
    exit 2
fi
if [[ -x $folder/bin/llamafactory-cli ]]; then
    exit 0
fi
"$uv" venv --quiet --python 3.11 "$folder"
"$uv" pip install --quiet --python "$folder/bin/python" llamafactory==0.9.5 torch==2.11.0 torchaudio==2.11.0
