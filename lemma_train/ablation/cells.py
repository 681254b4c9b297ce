"""The grid as a list: cells (one setting each) and runs (one cell with one seed each), with the recipe of every run.

Enters: `AblateSettings` and the keys of the training recipe. Leaves: runs in a fixed order, whose names are folders.
It trains nothing and writes nothing.
"""

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lemma_train.ablation.settings import AblateSettings
from lemma_train.errors import InputError

_LONGEST_NAME = 100  # characters; a folder's name may have 255, and files are written inside


@dataclass(frozen=True)
class Cell:
    """One setting. values: what tells it from the others, for people. keys: what it changes in the training recipe."""

    name: str
    values: Mapping[str, Any]
    keys: Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """One cell with one seed. recipe: every key of the training recipe. folder: the run's own."""

    name: str
    cell: Cell
    seed: int
    folder: Path
    recipe: Mapping[str, Any]

    @property
    def text(self) -> str:
        """The training recipe as YAML; equal text means an equal run."""
        head = f"# python lemma_train/sft.py {self.folder}/recipe.yaml\n#\n# The run {self.name} of an ablation.\n\n"
        return head + yaml.safe_dump(dict(self.recipe), sort_keys=False, allow_unicode=True)


def cells_of(settings: AblateSettings) -> list[Cell]:
    """Every combination of the grid's values and the variants; the last key varies fastest.

    Raises:
        InputError: `baseline` names no cell.

    Example:
        >>> grid = AblateSettings(grid={"lora_r": [4, 8]}, variants={"full": {}, "short": {"max_steps": 9}})
        >>> [cell.name for cell in cells_of(grid)]
        ['lora_r-4_full', 'lora_r-4_short', 'lora_r-8_full', 'lora_r-8_short']
    """
    dimensions: list[list[tuple[str, dict[str, Any], dict[str, Any]]]] = [
        [(f"{key}-{_word(value)}", {key: value}, {key: value}) for value in values]
        for key, values in settings.grid.items()
    ]
    if settings.variants:
        dimensions.append([(_word(name), {"variant": name}, keys) for name, keys in settings.variants.items()])
    cells = []
    for choices in itertools.product(*dimensions):
        values = {key: value for _, told, _ in choices for key, value in told.items()}
        keys = {key: value for _, _, changed in choices for key, value in changed.items()}
        cells.append(Cell(_short("_".join(word for word, _, _ in choices), values), values, keys))
    names = Counter(cell.name for cell in cells)
    cells = [
        cell if names[cell.name] == 1 else Cell(f"{cell.name}-{_print(cell.values)}", cell.values, cell.keys)
        for cell in cells
    ]
    if settings.baseline is not None and settings.baseline not in {cell.name for cell in cells}:
        raise InputError(f"baseline: {settings.baseline!r} is no cell; they are {', '.join(c.name for c in cells)}.")
    return cells


def runs_of(settings: AblateSettings, base: Mapping[str, Any]) -> list[Run]:
    """Each cell with each seed, in the order in which they are trained: every cell once before any a second time.

    Args:
        base: the keys of the training recipe as its file holds them.

    Example:
        >>> settings = AblateSettings(output_dir="out", grid={"lora_r": [4]}, seeds=[1])
        >>> [run.name for run in runs_of(settings, {"model_name_or_path": "m"})]
        ['lora_r-4_seed-1']
    """
    seeds = settings.seeds or [base.get("seed", 42)]
    runs = []
    for seed, cell in itertools.product(seeds, cells_of(settings)):
        name = f"{cell.name}_seed-{seed}"
        folder = Path(settings.output_dir).expanduser() / name
        recipe = {**base, **settings.overrides, **cell.keys, "seed": seed, "output_dir": str(folder)}
        if settings.evaluate:
            recipe["evaluate_after"] = settings.evaluate
        runs.append(Run(name, cell, seed, folder, recipe))
    return runs


def _word(value: Any) -> str:
    """A value as a part of a folder's name."""
    text = "+".join(map(str, value)) if isinstance(value, list) else str(value)
    return re.sub(r"[^A-Za-z0-9_.+-]+", "-", text).strip("-.") or "empty"


def _short(name: str, values: Mapping[str, Any]) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 9]}-{_print(values)}"


def _print(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:8]
