"""A recipe as it is typed: a YAML file and `--key value` arguments become plain values.

Enters: a path, command-line arguments. Leaves: what YAML can say and can be written out: no values without end, and no
tag that makes an object. It knows no key of any recipe; other YAML files of the user's are read by it too.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from lemma_train.errors import InputError, first_line

_YAML_FAULTS = (yaml.YAMLError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What reading YAML can raise: a date such as 2024-13-01, `!!int ''`, `!!bool maybe`, `!!timestamp soon`, an endless
time such as 1:59:59..., brackets within brackets without end."""

_MOST_VALUES, _DEEPEST = 100_000, 50  # of a file; aliases of YAML can make a few lines into any number of values
_LARGEST = 10**18  # what has 64 bits can be written to every file
_QUOTED = 200  # characters of a value that a message repeats


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a recipe file holds.

    Raises:
        InputError: the file cannot be read, is no YAML, holds a key twice, is no mapping of keys, or holds what
            `check_plain` refuses.
    """
    absent = f"The recipe {path} does not exist; recipes/ holds the ones that ship."
    values = read_any_yaml(path, f"The recipe {path}", absent)
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise InputError(f"The recipe {path} must be a mapping of keys to values.")
    return values


def read_any_yaml(path: Path, name: str, absent: str | None = None) -> Any:
    """What a YAML file holds, a list as well.

    Args:
        name: how messages open, with the path in it. absent: the message where there is no such file.

    Raises:
        InputError: the file cannot be read, is no YAML, holds a key twice, or holds what `check_plain` refuses.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(absent or f"{name} does not exist.") from None
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a name that no file can have
        raise InputError(f"{name} cannot be read: {first_line(error)}.") from error
    try:
        values = yaml.load(text, Loader=_UniqueKeyLoader)
    except _YAML_FAULTS as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or first_line(error)
        raise InputError(f"{name}{where} is not valid YAML: {problem}.") from error
    check_plain(values, str(path))
    return values


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key written twice: YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                continue
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key_node.value!r} stands twice", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def check_plain(values: Any, where: str) -> None:
    """Refuse values that go on for ever, and those that cannot be written to a file or into a message.

    Args:
        values: what YAML made. where: what the message opens with: a file, or the command line.

    Raises:
        InputError: more than 100,000 values (aliases counted each time), more than 50 of them one within the other, a
            key that is no text, a whole number of more than 18 digits, or half a character.
    """
    for count, (key, value, depth) in enumerate(walk(values)):
        if count > _MOST_VALUES or depth > _DEEPEST:
            raise InputError(f"{where}: {shown(key)}: it holds too many values, or values too deep within others.")
        if isinstance(value, dict):
            for name in value:
                if not isinstance(name, str | int | float | None):
                    raise InputError(f"{where}: {shown(key)}: the key {quoted(name)} must be text; put it into quotes.")
        if isinstance(value, int) and not abs(value) < _LARGEST:
            raise InputError(f"{where}: {shown(key)}: it must be a number of at most 18 digits.")
        for text in (value, *value) if isinstance(value, dict) else (value,):
            if isinstance(text, str) and not _is_unicode(text):
                raise InputError(f"{where}: {shown(key)}: {quoted(text)} holds half a character; write it anew.")


def walk(values: Any) -> Iterator[tuple[str, Any, int]]:
    """Every value with its dotted key and its depth, from the outside in."""
    waiting: list[tuple[str, Any, int]] = [("", values, 0)]
    while waiting:
        key, value, depth = waiting.pop()
        yield key, value, depth
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        waiting += [(f"{key}.{name}".removeprefix("."), within, depth + 1) for name, within in inner]


def quoted(value: Any) -> str:
    """A value as a message repeats it: on one line, and not in full where it is long."""
    told = repr(value)
    return told if len(told) <= _QUOTED else f"{told[:_QUOTED]}..."


def shown(key: str) -> str:
    """A key as it stands, or quoted where it could not stand on one line."""
    return key if key.isprintable() and len(key) <= _QUOTED else quoted(key)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def split_overrides(arguments: Sequence[str]) -> list[tuple[str, str]]:
    """`["--max-steps", "6", "--seed=1"]` -> `[("max_steps", "6"), ("seed", "1")]`.

    Raises:
        InputError: an argument is no `--key`, or a key has no value.
    """
    pairs, rest = [], list(arguments)
    while rest:
        flag = rest.pop(0)
        if not flag.startswith("--"):
            raise InputError(f"Unexpected argument {quoted(flag)}; overrides are written --key value.")
        key, equals, text = flag[2:].partition("=")
        key = key.replace("-", "_")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise InputError(f"--{shown(key)} needs a value, as in --{shown(key)} true.")
            text = rest.pop(0)
        pairs.append((key, text))
    return pairs


def override_value(text: str) -> Any:
    """What a value on the command line says: read as YAML where that makes sense, else the text itself."""
    try:
        value = yaml.safe_load(text)
    except _YAML_FAULTS:
        value = text
    if value is None or text in ("none", "None"):
        value = None if text.lower() in ("none", "null", "~", "") else text  # "# a" reads as an empty document
    return value
