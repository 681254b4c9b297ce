"""A collection recipe: a YAML file and command-line overrides become `CollectSettings`, once, at the edge.

Enters: a path and `--key value` arguments, where a dotted key reaches into a block: `--teacher.model gpt-4o`. Leaves:
typed settings, or one message with every fault in it. It opens no model and reads no question.
"""

import dataclasses
import difflib
import functools
import json
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pydantic

from lemma_train.collection.settings import CollectSettings
from lemma_train.errors import InputError, first_line
from lemma_train.llm.endpoint import address
from lemma_train.recipe_file import override_value, read_yaml, split_overrides

_SHARES = ("assembly.strategies", "assembly.origins", "injection.types")
_POSITIVE = (
    *("attempts", "sampling.samples", "injection.k_max", "filters.max_characters"),
    *(
        f"{role}.{key}"
        for role in ("student", "teacher")
        for key in ("max_tokens", "concurrency", "timeout_seconds", "max_tries", "batch_size", "top_p")
    ),
)
_POSITIVE_OR_NULL = (
    *("budget", "analysis.per_question", "assembly.rows", "assembly.max_per_question"),
    *(f"{role}.{key}" for role in ("student", "teacher") for key in ("requests_per_minute", "tokens_per_minute")),
)
_NOT_NEGATIVE = (
    *("injection.per_question", "filters.min_characters", "assembly.references", "assembly.right_samples"),
    *(f"{role}.{key}" for role in ("student", "teacher") for key in ("temperature", "outage_minutes")),
    *(f"{role}.prices.{key}" for role in ("student", "teacher") for key in ("input", "output", "cached_input")),
)
_AT_MOST = {
    **dict.fromkeys(("sampling.samples", "injection.per_question", "injection.k_max"), 100_000),
    **dict.fromkeys(("student.top_p", "teacher.top_p", "assembly.decontaminate_overlap"), 1),
}
_MOST_VALUES, _DEEPEST = 100_000, 50  # of a recipe; aliases of YAML can make a few lines into any number of values
_LARGEST = 10**18  # what has 64 bits can be written to every file; infinity and NaN are refused with it
_UNION_TAGS = ("str", "int", "float", "bool")  # with these pydantic tells which reading of a value failed
_QUOTED = 200  # characters of a value that a message repeats


