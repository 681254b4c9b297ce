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
from pathlib import Path
from typing import Any

from lemma_train.ablation.settings import AblateSettings
from lemma_train.collection import settings
from lemma_train.loop.settings import Overrides, RunSettings

DOCS = Path(__file__).resolve().parents[1] / "docs"
COLLECTION = """# Keys of a collection recipe

Written by scripts/write_key_tables.py from `lemma_train/collection/settings.py`; how they work together is told in
[collection.md](collection.md). On the command line a dot reaches into a block: `--teacher.model gpt-4o`,
`--sampling.samples 8`. `problems` and `output_dir` are required.
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
_REQUIRED = ("problems", "output_dir", "model", "recipe", "train", "evaluate")
PAGES = {
    "collection_keys.md": (COLLECTION, COLLECTION_BLOCKS),
    "ablation_keys.md": (ABLATION, {"The recipe": AblateSettings}),
    "run_keys.md": (RUN, {"The recipe": RunSettings, "`overrides`": Overrides}),
}


def page(name: str) -> str:
    """One of `PAGES` as text."""
    head, blocks = PAGES[name]
    parts = [head]
    for title, block in blocks.items():
        rows = ["| key | default | meaning |", "|---|---|---|"]
        meanings = _meanings(block)
        for field in dataclasses.fields(block):
            if dataclasses.is_dataclass(typing.get_type_hints(block)[field.name]):
                continue
            meaning = " ".join(meanings[field.name].split()).replace("|", "\\|")
            rows.append(f"| `{field.name}` | {_default(field)} | {meaning} |")
        parts.append(f"## {title}\n\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _meanings(block: type) -> dict[str, str]:
    """Key -> the prose beneath it, which Python itself does not keep."""
    (declared,) = ast.parse(inspect.getsource(block)).body
    assert isinstance(declared, ast.ClassDef)
    found = {}
    for key, prose in zip(declared.body, declared.body[1:], strict=False):
        if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name):
            assert isinstance(prose, ast.Expr) and isinstance(prose.value, ast.Constant), key.target.id
            found[key.target.id] = str(prose.value.value)
    return found


def _default(field: "dataclasses.Field[Any]") -> str:
    made = field.default_factory is not dataclasses.MISSING
    value = field.default_factory() if made else field.default  # type: ignore[misc]
    return "" if value in ("", []) and field.name in _REQUIRED else f"`{json.dumps(value)}`"


if __name__ == "__main__":
    for name in PAGES:
        (DOCS / name).write_text(page(name), encoding="utf-8")
        print(DOCS / name)
