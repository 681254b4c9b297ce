"""How weights, gradients and optimizer state are split over processes, as the recipe and the launcher say.

Enters: a recipe and the launcher's environment variables. Leaves: DeepSpeed's configuration and stage, and whether FSDP
or CPUs are in use. It splits nothing, and judges no combination: `compatibility` does.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lemma_train.errors import InputError, first_line
from lemma_train.training.recipe import Recipe


def zero_stage(recipe: Recipe, environ: Mapping[str, str]) -> int:
    """DeepSpeed's ZeRO stage from the recipe's `deepspeed` key, else from the launcher; 0 without DeepSpeed.

    Raises:
        InputError: the stage is none of 0 to 3, or the configuration cannot be read.

    Example:
        >>> zero_stage(load_recipe("recipes/llama3_8b.yaml"), environ={})                 # doctest: +SKIP
        3
    """
    config = deepspeed_config(recipe, environ)
    if config is None:
        stage = environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2") if launched_with_deepspeed(environ) else "0"
        if stage not in ("0", "1", "2", "3"):
            raise InputError(f"The launch configuration's deepspeed_config.zero_stage must be 0 to 3, it is {stage!r}.")
        return int(stage)
    stage = zero_section(config).get("stage", 0)
    if stage not in (0, 1, 2, 3):
        raise InputError(f"{recipe.path}: deepspeed: zero_optimization.stage must be 0 to 3, it is {stage!r}.")
    return int(stage)


def deepspeed_config(recipe: Recipe, environ: Mapping[str, str]) -> dict[str, Any] | None:
    """The DeepSpeed configuration in force, or None where there is none or the launcher builds it from flags.

    Raises:
        InputError: the file is missing or not JSON.
    """
    named = recipe["deepspeed"]
    if not named:
        launcher_file = environ.get("ACCELERATE_DEEPSPEED_CONFIG_FILE", "none")
        named = launcher_file if launched_with_deepspeed(environ) and launcher_file != "none" else None
    if not named or isinstance(named, dict):
        return named or None
    try:
        config = json.loads(Path(named).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{recipe.path}: deepspeed: the file {named} does not exist (paths are taken from the current folder); "
            "ds_configs/ holds the ones that ship."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{recipe.path}: deepspeed: {named} is not readable JSON: {first_line(error)}.") from error
    if not isinstance(config, dict):
        raise InputError(f"{recipe.path}: deepspeed: {named} must hold one JSON object.")
    return config


def zero_section(config: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """`zero_optimization` of a DeepSpeed configuration; empty where there is none.

    Example:
        >>> zero_section({"zero_optimization": {"stage": 3}}), zero_section(None)
        ({'stage': 3}, {})
    """
    section = (config or {}).get("zero_optimization")
    return section if isinstance(section, dict) else {}


def nvme_folders(config: Mapping[str, Any] | None) -> list[str]:
    """Where a DeepSpeed configuration offloads to NVMe; empty where it does not.

    Example:
        >>> nvme_folders({"zero_optimization": {"offload_param": {"device": "nvme", "nvme_path": "/scratch"}}})
        ['/scratch']
    """
    sections = [zero_section(config).get(key) for key in ("offload_optimizer", "offload_param")]
    # What is no section is DeepSpeed's to refuse.
    blocks = [section for section in sections if isinstance(section, dict)]
    return sorted({str(block.get("nvme_path")) for block in blocks if block.get("device") == "nvme"})


def demand_nvme(recipe: Recipe, environ: Mapping[str, str]) -> None:
    """Refuse an nvme_path that is no folder here: DeepSpeed would make it, on whatever disk that is.

    Raises:
        InputError: names the folder.
    """
    for folder in nvme_folders(deepspeed_config(recipe, environ)):
        if not Path(folder).is_dir():
            raise InputError(
                f"{recipe.path}: deepspeed: nvme_path: {folder} is no folder on this node; copy the DeepSpeed file and "
                "name a folder on a disk of each node's own."
            )


def launched_with_deepspeed(environ: Mapping[str, str]) -> bool:
    """Whether `accelerate launch` was told to use DeepSpeed, whatever the recipe says."""
    return _is_on(environ, "ACCELERATE_USE_DEEPSPEED")


def uses_fsdp(recipe: Recipe, environ: Mapping[str, str]) -> bool:
    """Whether PyTorch's FSDP splits the model, by the launcher's word or the recipe's key `fsdp`."""
    return _is_on(environ, "ACCELERATE_USE_FSDP") or bool(recipe["fsdp"])


def uses_cpu(recipe: Recipe, environ: Mapping[str, str]) -> bool:
    """Whether the training is told to stay on CPUs, by the launcher's word or the recipe's key `use_cpu`."""
    return _is_on(environ, "ACCELERATE_USE_CPU") or bool(recipe["use_cpu"])


def _is_on(environ: Mapping[str, str], variable: str) -> bool:
    return environ.get(variable, "false").lower() == "true"
