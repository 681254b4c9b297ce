"""Combinations that cannot work, or would work wrongly without a word, are refused here before anything is loaded.

Enters: a recipe and the launcher's environment variables. Leaves: nothing, or an `InputError` that lists every
conflict with its mend. It imports no heavy library and reads no file but the DeepSpeed configuration (`sharding`).
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

from lemma_train.errors import InputError
from lemma_train.training.checkpointing import checkpointing_of
from lemma_train.training.recipe import Recipe
from lemma_train.training.sharding import (
    deepspeed_config,
    launched_with_deepspeed,
    uses_cpu,
    uses_fsdp,
    zero_section,
    zero_stage,
)

LORA_KEYS = (
    "lora_r",
    "lora_alpha",
    "lora_dropout",
    "lora_target_modules",
    "lora_target_parameters",
    "lora_modules_to_save",
    "lora_task_type",
    "use_rslora",
    "use_dora",
)
_RANGES: tuple[tuple[tuple[str, ...], Callable[[float], bool], str], ...] = (
    (
        ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps", "max_length"),
        lambda value: value >= 1,
        "at least 1",
    ),
    (("lora_r", "lora_alpha", "ddp_timeout"), lambda value: value >= 1, "at least 1"),
    (("max_steps",), lambda value: value == -1 or value >= 1, "at least 1, or -1 to count epochs"),
    (
        ("num_train_epochs", "learning_rate", "logging_steps", "save_steps", "eval_steps", "neftune_noise_alpha"),
        lambda value: value > 0,
        "a number above 0",
    ),
    (
        (
            "max_grad_norm",
            "warmup_steps",
            "weight_decay",
            "dataloader_num_workers",
            "hang_minutes",
        ),
        lambda value: value >= 0,
        "a number not below 0",
    ),
    # Weights travel as whole numbers of a 65536th, in 32 bits.
    (("error_span_weight",), lambda value: value == 0 or 0.001 <= value <= 1000, "0, or from 0.001 to 1000"),
    (("seed", "data_seed"), lambda value: 0 <= value < 2**32, "between 0 and 4294967295"),
    (
        ("adam_beta1", "adam_beta2", "lora_dropout", "label_smoothing_factor", "eval_fraction"),
        lambda value: 0 <= value < 1,
        "in [0, 1)",
    ),
    (("max_bad_share",), lambda value: 0 <= value <= 1, "in [0, 1]"),
)
QUANTISATION_KEYS = ("bnb_4bit_quant_type", "use_bnb_nested_quant", "bnb_4bit_quant_storage")
_TOP_LEVEL_MODEL_KEYS = (
    "dtype",
    "torch_dtype",
    "attn_implementation",
    "revision",
    "trust_remote_code",
    "quantization_config",
)
# Attention implementations that keep packed rows apart by their position ids (tests/test_trainer.py measures it for
# those that run on a CPU; the FlashAttention ones take the row boundaries as kernel arguments).
SEPARATING_ATTENTION = ("flash_attention_2", "flash_attention_3", "sdpa", "eager")


def check_recipe(recipe: Recipe, environ: Mapping[str, str]) -> None:
    """Refuse a recipe whose keys contradict each other or the launcher.

    Raises:
        InputError: one line for each conflict.
    """
    stage = zero_stage(recipe, environ)
    conflicts = [
        *_out_of_range(recipe),
        *_idle_keys(recipe),
        *_adapter_conflicts(recipe, stage),
        *_precision_conflicts(recipe, stage, environ),
        *_batch_conflicts(recipe),
        *_checkpointing_conflicts(recipe, stage, environ),
        *_launch_conflicts(recipe, stage, environ),
        *_checkpoint_conflicts(recipe, stage, environ),
    ]
    if conflicts:
        raise InputError("\n".join(f"{recipe.path}: {conflict}" for conflict in conflicts))


def _out_of_range(recipe: Recipe) -> list[str]:
    """Numbers that no library checks before the rows are prepared, or that would train nothing."""
    return [
        f"{key}: {recipe[key]} must be {words}."
        for keys, holds, words in _RANGES
        for key in keys
        if recipe[key] is not None and not (math.isfinite(recipe[key]) and holds(recipe[key]))
    ]


def _idle_keys(recipe: Recipe) -> list[str]:
    """Keys that were given but would do nothing, because what they belong to is off."""
    conditions = {
        "use_peft: true": (LORA_KEYS, recipe["use_peft"]),
        "load_in_4bit: true": (QUANTISATION_KEYS, recipe["load_in_4bit"]),
        "packing: true": (("eval_packing",), recipe["packing"]),
        "template: chat": (("chat_template_path",), recipe["template"] == "chat"),
    }
    idle = [
        f"{', '.join(given)} would have no effect without {condition}."
        for condition, (keys, holds) in conditions.items()
        if not holds and (given := [key for key in keys if key in recipe.given])
    ]
    try:
        hidden = [key for key in _TOP_LEVEL_MODEL_KEYS if key in recipe.model_init_kwargs]
    except InputError as fault:
        return [*idle, str(fault)]
    if hidden:
        idle.append(f"model_init_kwargs must not hold {', '.join(hidden)}; set the key of the recipe itself.")
    return idle


def _adapter_conflicts(recipe: Recipe, stage: int) -> list[str]:
    found = []
    quantised = recipe["load_in_4bit"] or recipe["load_in_8bit"]
    if quantised and not recipe["use_peft"]:
        found.append("load_in_4bit and load_in_8bit freeze the weights; add use_peft: true to train an adapter.")
    if recipe["load_in_4bit"] and recipe["load_in_8bit"]:
        found.append("load_in_4bit and load_in_8bit exclude each other; keep one.")
    if stage == 3 and recipe["load_in_8bit"]:
        found.append("8-bit weights cannot be partitioned by ZeRO-3; use load_in_4bit, or ds_configs/zero2.json.")
    if stage == 3 and recipe["load_in_4bit"] and recipe["bnb_4bit_quant_storage"] != (recipe["dtype"] or "auto"):
        found.append(
            "ZeRO-3 partitions 4-bit weights only when they are stored in the model's own type; set both dtype and "
            "bnb_4bit_quant_storage to bfloat16, or use ds_configs/zero2.json."
        )
    if stage == 3 and recipe["use_dora"]:
        found.append("DoRA's weight norms are not available under ZeRO-3; use ds_configs/zero2.json.")
    return found


def _precision_conflicts(recipe: Recipe, stage: int, environ: Mapping[str, str]) -> list[str]:
    found = []
    if recipe["bf16"] and recipe["fp16"]:
        found.append("bf16 and fp16 exclude each other; keep one.")
    half = recipe["dtype"] in ("bfloat16", "float16", "auto", None)  # to transformers null is auto
    if half and not recipe["use_peft"] and not stage:
        found.append(
            f"dtype: {recipe['dtype']} without DeepSpeed would leave no fp32 master weights, and updates at small "
            "learning rates would round to nothing; set dtype: float32 (bf16: true still computes in bf16)."
        )
    return found


def _batch_conflicts(recipe: Recipe) -> list[str]:
    found = []
    weighted = recipe["error_span_weight"] not in (0.0, 1.0)
    flattened = recipe["packing"] or recipe["padding_free"]
    attention = recipe["attn_implementation"] or "sdpa"
    if flattened and attention.partition("@")[0] not in SEPARATING_ATTENTION and "flash" not in attention:
        found.append(
            f"packing and padding_free need an attention that keeps rows apart, and {attention!r} is not known to; "
            f"use one of {', '.join(SEPARATING_ATTENTION)}, or set packing: false."
        )
    if recipe["packing"] and recipe["packing_strategy"] != "bfd":
        found.append(
            f"packing_strategy: {recipe['packing_strategy']} cuts rows in two or lets them attend to each other; "
            "use packing_strategy: bfd, which packs whole rows."
        )
    if weighted and flattened:
        found.append("packing and padding_free drop the weights of error_span_weight; use 0.0 or 1.0 with them.")
    if weighted and (recipe["loss_type"] != "nll" or recipe["label_smoothing_factor"]):
        found.append("error_span_weight other than 0.0 and 1.0 works with loss_type: nll and no label smoothing only.")
    if recipe["packing"] and recipe["max_length"] is None:
        found.append("packing fills sequences up to max_length; set it.")
    if recipe["eval_strategy"] != "no" and not recipe["eval_files"] and not recipe["eval_fraction"]:
        found.append(f"eval_strategy: {recipe['eval_strategy']} needs held-out rows: set eval_files or eval_fraction.")
    return found


def _checkpointing_conflicts(recipe: Recipe, stage: int, environ: Mapping[str, str]) -> list[str]:
    found = []
    new, old = recipe.given.get("activation_checkpointing"), recipe.given.get("gradient_checkpointing")
    if None not in (new, old) and new != old:
        found.append("gradient_checkpointing is the old name of activation_checkpointing and loses to it; keep one.")
    try:
        chosen = checkpointing_of(recipe)
    except InputError as fault:
        return [*found, str(fault)]
    if chosen.selective and not chosen.on:
        found.append("activation_checkpointing_kwargs: selective needs activation_checkpointing: true.")
    if not chosen.on and (chosen.offload or chosen.every_n_layers > 1):
        found.append("activation_checkpointing_kwargs would have no effect without activation_checkpointing: true.")
    if chosen.selective and (chosen.use_reentrant or (recipe["use_peft"] and stage == 3)):
        found.append(
            "activation_checkpointing_kwargs: selective does not work with use_reentrant: true, which adapters under "
            "ZeRO-3 need; drop one, or use ds_configs/zero2.json."
        )
    if chosen.offload and uses_cpu(recipe, environ):
        found.append("activation_checkpointing_kwargs: on CPUs activations are in host memory already; drop offload.")
    return found


def _launch_conflicts(recipe: Recipe, stage: int, environ: Mapping[str, str]) -> list[str]:
    found = []
    fsdp = uses_fsdp(recipe, environ)
    if recipe["deepspeed"] and fsdp:
        found.append("the recipe's deepspeed key and FSDP exclude each other; launch without FSDP or drop deepspeed.")
    if recipe["deepspeed"] and launched_with_deepspeed(environ):
        launcher = environ.get("ACCELERATE_DEEPSPEED_CONFIG_FILE", "none")
        if Path(launcher).resolve() != Path(str(recipe["deepspeed"])).resolve():
            found.append(
                f"the recipe's deepspeed key ({recipe['deepspeed']}) and the launcher's DeepSpeed configuration "
                f"({launcher}) differ; launch without --config_file, or override --deepspeed."
            )
    if environ.get("ACCELERATE_USE_PARALLELISM_CONFIG", "").lower() == "true":
        sizes = [f"parallelism_config_{name}_size" for name in ("cp", "sp", "tp")]
        if split := [name for name in sizes if environ.get(name.upper(), "1") != "1"]:
            found.append(
                f"the accelerate configuration has {', '.join(split)}: every process is dealt its own rows here, and "
                "those of one group would have to share theirs; leave it at 1 (long rows: activation checkpointing)."
            )
    if recipe["compile_layers"] and (stage or launched_with_deepspeed(environ) or fsdp):
        found.append(
            "compile_layers: the hooks by which DeepSpeed and FSDP gather weights would break each layer's code into "
            "pieces; drop it."
        )
    if recipe["deepspeed"] and uses_cpu(recipe, environ):
        found.append(
            "DeepSpeed on CPUs needs the launcher's help: use --config_file accelerate_configs/cpu_zero3.yaml and "
            "no deepspeed key."
        )
    return found


def _checkpoint_conflicts(recipe: Recipe, stage: int, environ: Mapping[str, str]) -> list[str]:
    found = []
    if recipe["save_only_model"] and recipe["resume"] != "never":
        found.append(
            "save_only_model: true leaves no optimizer state to resume from; drop it, or set resume: never and accept "
            "that an interrupted run starts again."
        )
    zero = zero_section(deepspeed_config(recipe, environ) or {})
    if stage == 3 and zero and not zero.get("stage3_gather_16bit_weights_on_model_save"):
        found.append(
            "deepspeed: ZeRO-3 without stage3_gather_16bit_weights_on_model_save: true cannot write the final model; "
            "add it to zero_optimization (it gathers layer by layer, into the first node's host memory)."
        )
    if recipe["save_total_limit"] is not None and recipe["save_total_limit"] < 1:
        found.append("save_total_limit must be at least 1, or null to keep every checkpoint.")
    return found