def load_collect_recipe(path: str | Path, overrides: Sequence[str] = ()) -> CollectSettings:
    """Read a collection recipe and apply overrides.

    Raises:
        InputError: the file cannot be read, a key is unknown (the nearest known one is named), a value has the wrong
            type or makes no sense, or a required key is missing; every fault is named at once.

    Example:
        >>> load_collect_recipe("recipes/collect/offline_demo.yaml", ["--sampling.samples", "2"])   # doctest: +SKIP
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
        settings = _adapter().validate_json(json.dumps(values, default=str), strict=True)
    except pydantic.ValidationError as error:
        faults += dict.fromkeys(_fault(problem) for problem in error.errors())
    if settings is not None:
        faults += _senseless(settings)
    if faults:
        raise InputError("\n".join(f"{path}: {fault}" for fault in faults))
    assert settings is not None
    return settings


@functools.cache
def _adapter() -> pydantic.TypeAdapter[CollectSettings]:
    for block in _blocks(CollectSettings):
        block.__pydantic_config__ = pydantic.ConfigDict(extra="forbid")
    return pydantic.TypeAdapter(CollectSettings)


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


def _fault(problem: Any) -> str:
    where = [str(part) for part in problem["loc"]]
    if problem["type"] == "unexpected_keyword_argument":
        key = ".".join(where)
        return f"unknown key {key!r}; {_nearest(key)}"
    key = ".".join(part for part in where if part not in _UNION_TAGS and "[" not in part)
    reason = problem["msg"].removeprefix("Input should be ")
    told = repr(problem["input"])
    return f"{key}: {told[:_QUOTED]}{'...' if len(told) > _QUOTED else ''} should be {reason}."


def _nearest(key: str) -> str:
    *blocks, last = key.split(".")
    owner: Any = CollectSettings
    for block in blocks:
        owner = typing.get_type_hints(owner)[block]
    known = [field.name for field in dataclasses.fields(owner)]
    near = difflib.get_close_matches(last, known, n=1, cutoff=0.5)
    if near:
        return f"did you mean {'.'.join([*blocks, near[0]])}?"
    everywhere = [name for name in _all_keys(CollectSettings) if name.rpartition(".")[2] == last]
    return f"did you mean {everywhere[0]}?" if everywhere else "docs/collection_keys.md lists the keys."


def _all_keys(owner: Any, prefix: str = "") -> list[str]:
    keys = []
    for name, hint in typing.get_type_hints(owner).items():
        keys += _all_keys(hint, f"{prefix}{name}.") if dataclasses.is_dataclass(hint) else [prefix + name]
    return keys


def _senseless(settings: CollectSettings) -> list[str]:
    """Values of the right type that cannot be meant."""

    def value(key: str) -> Any:
        return functools.reduce(getattr, key.split("."), settings)

    faults = [f"{key}: it must be above 0, it is {value(key)}." for key in _POSITIVE if not value(key) > 0]
    faults += [
        f"{key}: it must be at most {most:,}, it is {value(key)}."
        for key, most in _AT_MOST.items()
        if value(key) > most
    ]
    faults += [
        f"{key}: it must be above 0 or null, it is {value(key)}."
        for key in _POSITIVE_OR_NULL
        if value(key) is not None and not value(key) > 0
    ]
    faults += [f"{key}: it must not be negative, it is {value(key)}." for key in _NOT_NEGATIVE if (value(key) or 0) < 0]
    for key in _SHARES:
        shares = value(key)
        if isinstance(shares, dict) and (not all(share >= 0 for share in shares.values()) or not sum(shares.values())):
            faults.append(f"{key}: shares must not be negative, nor all 0; they are {shares}.")
    for key, known in (("strategies", ("fix_and_continue", "fresh_and_restart")), ("origins", ("student", "injected"))):
        shares = getattr(settings.assembly, key)
        faults += [f"assembly.{key}: {name!r} is none of {', '.join(known)}." for name in set(shares or ()) - {*known}]
    if not settings.problems:
        faults.append("the key problems is missing; it lists where the questions come from.")
    if not settings.output_dir:
        faults.append("the key output_dir is missing; everything that is collected is kept there.")
    if not settings.sampling.enabled and not settings.injection.enabled:
        faults.append("sampling.enabled and injection.enabled are both false: there would be no error to correct.")
    if not settings.correction.strategies:
        faults.append("correction.strategies: it must name at least one strategy.")
    if settings.injection.allocation == "failure_rate" and not settings.sampling.enabled:
        faults.append("injection.allocation: failure_rate needs the student's samples; set sampling.enabled: true.")
    for role in ("student", "teacher") if settings.sampling.enabled else ("teacher",):
        if getattr(settings, role).engine != "offline" and not getattr(settings, role).model:
            faults.append(f"{role}.model is missing; it names the model that the engine is to use.")
    for role in ("student", "teacher"):
        for url in getattr(settings, role).base_urls:
            try:
                address(url)  # here already, because the recipe is written to disk before a server is asked
            except InputError as error:
                faults.append(f"{role}.{error}")
    for key in ("output_dir", "prompts"):
        try:
            Path(value(key) or "").expanduser().stat()
        except FileNotFoundError:
            pass
        except (OSError, ValueError, RuntimeError) as error:
            faults.append(f"{key}: {str(value(key))[:_QUOTED]!r} can be no folder: {first_line(error)[:_QUOTED]}.")
    for key, threshold in (("assembly.near_duplicate_threshold", settings.assembly.near_duplicate_threshold),):
        if threshold is not None and not 0 < threshold <= 1:
            faults.append(f"{key}: it must be above 0 and at most 1, or null; it is {threshold}.")
    if not 0 <= settings.student.mistake_share <= 1:
        faults.append(f"student.mistake_share: it must be between 0 and 1, it is {settings.student.mistake_share}.")
    return faults
