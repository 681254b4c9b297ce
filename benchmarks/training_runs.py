"""How each trainer of benchmarks/training_speed.py is told to do the same run.

Enters: a `Job`. Leaves: the arguments of each trainer's own command line, and the Python that has it. What a trainer
can be told about the mathematics is the same for all (rows, steps, batch, AdamW, learning rate, clipping, fp32 weights
in bf16 autocast, seed); what it does beyond that is its own default.
"""

import json
from dataclasses import dataclass
from pathlib import Path

TRAINERS = ("ours", "llamafactory", "trl")


@dataclass(frozen=True)
class Job:
    """One run: `lora` or all weights, so many steps of micro_batch x accumulation x processes rows.

    rows: the folder that training_rows.write_rows filled. out: where the trained model goes. peers_checkpoint: leave
    activation checkpointing in the peers as they have it by default (on), else it is off everywhere.
    """

    model: Path
    rows: Path
    out: Path
    lora: bool
    steps: int
    micro_batch: int
    accumulation: int
    processes: int
    learning_rate: float
    peers_checkpoint: bool


def arguments(job: Job, trainer: str, extra: list[str]) -> list[str]:
    """The trainer's command line for a job; `extra` is added to ours, for comparisons of our own keys."""
    job.out.mkdir(parents=True, exist_ok=True)
    common = {
        "model_name_or_path": str(job.model),
        "output_dir": str(job.out / "model"),
        "max_steps": job.steps,
        "per_device_train_batch_size": job.micro_batch,
        "gradient_accumulation_steps": job.accumulation,
        "learning_rate": job.learning_rate,
        "lr_scheduler_type": "constant",
        "warmup_steps": 0,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "bf16": True,
        "use_cpu": True,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": 1,
    }
    if job.processes > 1:
        common["ddp_find_unused_parameters"] = False
    if trainer == "llamafactory":
        return [_written(job, trainer, {**common, **_llamafactory(job)})]
    if trainer == "trl":
        values = {**common, **_trl(job)}
        return [text for key, value in values.items() for text in (f"--{key}", str(value))]
    return [_written(job, trainer, {**common, **_ours(job)}), *extra]


def _ours(job: Job) -> dict[str, object]:
    values: dict[str, object] = {
        "train_files": str(job.rows / "ours.jsonl"),
        "template": "lemma",
        "max_length": 4096,
        "dtype": "bfloat16" if job.lora else "float32",
        "activation_checkpointing": False,
        "attn_implementation": "sdpa",
        "compile_layers": True,
    }
    return {**values, **_lora("use_peft")} if job.lora else values


def _trl(job: Job) -> dict[str, object]:
    values: dict[str, object] = {
        "dataset_name": str(job.rows / "trl"),
        "max_length": 4096,
        "dtype": "bfloat16" if job.lora else "float32",
        "attn_implementation": "sdpa",
    }
    if not job.peers_checkpoint:
        values["gradient_checkpointing"] = False
    return {**values, **_lora("use_peft")} if job.lora else values


def _llamafactory(job: Job) -> dict[str, object]:
    values: dict[str, object] = {
        "stage": "sft",
        "do_train": True,
        "dataset": "rows",
        "dataset_dir": str(job.rows / "llamafactory"),
        "template": "empty",
        "cutoff_len": 4096,
        "overwrite_cache": True,
        "finetuning_type": "lora" if job.lora else "full",
        "flash_attn": "sdpa",
        "disable_gradient_checkpointing": not job.peers_checkpoint,
        "save_only_model": True,
    }
    lora = {"lora_rank": 8, "lora_alpha": 16, "lora_dropout": 0.0, "lora_target": "all"}
    return {**values, **lora} if job.lora else values


def _lora(switch: str) -> dict[str, object]:
    return {switch: True, "lora_r": 8, "lora_alpha": 16, "lora_dropout": 0.0, "lora_target_modules": "all-linear"}


def _written(job: Job, trainer: str, values: dict[str, object]) -> str:
    file = job.out / f"{trainer}.yaml"
    file.write_text(json.dumps(values, indent=1), encoding="utf-8")  # JSON is YAML
    return str(file)
