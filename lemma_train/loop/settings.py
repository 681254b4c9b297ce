"""Every key of a run recipe, as dataclasses with the meaning beneath each; a file and overrides become one.

Enters: a path and `--key value` arguments. Leaves: `RunSettings`, or one message with every fault in it. The recipes
that it names are read where the steps are made.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lemma_train.settings_file import folder_fault, read_settings, seed_faults


@dataclass(frozen=True)
class Overrides:
    """Keys that are changed in the recipes of the steps; a dot reaches into a block, as on the command line."""

    collect: dict[str, Any] = field(default_factory=dict)
    """Keys of the collection recipe and their values."""
    train: dict[str, Any] = field(default_factory=dict)
    """Keys of the training recipe and their values."""
    evaluate: dict[str, Any] = field(default_factory=dict)
    """Keys of the evaluation recipe and their values."""


@dataclass(frozen=True)
class RunSettings:
    """A run recipe."""

    output_dir: str = ""
    """Where every step has a folder, and the report is written."""
    collect: str | None = None
    """The collection recipe whose trajectories are trained on; null: the train_files of the training recipe."""
    train: str = ""
    """The training recipe."""
    evaluate: str = ""
    """The evaluation recipe; its model is the base model, then each trained one."""
    control: Literal["none", "reference"] = "none"
    """none: no control. reference: train a second model on the worked solutions of the same questions, with as many
    supervised tokens."""
    seeds: list[int] = field(default_factory=list)
    """Each model is trained once with each seed; empty: once, with the training recipe's seed."""
    overrides: Overrides = field(default_factory=Overrides)
    """See the table of its keys."""
    accelerate_config: str | None = None
    """The accelerate configuration that starts a training; null: one plain process, for a CPU or one GPU."""
    evaluate_python: str | None = None
    """The Python that runs the evaluations, for vLLM in an environment of its own (.venv-vllm/bin/python); null: this
    one."""


def load_run_recipe(path: str | Path, overrides: Sequence[str] = ()) -> RunSettings:
    """Read a run recipe and apply overrides, such as `--overrides.train.max_steps 20`.

    Raises:
        InputError: the file or a key is at fault; every fault is named at once.

    Example:
        >>> load_run_recipe("recipes/run/smollm2_demo.yaml").control                      # doctest: +SKIP
        'reference'
    """
    return read_settings(RunSettings, path, overrides, _senseless, "docs/run_keys.md")


def _senseless(settings: RunSettings) -> list[str]:
    faults = [
        f"the key {key} is missing; every run needs it."
        for key in ("output_dir", "train", "evaluate")
        if not getattr(settings, key)
    ]
    if settings.control != "none" and settings.collect is None:
        faults.append("control: it needs the collection's questions; name a recipe in collect, or set control: none.")
    faults += folder_fault("output_dir", settings.output_dir) + seed_faults(settings.seeds)
    named = {"collect": settings.collect, "train": settings.train, "evaluate": settings.evaluate}
    named["accelerate_config"] = settings.accelerate_config
    faults += [
        f"{key}: the file {path} does not exist." for key, path in named.items() if path and not Path(path).is_file()
    ]
    own = {
        "collect": ("output_dir",),
        "train": ("output_dir", "seed", "train_files", "evaluate_after", "resume"),
        "evaluate": ("output_dir", "name", "model.model", "model.adapter"),
    }
    if settings.collect is None:
        own["train"] = tuple(key for key in own["train"] if key != "train_files")
    for step, keys in own.items():
        for key in keys:
            if key in getattr(settings.overrides, step):
                faults.append(f"overrides.{step}.{key}: the run sets it itself; leave it out.")
    return faults
