"""A recipe that is read into a tree of dataclasses: typed values, or one message with every fault in it.

Enters: the dataclass of a recipe, a YAML file and `--key value` arguments, where a dotted key reaches into a block.
Leaves: an instance. What the keys mean is the dataclass's business; training recipes, whose keys are TRL's, are read by
`training.recipe`.
"""

import dataclasses
import difflib
import json
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from lemma_train.errors import InputError, first_line
from lemma_train.recipe_file import check_plain, override_value, quoted, read_yaml, shown, split_overrides, walk

T = TypeVar("T")

SEEDS = range(2**32)  # what numpy takes

_LARGEST = 10**18
_UNION_TAGS = ("str", "int", "float", "bool")  # with these pydantic tells which reading of a value failed


def read_settings(
    kind: type[T],
    path: str | Path,
    overrides: Sequence[str],
    senseless: Callable[[T], list[str]],
    page: str,
) -> T:
    """Read a recipe into its dataclass.

    Args:
        kind: a dataclass whose fields may be dataclasses; every field has a default.
        senseless: the faults of values that have the right type and cannot be meant.
        page: where the keys are listed.

    Raises:
        InputError: the file cannot be read, a key is unknown (the nearest known one is named), or values are at fault;
            every fault is named at once.
    """
    path = Path(path)
    values = read_yaml(path)
    faults: list[str] = []
    for key, text in split_overrides(overrides):
        *blocks, last = key.split(".")
        target: Any = values
        for block in blocks:
            target = target.setdefault(block, {}) if isinstance(target, dict) else target
        if not isinstance(target, dict):
            raise InputError(f"command line: --{shown(key)} reaches into a key that holds a single value in {path}.")
        target[last] = text if text in _choices(kind, key) else override_value(text)  # `--control none` is no null
    check_plain(values, str(path))  # the overrides are in them
    _check_finite(values, path)
    settings = None
    try:
        # JSON's strict mode takes no "3" for a 3 and no true for a 1, which YAML's own types make possible.
        settings = _adapter(kind).validate_json(json.dumps(values, default=str), strict=True)
    except pydantic.ValidationError as error:
        faults += dict.fromkeys(_fault(problem, kind, page) for problem in error.errors())
    if settings is not None:
        faults += senseless(settings)
    if faults:
        raise InputError("\n".join(f"{path}: {fault}" for fault in faults))
    assert settings is not None
    return settings


def folder_fault(key: str, text: str) -> list[str]:
    """What keeps a text from being a folder's path, as one sentence or none; the folder need not be there yet.

    Example:
        >>> folder_fault("output_dir", "~nobody/x")
        ["output_dir: '~nobody/x' can be no folder: Could not determine home directory."]
    """
    path = Path(text)
    try:
        path = path.expanduser()
        path.stat()
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RuntimeError) as error:
        return [f"{key}: {quoted(text)} can be no folder: {first_line(error)[:200].rstrip('.')}."]
    return [] if path.is_dir() else [f"{key}: {quoted(text)} is a file; name a folder."]


def seed_faults(seeds: Sequence[int]) -> list[str]:
    """What is wrong with a recipe's list of seeds, as sentences."""
    faults = ["seeds: a seed stands twice."] if len(set(seeds)) < len(seeds) else []
    return faults + [f"seeds: {seed} must be between 0 and {SEEDS[-1]}." for seed in seeds if seed not in SEEDS]


def _choices(kind: type, key: str) -> tuple[Any, ...]:
    """The values of a key that takes a few words only."""
    hint: Any = kind
    for name in key.split("."):
        hint = typing.get_type_hints(hint).get(name) if dataclasses.is_dataclass(hint) else None
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()


def _adapter(kind: type[T]) -> pydantic.TypeAdapter[T]:
    for block in _blocks(kind):
        block.__pydantic_config__ = pydantic.ConfigDict(extra="forbid")
    return pydantic.TypeAdapter(kind)


def _blocks(owner: type) -> list[Any]:
    hints = typing.get_type_hints(owner).values()
    inner = [block for hint in hints if dataclasses.is_dataclass(hint) for block in _blocks(typing.cast(type, hint))]
    return [owner, *inner]


def _check_finite(values: Any, path: Path) -> None:
    """Refuse infinity, NaN and what else has more than 18 digits: they cannot be written to every file."""
    for key, value, _ in walk(values):
        if isinstance(value, float) and not abs(value) < _LARGEST:
            raise InputError(f"{path}: {shown(key)}: it must be a number of at most 18 digits.")


def _fault(problem: Any, kind: type, page: str) -> str:
    where = [str(part) for part in problem["loc"]]
    if problem["type"] == "unexpected_keyword_argument":
        return f"unknown key {quoted('.'.join(where))}; {_nearest(where, kind, page)}"
    key = ".".join(part for part in where if part not in _UNION_TAGS and "[" not in part)
    reason = problem["msg"].removeprefix("Input should be ")
    return f"{shown(key)}: {quoted(problem['input'])} should be {reason}."


def _nearest(where: list[str], kind: type, page: str) -> str:
    """What was meant by a key that no block has; `where` has the blocks that lead to it, and the key."""
    *blocks, last = where
    every = _all_keys(kind)
    if last in every and "." in last:
        *outer, inner = last.split(".")
        return f"write {': and '.join(outer)}: and {inner}: beneath it."
    owner: Any = kind
    for block in blocks:
        owner = typing.get_type_hints(owner)[block]
    known = [field.name for field in dataclasses.fields(owner)]
    near = difflib.get_close_matches(last, known, n=1, cutoff=0.5)
    if near:
        return f"did you mean {'.'.join([*blocks, near[0]])}?"
    everywhere = [name for name in every if name.rpartition(".")[2] == last]
    return f"did you mean {everywhere[0]}?" if everywhere else f"{page} lists the keys."


def _all_keys(owner: Any, prefix: str = "") -> list[str]:
    keys = []
    for name, hint in typing.get_type_hints(owner).items():
        keys += _all_keys(hint, f"{prefix}{name}.") if dataclasses.is_dataclass(hint) else [prefix + name]
    return keys
