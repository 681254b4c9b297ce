"""The small models and recipes that benchmarks/memory_model.py measures, written to a folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LENGTH = 256  # tokens of every row, so that the longest row is also the usual one


@dataclass(frozen=True)
class Shape:
    """A small Llama and how it is trained: rows of LENGTH tokens, with or without activation checkpointing."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vocab: int
    tied: bool
    rows: int
    checkpointing: bool


SHAPES = {
    "narrow": Shape(256, 704, 8, 8, 8, 2048, False, 8, False),
    "deep": Shape(384, 1024, 24, 6, 2, 4096, True, 8, False),
    "wide vocabulary": Shape(256, 704, 4, 4, 2, 128256, False, 2, True),
    "SmolLM2-135M": Shape(576, 1536, 30, 9, 3, 49152, True, 2, True),
}


def write_model(folder: Path, shape: Shape) -> None:
    """A random Llama of that shape with a tokenizer of single bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    characters = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    bytewise = Tokenizer(models.BPE(vocab=characters, merges=[]))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytewise, eos_token="<eos>", pad_token="<pad>")
    config = LlamaConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=4096,
        tie_word_embeddings=shape.tied,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_rows(path: Path, length: int) -> None:
    """Rows of exactly `length` tokens (one a byte), no two alike."""
    prompt = len("### Instruction:\n\n\n### Response: Let's think step by step.") + 1  # and EOS
    rows = []
    for i in range(64):
        instruction = f"Question {i:03}"
        output = "x" * (length - prompt - len(instruction) - 1)
        rows.append({"instruction": instruction, "output": output})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def recipe_values(model: Path, rows: Path, out: Path, shape: Shape, zero: bool) -> dict[str, Any]:
    """A recipe of two steps of two micro-batches; DeepSpeed holds weights in 16 bits, others train fp32 weights."""
    return {
        "model_name_or_path": str(model),
        "train_files": str(rows),
        "output_dir": str(out),
        "max_length": LENGTH,
        "per_device_train_batch_size": shape.rows,
        "gradient_accumulation_steps": 2,
        "max_steps": 2,
        "bf16": True,
        "dtype": "bfloat16" if zero else "float32",
        "activation_checkpointing": shape.checkpointing,
        "attn_implementation": "sdpa",
        "learning_rate": 1e-4,
        "save_strategy": "no",
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "seed": 1,
    }
