"""Loads a recipe's model and adapter as a rank of a ZeRO-3 run does, and tells how much memory that took.

`accelerate launch ... tests/zero3_loading.py RECIPE OUT` writes OUT/rank-N.json: `loaded` and `adapted`, the most
anonymous memory in bytes that this rank held beyond what it began with.
"""

import json
import os
import sys
from pathlib import Path

import deepspeed.comm
from anonymous_memory import Watch
from peft import get_peft_model
from trl import get_peft_config

from lemma_train.training.model import load_model
from lemma_train.training.recipe import load_recipe
from lemma_train.training.tokenizer import load_tokenizer


def main(recipe_file: str, out: str) -> None:
    recipe = load_recipe(recipe_file)
    args = recipe.sft_config()
    tokenizer = load_tokenizer(recipe)
    deepspeed.comm.init_distributed("gloo")
    deepspeed.comm.barrier()
    watch = Watch()
    model = load_model(recipe, tokenizer)
    loaded = watch.most()
    get_peft_model(model, get_peft_config(recipe.model_config()))
    found = {"loaded": loaded, "adapted": watch.most()}
    watch.ended.set()
    (Path(out) / f"rank-{args.process_index}.json").write_text(json.dumps(found))
    deepspeed.comm.barrier()


if __name__ == "__main__":
    assert os.environ["WORLD_SIZE"] == "2"
    main(*sys.argv[1:])
