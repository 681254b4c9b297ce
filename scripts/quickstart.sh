#!/usr/bin/env bash
# From a fresh checkout to the whole method, once, on two CPU cores and without a GPU.
#
#   scripts/quickstart.sh [--key value ...]      the options go to `lemma run`, e.g. --control none
#
# SmolLM2-135M answers stories about small sums, mostly wrongly; a teacher of rules corrects its errors; the model is
# trained on these trajectories, and beside it a control on worked solutions of the same questions; all answer new ones. A
# second call finds what the first has done, and one that was broken off goes on.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
began=$SECONDS
step() { printf '\n== %s (%d s)\n' "$*" $((SECONDS - began)); }

step "1/3 environment"
bash scripts/install.sh demo
export PATH="$PWD/.venv/bin:$PATH"
# Everything from here on lies on this disk.
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 DS_ACCELERATOR="${DS_ACCELERATOR:-cpu}"
# Threads that wait give their core back. Beside other work, spinning ones made matrix products four times as slow.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"

step "2/3 model, and the rows that recipes/smollm2_135m.yaml names"
python scripts/get_smollm2.py models/smollm2-135m
python scripts/make_demo_data.py --out data/demo

step "3/3 collect, train, evaluate, report: recipes/run/smollm2_demo.yaml"
lemma run recipes/run/smollm2_demo.yaml "$@"

step "done"
cat <<END
To do the same with questions and answers of your own, in a CSV or JSON file: docs/first_steps.md
END
