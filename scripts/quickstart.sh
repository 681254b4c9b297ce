#!/usr/bin/env bash
# From a fresh checkout to a trained model and its answers, on two CPU cores and without a GPU, in under ten minutes
# after the download of the packages.
#
#   scripts/quickstart.sh [--key value ...]      the options go to the trainer, e.g. --max_steps 20
#
# Trains SmolLM2-135M on 800 generated problems in two processes. A second run finds the first one's results.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
began=$SECONDS
step() { printf '\n== %s (%d s)\n' "$*" $((SECONDS - began)); }

step "1/5 environment"
bash scripts/install.sh demo
export PATH="$PWD/.venv/bin:$PATH"
# Everything from here on lies on this disk.
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 DS_ACCELERATOR="${DS_ACCELERATOR:-cpu}"

step "2/5 model"
python scripts/get_smollm2.py models/smollm2-135m

step "3/5 data"
python scripts/make_demo_data.py --out data/demo

step "4/5 training; four to seven minutes on two cores"
out=outputs/quickstart
accelerate launch --config_file accelerate_configs/cpu_ddp.yaml lemma_train/sft.py recipes/smollm2_135m.yaml \
    --output_dir "$out" "$@"

step "5/5 answers before and after"
python scripts/show_answers.py models/smollm2-135m "$out/final" data/demo/held_out.jsonl --limit 100

step "done"
cat <<END
  the trained model      $out/final          (its card: $out/final/README.md)
  the loss               $out/loss.png       (every logged number: $out/metrics.jsonl)
  what the data held     $out/prepared/report.json, $out/prepared/lengths.png
  the training rows      data/demo/train.jsonl

To train on rows of your own, in the same format (or question/answer, messages, ShareGPT):

  .venv/bin/accelerate launch --config_file accelerate_configs/cpu_ddp.yaml lemma_train/sft.py \\
      recipes/smollm2_135m.yaml --train_files YOUR_ROWS.jsonl --output_dir outputs/mine
END
