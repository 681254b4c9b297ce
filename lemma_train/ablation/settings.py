"""Every key of an ablation recipe, as a dataclass with the meaning beneath each; a file and overrides become one.

Enters: a path and `--key value` arguments. Leaves: `AblateSettings`, or one message with every fault in it. Whether the
training recipes that come of it can be trained is for `ablate`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lemma_train.errors import InputError
from lemma_train.settings_file import folder_fault, read_settings, seed_faults

RATES = ("accuracy", "reflects", "repaired", "spoiled", "repair_rate", "spoil_rate")
_MOST_RUNS = 1000  # our choice: folders and rows of a table that a person can still look through


@dataclass(frozen=True)
class AblateSettings:
    """An ablation recipe."""

    recipe: str = ""
    """The training recipe that every run starts from."""
    output_dir: str = ""
    """Where each run has a folder, and the table, the plot and the best recipe are written."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Keys of the training recipe that every run sets."""
    grid: dict[str, list[Any]] = field(default_factory=dict)
    """Key of the training recipe -> its values; every combination is a cell."""
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Name -> keys of the training recipe that belong together, such as other train_files, or a rank with its alpha;
    one more dimension of the grid."""
    seeds: list[int] = field(default_factory=list)
    """Each cell is trained once with each seed; empty: once, with the training recipe's seed."""
    evaluate: str | list[str] = field(default_factory=list)
    """Evaluation recipes for each finished run, as `evaluate_after`; empty: those of the training recipe."""
    measure: str = "accuracy"
    """What decides: accuracy (the mean over all benchmarks), eval_loss (held out, lower is better), or a benchmark's
    own figure, such as gsm8k.accuracy or gsm8k.repair_rate."""
    baseline: str | None = None
    """Name of the cell that the others are compared with; null: the first."""
    accelerate_config: str | None = None
    """The accelerate configuration that starts a run; null: one plain process, for a CPU or one GPU."""


def load_ablate_recipe(path: str | Path, overrides: Sequence[str] = ()) -> AblateSettings:
    """Read an ablation recipe and apply overrides, such as `--seeds [0,1]` or `--overrides.max_steps 20`.

    Raises:
        InputError: the file or a key is at fault; every fault is named at once.

    Example:
        >>> load_ablate_recipe("recipes/ablations/lora_rank_smollm2.yaml").seeds          # doctest: +SKIP
        [0, 1]
    """
    settings = read_settings(AblateSettings, path, overrides, _senseless, "docs/ablation_keys.md")
    if settings.accelerate_config and not Path(settings.accelerate_config).is_file():
        raise InputError(f"{path}: accelerate_config: the file {settings.accelerate_config} does not exist.")
    return settings


def _senseless(settings: AblateSettings) -> list[str]:
    faults = []
    for key in ("recipe", "output_dir"):
        if not getattr(settings, key):
            faults.append(f"the key {key} is missing; every ablation needs it.")
    faults += folder_fault("output_dir", settings.output_dir)
    if not settings.grid and not settings.variants:
        faults.append("neither grid nor variants is given; without them there is nothing to compare.")
    for key, values in settings.grid.items():
        if not values:
            faults.append(f"grid.{key}: it lists no value.")
        if len({repr(value) for value in values}) < len(values):
            faults.append(f"grid.{key}: a value stands twice.")
        if key in settings.overrides:
            faults.append(f"grid.{key}: overrides sets it as well; keep one.")
    dimensions = [*map(len, settings.grid.values()), len(settings.variants) or 1, len(settings.seeds) or 1]
    if math.prod(dimensions) > _MOST_RUNS:
        faults.append(f"grid: it makes {math.prod(dimensions):,} runs, more than {_MOST_RUNS:,}; list fewer values.")
    faults += seed_faults(settings.seeds)
    places = [("grid", settings.grid), ("overrides", settings.overrides)]
    places += [(f"variants.{name}", keys) for name, keys in settings.variants.items()]
    for place, keys in places:
        faults += [f"{place}.{key}: {reason}" for key, reason in _OWN_KEYS.items() if key in keys]
        if place.startswith("variants"):
            both = sorted(keys.keys() & settings.grid.keys())
            faults += [f"{place}.{key}: the grid sets it as well; keep one." for key in both]
    benchmark, _, rate = settings.measure.rpartition(".")
    if settings.measure not in ("accuracy", "eval_loss") and (not benchmark or rate not in RATES):
        faults.append(
            f"measure: {settings.measure!r} is neither accuracy, eval_loss nor BENCHMARK.FIGURE with one of "
            f"{', '.join(RATES)}."
        )
    return faults


_OWN_KEYS = {  # of each run; the ablation sets them itself
    "output_dir": "each run has a folder of its own in the ablation's output_dir.",
    "seed": "list the seeds in the key seeds, so that intervals can be told.",
    "evaluate_after": "name the evaluations in the key evaluate.",
    "resume": "each run goes on from its own newest checkpoint.",
}
