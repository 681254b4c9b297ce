"""A recipe that is read into a tree of dataclasses: typed values, or one message with every fault in it.

Enters: the dataclass of a recipe, a YAML file and `--key value` arguments, where a dotted key reaches into a block.
Leaves: an instance. What the keys mean is the dataclass's business; training recipes, whose keys are TRL's, are read by
`training.recipe`.
"""

import dataclasses
import difflib
import json
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from lemma_train.errors import InputError
from lemma_train.recipe_file import override_value, read_yaml, split_overrides

T = TypeVar("T")

_MOST_VALUES, _DEEPEST = 100_000, 50  # of a recipe; aliases of YAML can make a few lines into any number of values
_LARGEST = 10**18  # what has 64 bits can be written to every file; infinity and NaN are refused with it
_UNION_TAGS = ("str", "int", "float", "bool")  # with these pydantic tells which reading of a value failed
_QUOTED = 200  # characters of a value that a message repeats


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
            raise InputError(f"command line: --{key} reaches into a key that holds a single value in {path}.")
        target[last] = override_value(text)
    _check_plain(values, path)
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


def _adapter(kind: type[T]) -> pydantic.TypeAdapter[T]:
    for block in _blocks(kind):
        block.__pydantic_config__ = pydantic.ConfigDict(extra="forbid")
    return pydantic.TypeAdapter(kind)


def _blocks(owner: type) -> list[Any]:
    hints = typing.get_type_hints(owner).values()
    inner = [block for hint in hints if dataclasses.is_dataclass(hint) for block in _blocks(typing.cast(type, hint))]
    return [owner, *inner]


def _check_plain(values: Any, path: Path) -> None:
    """Refuse what YAML can say and JSON cannot, and values that go on for ever."""
    for count, (key, value, depth) in enumerate(_walk(values)):
        if count > _MOST_VALUES or depth > _DEEPEST:
            raise InputError(f"{path}: {key[:_QUOTED]}: it holds too many values, or values too deep within others.")
        if isinstance(value, dict):
            for name in value:
                if not isinstance(name, str | int | float | None):
                    raise InputError(f"{path}: {key}: the key {name!r} must be text; put it into quotes.")
        if isinstance(value, int | float) and not abs(value) < _LARGEST:
            raise InputError(f"{path}: {key}: it must be a number of at most 18 digits.")
        for text in (value, *value) if isinstance(value, dict) else (value,):
            if isinstance(text, str) and not _is_unicode(text):
                raise InputError(f"{path}: {key}: {text[:_QUOTED]!r} holds half a character; write it anew.")


def _walk(values: Any) -> Iterator[tuple[str, Any, int]]:
    """Every value with its dotted key and its depth, from the outside in."""
    waiting: list[tuple[str, Any, int]] = [("", values, 0)]
    while waiting:
        key, value, depth = waiting.pop()
        yield key, value, depth
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        waiting += [(f"{key}.{name}".removeprefix("."), within, depth + 1) for name, within in inner]


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fault(problem: Any, kind: type, page: str) -> str:
    where = [str(part) for part in problem["loc"]]
    if problem["type"] == "unexpected_keyword_argument":
        key = ".".join(where)
        return f"unknown key {key!r}; {_nearest(key, kind, page)}"
    key = ".".join(part for part in where if part not in _UNION_TAGS and "[" not in part)
    reason = problem["msg"].removeprefix("Input should be ")
    told = repr(problem["input"])
    return f"{key}: {told[:_QUOTED]}{'...' if len(told) > _QUOTED else ''} should be {reason}."


def _nearest(key: str, kind: type, page: str) -> str:
    *blocks, last = key.split(".")
    owner: Any = kind
    for block in blocks:
        owner = typing.get_type_hints(owner)[block]
    known = [field.name for field in dataclasses.fields(owner)]
    near = difflib.get_close_matches(last, known, n=1, cutoff=0.5)
    if near:
        return f"did you mean {'.'.join([*blocks, near[0]])}?"
    everywhere = [name for name in _all_keys(kind) if name.rpartition(".")[2] == last]
    return f"did you mean {everywhere[0]}?" if everywhere else f"{page} lists the keys."


def _all_keys(owner: Any, prefix: str = "") -> list[str]:
    keys = []
    for name, hint in typing.get_type_hints(owner).items():
        keys += _all_keys(hint, f"{prefix}{name}.") if dataclasses.is_dataclass(hint) else [prefix + name]
    return keys
