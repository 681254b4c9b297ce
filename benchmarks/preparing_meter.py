"""One preparation, timed from the rows' file to the prepared set; started by benchmarks/preparing.py.

    python benchmarks/preparing_meter.py WHO FOLDER MODEL

WHO is `bare` or `bare_fast` (the tokenizer's encode_batch or encode_batch_fast alone, on the same texts in the same
batches, results dropped), `ours`, `trl` or `llamafactory` (in its own environment). The last line that is printed is a
JSON object with the seconds, which leave out imports and the loading of the tokenizer, the rows and tokens that came
out, and the release of what did it.
"""

import importlib.metadata
import json
import sys
import time
from pathlib import Path
from typing import Any

BATCH_ROWS = 2000  # as lemma_train.training.tokenise has it
PROCESSES = 2  # what the peers are given
MAX_LENGTH = 4096


def bare(folder: Path, model: Path) -> dict[str, Any]:
    return _bare(folder, model, "encode_batch")


def bare_fast(folder: Path, model: Path) -> dict[str, Any]:
    """It leaves out where each token stands in its text."""
    return _bare(folder, model, "encode_batch_fast")


def _bare(folder: Path, model: Path, way: str) -> dict[str, Any]:
    from tokenizers import Tokenizer

    encode = getattr(Tokenizer.from_file(str(model / "tokenizer.json")), way)
    seconds, rows, tokens = 0.0, 0, 0
    with (folder / "trl.jsonl").open(encoding="utf-8") as stream:
        while batch := [json.loads(line) for _, line in zip(range(BATCH_ROWS), stream, strict=False)]:
            prompts, completions = [row["prompt"] for row in batch], [row["completion"] for row in batch]
            began = time.perf_counter()
            found = encode(prompts), encode(completions)
            tokens += sum(len(encoding) for encodings in found for encoding in encodings)
            del found
            seconds += time.perf_counter() - began
            rows += len(batch)
    return {"seconds": seconds, "rows": rows, "tokens": tokens + rows}  # and EOS


def ours(folder: Path, model: Path) -> dict[str, Any]:
    from lemma_train.template import Renderer
    from lemma_train.training.prepare import prepare
    from lemma_train.training.recipe import load_recipe
    from lemma_train.training.tokenizer import load_tokenizer

    recipe = load_recipe(folder / "ours.yaml")
    renderer = Renderer(load_tokenizer(recipe), recipe["template"])
    began = time.perf_counter()
    prepared = prepare(recipe, renderer)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "rows": prepared.report["train_rows"], "tokens": prepared.report["tokens"]}


def trl(folder: Path, model: Path) -> dict[str, Any]:
    from datasets import load_dataset
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
    from trl import SFTConfig, SFTTrainer

    tokenizer = AutoTokenizer.from_pretrained(model)
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    tiny = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape))
    options = {"use_cpu": True, "bf16": False, "report_to": "none", "disable_tqdm": True}
    args = SFTConfig(output_dir=str(folder / "trl"), max_length=MAX_LENGTH, dataset_num_proc=PROCESSES, **options)
    began = time.perf_counter()
    rows = load_dataset("json", data_files=str(folder / "trl.jsonl"), split="train")
    trainer = SFTTrainer(model=tiny, args=args, train_dataset=rows, processing_class=tokenizer)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, **_counted(trainer.train_dataset)}


def llamafactory(folder: Path, model: Path) -> dict[str, Any]:
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    values = {
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "full",
        "model_name_or_path": str(model),
        "dataset": "rows",
        "dataset_dir": str(folder),
        "template": "empty",
        "cutoff_len": MAX_LENGTH,
        "preprocessing_num_workers": PROCESSES,
        "output_dir": str(folder / "llamafactory"),
        "use_cpu": True,
        "report_to": "none",
    }
    model_args, data_args, training_args, _, _ = get_train_args(values)
    loaded = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(loaded["tokenizer"], data_args)
    began = time.perf_counter()
    found = get_dataset(template, model_args, data_args, training_args, stage="sft", **loaded)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, **_counted(found["train_dataset"])}


def _counted(rows: Any) -> dict[str, int]:
    lengths = (len(ids) for batch in rows.select_columns("input_ids").iter(1000) for ids in batch["input_ids"])
    return {"rows": len(rows), "tokens": sum(lengths)}


if __name__ == "__main__":
    who = {"bare": bare, "bare_fast": bare_fast, "ours": ours, "trl": trl, "llamafactory": llamafactory}[sys.argv[1]]
    told = who(Path(sys.argv[2]), Path(sys.argv[3]))
    package = {"trl": "trl", "llamafactory": "llamafactory"}.get(sys.argv[1], "tokenizers")
    print("\n" + json.dumps({**told, "release": importlib.metadata.version(package)}))
