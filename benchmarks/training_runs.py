"""How each trainer of benchmarks/training_speed.py is told to do the same run.

Enters: a `Job`. Leaves: the keys that its trainer is given, and the arguments of the trainer's own command line.
`settings` holds all that is set, and nothing else is. For every trainer: model, steps, rows of a micro-batch,
accumulation, a constant learning rate without warm-up, no weight decay, clipping at 1.0, bf16 autocast on CPUs, seed 1,
SDPA attention, rows of up to 4,096 tokens, no activation checkpointing (unless the peers are to have theirs), no
checkpoints, no reports, no progress bars, each step logged; with two processes, no search for unused parameters; with
LoRA, `LORA`. Ours and TRL's are told in which type to load the weights, fp32 or with LoRA bf16, which is what
LLaMA-Factory does by itself. Each is told how its rows are written. Ours alone is told to compile its layers. The
optimiser is each one's default, AdamW in all three, and so are its betas and the order of the rows.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TRAINERS = ("ours", "llamafactory", "trl")
LORA = {"rank": 8, "alpha": 16, "dropout": 0.0}  # on all linear layers
MAX_LENGTH = 4096
# Where things lie: two runs that differ in these alone are the same run.
_PLACES = ("output_dir", "train_files", "dataset_name", "dataset_dir")


@dataclass(frozen=True)
class Measure:
    """One key that makes training faster, and how a run does without it.

    name: of the run without. key: as a recipe has it. without: the key's other value. does: for the table.
    """

    name: str
    key: str
    without: str
    does: str

    @property
    def extra(self) -> tuple[str, str]:
        return f"--{self.key.partition(':')[0]}", self.without


MEASURES = (
    Measure(
        "trl_head",
        "supervised_head: true",
        "false",
        "on CPUs, logits and loss are worked out on the supervised positions alone, tile by tile",
    ),
    Measure("plain_layers", "compile_layers: true", "false", "torch.compile for the decoder's layers; off by default"),
    Measure(
        "random_order",
        "train_sampling_strategy: batch_rebalance",
        "random",
        "rows of like length share a micro-batch; each step keeps its rows",
    ),
    Measure(
        "memory_given_back",
        "keep_freed_memory: true",
        "false",
        "under Linux, memory that a micro-batch frees is kept for the next instead of mapped anew",
    ),
    Measure(
        "token_metrics",
        "token_metrics: false",
        "true",
        "entropy and accuracy, which take passes over all logits, are not worked out",
    ),
    Measure(
        "plain_adamw", "optim: adamw_torch_fused", "adamw_torch", "the library's default: one pass over the weights"
    ),
)


@dataclass(frozen=True)
class Job:
    """One run of one trainer: `lora` or all weights, so many steps of micro_batch x accumulation x processes rows.

    python: of the trainer's environment. rows: the folder that training_rows.write_rows filled. out: the run's own
    folder. peers_checkpoint: leave activation checkpointing in the peers as they have it by default (on), else it is
    off everywhere. extra: further `--key value` arguments, for ours alone.
    """

    trainer: str
    python: Path
    model: Path
    rows: Path
    out: Path
    lora: bool
    steps: int
    micro_batch: int
    accumulation: int
    processes: int
    learning_rate: float
    peers_checkpoint: bool = False
    extra: tuple[str, ...] = ()


def arguments(job: Job) -> list[str]:
    """The trainer's command line for a job; writes its YAML file where it reads one."""
    values = settings(job)
    if job.trainer == "trl":
        return [text for key, value in values.items() for text in (f"--{key}", str(value))]
    file = job.out / f"{job.trainer}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(values, indent=1), encoding="utf-8")  # JSON is YAML
    return [str(file), *job.extra]


def told(job: Job) -> dict[str, Any]:
    """All that the run's figures depend on, as JSON has it: rows (their digest), processes, and every key."""
    rows = hashlib.sha256((job.rows / "ours.jsonl").read_bytes()).hexdigest()[:16]
    values = {key: value for key, value in settings(job).items() if key not in _PLACES}
    found = {"trainer": job.trainer, "processes": job.processes, "lora": job.lora, "extra": list(job.extra)}
    return found | values | {"rows": rows}


def common(job: Job) -> dict[str, Any]:
    """The keys that all trainers know by the same name."""
    values = {
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
    return values | ({"ddp_find_unused_parameters": False} if job.processes > 1 else {})


def settings(job: Job) -> dict[str, Any]:
    """Every key that the job's trainer is given, except `extra`."""
    if job.extra and job.trainer != "ours":
        raise ValueError(f"extra arguments are for ours alone, not for {job.trainer}")
    return common(job) | {"ours": _ours, "trl": _trl, "llamafactory": _llamafactory}[job.trainer](job)


def _ours(job: Job) -> dict[str, Any]:
    return {
        "train_files": str(job.rows / "ours.jsonl"),
        "template": "lemma",
        "max_length": MAX_LENGTH,
        "dtype": "bfloat16" if job.lora else "float32",
        "activation_checkpointing": False,
        "attn_implementation": "sdpa",
        "compile_layers": True,
    } | _peft(job)


def _trl(job: Job) -> dict[str, Any]:
    values: dict[str, Any] = {
        "dataset_name": str(job.rows / "trl"),
        "max_length": MAX_LENGTH,
        "dtype": "bfloat16" if job.lora else "float32",
        "attn_implementation": "sdpa",
    }
    return values | ({} if job.peers_checkpoint else {"gradient_checkpointing": False}) | _peft(job)


def _llamafactory(job: Job) -> dict[str, Any]:
    values: dict[str, Any] = {
        "stage": "sft",
        "do_train": True,
        "dataset": "rows",
        "dataset_dir": str(job.rows / "llamafactory"),
        "template": "empty",
        "cutoff_len": MAX_LENGTH,
        "overwrite_cache": True,
        "finetuning_type": "lora" if job.lora else "full",
        "flash_attn": "sdpa",
        "disable_gradient_checkpointing": not job.peers_checkpoint,
        "save_only_model": True,
    }
    lora = {f"lora_{key}": value for key, value in LORA.items()} | {"lora_target": "all"}
    return values | (lora if job.lora else {})


def _peft(job: Job) -> dict[str, Any]:
    if not job.lora:
        return {}
    return {
        "use_peft": True,
        "lora_r": LORA["rank"],
        "lora_alpha": LORA["alpha"],
        "lora_dropout": LORA["dropout"],
        "lora_target_modules": "all-linear",
    }
