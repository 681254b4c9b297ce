"""On how many processes a recipe runs, and with which engine, told without launching anything.

Enters: a recipe, perhaps an accelerate configuration and a number of GPUs. Leaves: a `Launch` with the variables that
`accelerate launch` would set. It starts nothing and looks at no hardware.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lemma_train.errors import InputError
from lemma_train.recipe_file import read_yaml
from lemma_train.training.recipe import Recipe

USUAL_GPUS = 8
_MOST_PROCESSES = 1_000_000


@dataclass(frozen=True)
class Launch:
    """processes: in all. recipes_own: how many the recipe's opening command starts. environ: the launcher's
    variables. origin: who says how many."""

    processes: int
    recipes_own: int
    environ: dict[str, str]
    origin: str


def find_launch(recipe: Recipe, gpus: int | None = None, config_file: Path | None = None) -> Launch:
    """Processes from `--gpus`, else from the accelerate configuration, else from the command that opens the recipe,
    else 8.

    Raises:
        InputError: the configuration cannot be read or is of a kind that is not planned, or a number is absurd.
    """
    opening = _opening(recipe.path)
    named = _option(opening, "--config_file")
    own_file = Path(named) if named is not None and Path(named).is_file() else None
    own = read_yaml(own_file) if own_file is not None else {}
    stated = _option(opening, "--num_processes") or own.get("num_processes")
    recipes_own = _processes(stated, f"{recipe.path}: --num_processes in its command") if stated else USUAL_GPUS
    origin = "by the recipe's command" if stated else f"assumed: the usual node has {USUAL_GPUS}"
    # The configuration of the recipe's own command says whether it runs on CPUs; its DeepSpeed file is the recipe's.
    config = {"use_cpu": own.get("use_cpu")}
    processes = recipes_own
    if config_file is not None:
        config = read_yaml(config_file)
        processes, origin = (
            _processes(config.get("num_processes", 1), f"{config_file}: num_processes"),
            str(config_file),
        )
    if gpus is not None:
        processes, origin = _processes(gpus, "--gpus"), "as given"
    return Launch(processes, recipes_own, _environ(config), origin)


def _processes(value: Any, where: str) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = 0
    if isinstance(value, bool) or not 1 <= number <= _MOST_PROCESSES:
        raise InputError(f"{where}: it must be a whole number from 1 to {_MOST_PROCESSES}; it is {value!r}.")
    return number


def _opening(path: Path) -> list[str]:
    """The words of the `accelerate launch` command in the comment that opens a recipe; none where there is none."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        found = re.search(r"accelerate launch .*", line)
        if found:
            try:
                return shlex.split(found.group(), comments=False)
            except ValueError:
                return []
    return []


def _option(words: list[str], name: str) -> str | None:
    return words[words.index(name) + 1] if name in words[:-1] else None


def _environ(config: dict[str, Any]) -> dict[str, str]:
    """What `accelerate launch` would put into the environment, as far as a plan depends on it."""
    kind = str(config.get("distributed_type", "NO"))
    environ = {}
    if config.get("use_cpu") is True:
        environ["ACCELERATE_USE_CPU"] = "true"
    if kind == "FSDP":
        environ["ACCELERATE_USE_FSDP"] = "true"
    if kind == "DEEPSPEED":
        block = config.get("deepspeed_config")
        block = block if isinstance(block, dict) else {}
        environ["ACCELERATE_USE_DEEPSPEED"] = "true"
        environ["ACCELERATE_DEEPSPEED_CONFIG_FILE"] = str(block.get("deepspeed_config_file", "none"))
        environ["ACCELERATE_DEEPSPEED_ZERO_STAGE"] = str(block.get("zero_stage", 2))
    return environ
