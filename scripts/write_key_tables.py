#!/usr/bin/env python3
"""Write the pages docs/*_keys.md: every key of a kind of recipe, from the dataclasses that declare them.

    python scripts/write_key_tables.py

A test holds the pages to the code.
"""

import ast
import dataclasses
import inspect
import json
import typing
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from lemma_train.ablation.settings import AblateSettings
from lemma_train.collection import settings
from lemma_train.evaluation.settings import NO_EFFECT, EvaluatedModel, EvaluateSettings, Probe
from lemma_train.loop.settings import Overrides, RunSettings
from lemma_train.training.recipe import LemmaConfig
from lemma_train.training.recipe_keys import REFUSED_KEYS

DOCS = Path(__file__).resolve().parents[1] / "docs"
COLLECTION = """# Keys of a collection recipe

Written by scripts/write_key_tables.py from `lemma_train/collection/settings.py`; how they work together is told in
[collection.md](collection.md). On the command line a dot reaches into a block: `--teacher.model gpt-4o`,
`--sampling.samples 8`. `problems` and `output_dir` are required.
"""
TRAINING = """# Keys of a training recipe

Written by scripts/write_key_tables.py from `lemma_train/training/recipe.py`. Beside these keys a recipe has every field
of TRL's SFTConfig and ModelConfig under its own name, but for those at the end of this page; see
[recipes.md](recipes.md). `train_files`, ModelConfig's `model_name_or_path` and SFTConfig's `output_dir` are required.
"""
EVALUATION = """# Keys of an evaluation recipe

Written by scripts/write_key_tables.py from `lemma_train/evaluation/settings.py`; how they work together is told in
[evaluation.md](evaluation.md). On the command line a dot reaches into a block: `--model.model FOLDER`,
`--probe.limit 100`. `output_dir`, `model.model` and `benchmarks` or `probe.path` are required.
"""
ABLATION = """# Keys of an ablation recipe

Written by scripts/write_key_tables.py from `lemma_train/ablation/settings.py`; how they work together is told in
[ablations.md](ablations.md). On the command line a dot reaches into a block: `--overrides.max_steps 20`,
`--grid.lora_r [4,8]`. `recipe`, `output_dir` and `grid` or `variants` are required.
"""
RUN = """# Keys of a run recipe

Written by scripts/write_key_tables.py from `lemma_train/loop/settings.py`; how they work together is told in
[run.md](run.md). On the command line a dot reaches into a block: `--overrides.train.max_steps 20`. `output_dir`,
`train` and `evaluate` are required.
"""
COLLECTION_BLOCKS = {
    "The recipe": settings.CollectSettings,
    "`student` and `teacher`": settings.ModelSettings,
    "`student.prices` and `teacher.prices`": settings.Prices,
    "`sampling`": settings.Sampling,
    "`analysis`": settings.Analysis,
    "`injection`": settings.Injection,
    "`correction`": settings.Correction,
    "`smoothing`": settings.Smoothing,
    "`filters`": settings.Filters,
    "`assembly`": settings.Assembly,
}
EVALUATION_BLOCKS = {"The recipe": EvaluateSettings, "`model`": EvaluatedModel, "`probe`": Probe}
TEACHER = """## `teacher`

It names the types of errors, with the keys of a collection's [teacher](collection_keys.md#student-and-teacher); its
`engine` is `"offline"` by default: rules name them.
"""


def page(name: str) -> str:
    """One of `PAGES` as text."""
    return PAGES[name]()


def _page(head: str, blocks: dict[str, type], required: Collection[str], *more: str) -> str:
    return "\n".join([head, *(_block(title, block, required) for title, block in blocks.items()), *more])


def _block(title: str, block: type, required: Collection[str]) -> str:
    """The table of a dataclass's keys; keys that are blocks themselves have tables of their own."""
    meanings, hints = _meanings(block), typing.get_type_hints(block)
    rows = []
    for field in dataclasses.fields(block):
        without_effect = block is EvaluatedModel and field.name in NO_EFFECT
        if not without_effect and not dataclasses.is_dataclass(hints[field.name]):
            value = _default(field)
            unsaid = [word for word in _choices(hints[field.name]) if word not in meanings[field.name]]
            assert unsaid in ([], ["offline"]), f"{field.name}: the text beneath it leaves out {unsaid}"
            default = "" if field.name in required and value in ("", []) else f"`{json.dumps(value)}`"
            rows.append(f"| `{field.name}` | {default} | {_cell(meanings[field.name])} |")
    return "\n".join([f"## {title}\n", "| key | default | meaning |", "|---|---|---|", *rows]) + "\n"


def _choices(hint: Any) -> list[str]:
    """The words that a key's type allows, wherever they stand in it."""
    if typing.get_origin(hint) is typing.Literal:
        return [str(word) for word in typing.get_args(hint)]
    return [word for part in typing.get_args(hint) for word in _choices(part)]


def _refused() -> str:
    """Keys of SFTConfig that are refused, those with one reason in one row."""
    by_reason: dict[str, list[str]] = {}
    for key, reason in REFUSED_KEYS.items():
        by_reason.setdefault(reason, []).append(f"`{key}`")
    rows = [f"| {', '.join(keys)} | {_cell(reason)} |" for reason, keys in by_reason.items()]
    told = "They belong to SFTConfig, but would do nothing or harm here.\n"
    return "\n".join(["## Refused keys\n", told, "| key | why, and what to do instead |", "|---|---|", *rows]) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _meanings(block: type) -> dict[str, str]:
    """Key -> the prose beneath it, which Python itself does not keep; what a subclass says wins."""
    found = {}
    for owner in reversed(block.__mro__[:-1]):
        (declared,) = ast.parse(inspect.getsource(owner)).body
        assert isinstance(declared, ast.ClassDef)
        for key, prose in zip(declared.body, declared.body[1:], strict=False):
            if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name):
                assert isinstance(prose, ast.Expr) and isinstance(prose.value, ast.Constant), key.target.id
                found[key.target.id] = str(prose.value.value)
    return found


def _default(field: "dataclasses.Field[Any]") -> Any:
    made = field.default_factory is not dataclasses.MISSING
    return field.default_factory() if made else field.default  # type: ignore[misc]


PAGES: dict[str, Callable[[], str]] = {
    "collection_keys.md": lambda: _page(COLLECTION, COLLECTION_BLOCKS, ("problems", "output_dir", "model")),
    "training_keys.md": lambda: _page(TRAINING, {"Our own keys": LemmaConfig}, ("train_files",), _refused()),
    "evaluation_keys.md": lambda: _page(EVALUATION, EVALUATION_BLOCKS, ("output_dir", "model"), TEACHER),
    "ablation_keys.md": lambda: _page(ABLATION, {"The recipe": AblateSettings}, ("recipe", "output_dir")),
    "run_keys.md": lambda: _page(
        RUN, {"The recipe": RunSettings, "`overrides`": Overrides}, ("output_dir", "train", "evaluate")
    ),
}


if __name__ == "__main__":
    for name in PAGES:
        (DOCS / name).write_text(page(name), encoding="utf-8")
        print(DOCS / name)
