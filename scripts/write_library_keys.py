#!/usr/bin/env python3
"""Write lemma_train/training/library_keys.py: the fields of TRL's SFTConfig and ModelConfig, as they are installed.

    python scripts/write_library_keys.py

Importing TRL's classes takes seconds, because torch and transformers come with them; a recipe that is only read needs
no more of them than names, types and defaults. A test holds the file to the installed libraries.
"""

import dataclasses
import enum
import importlib.metadata
import re
import typing
from pathlib import Path
from typing import Any

from lemma_train.training.recipe_keys import REFUSED_KEYS

FILE = Path(__file__).resolve().parents[1] / "lemma_train" / "training" / "library_keys.py"
HEAD = '''"""The fields of TRL's SFTConfig and ModelConfig: names, types, defaults and choices, without importing TRL.

Written by scripts/write_library_keys.py from the releases in VERSIONS; `recipe` uses it where exactly these are
installed and asks TRL itself elsewhere. Declarations only.
"""

# ruff: noqa
# fmt: off

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Union
'''


def text() -> str:
    """The file's text for the installed releases."""
    from trl import ModelConfig, SFTConfig

    versions = {name: importlib.metadata.version(name) for name in ("trl", "transformers")}
    blocks = {"ModelKeys": ModelConfig, "SFTKeys": SFTConfig}
    enums = {e.__name__: e for config in blocks.values() for hint in _hints(config).values() for e in _enums(hint)}
    parts = [HEAD, f"VERSIONS = {versions!r}".replace("'", '"') + "\n"]
    for name, members in sorted(enums.items()):
        lines = [f"    {member.name} = {_quoted(member.value)}" for member in members]
        parts.append("\n".join([f"\nclass {name}(StrEnum):", *lines]) + "\n")
    for name, config in blocks.items():
        hints = _hints(config)
        lines = [f"    {f.name}: {_hint(hints[f.name], f.name)}{_value(f)}" for f in dataclasses.fields(config)]
        parts.append("\n".join(["\n@dataclass", f"class {name}:", *lines]) + "\n")
    return "\n".join(parts)


def _hints(config: type) -> dict[str, Any]:
    return typing.get_type_hints(config)


def _enums(hint: Any) -> list[type[enum.Enum]]:
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return [hint]
    return [found for part in typing.get_args(hint) for found in _enums(part)]


def _hint(hint: Any, key: str) -> str:
    if key in REFUSED_KEYS:
        return "Any"  # nothing may be written there, and some name a class of a heavy library
    spelled = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else repr(hint)
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", spelled).replace("NoneType", "None")


def _value(f: dataclasses.Field) -> str:
    choices = [*(f.metadata.get("choices") or ())]
    if f.default_factory is not dataclasses.MISSING:
        made = f"default_factory=lambda: {f.default_factory()!r}"
    else:
        value = getattr(f.default, "value", f.default)
        if not choices:
            return f" = {_quoted(value)}"
        made = f"default={_quoted(value)}"
    extra = f', metadata={{"choices": {_quoted(choices)}}}' if choices else ""
    return f" = field({made}{extra})"


def _quoted(value: Any) -> str:
    return repr(value).replace("'", '"')


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
    print(f"Wrote {FILE}")
