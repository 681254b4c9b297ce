"""A recipe as it is typed: a YAML file and `--key value` arguments become plain values.

Enters: a path, command-line arguments. Leaves: dictionaries of what YAML can say. It knows no key of any recipe.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lemma_train.errors import InputError, first_line


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a recipe file holds.

    Raises:
        InputError: the file cannot be read, is no YAML, holds a key twice, or is no mapping of keys.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"The recipe {path} does not exist; recipes/ holds the ones that ship.") from None
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a name that no file can have
        raise InputError(f"The recipe {path} cannot be read: {first_line(error)}.") from error
    try:
        values = yaml.load(text, Loader=_UniqueKeyLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date such as 2024-13-01
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or first_line(error)
        raise InputError(f"The recipe {path}{where} is not valid YAML: {problem}.") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise InputError(f"The recipe {path} must be a mapping of keys to values.")
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


def split_overrides(arguments: Sequence[str]) -> list[tuple[str, str]]:
    """`["--max-steps", "6", "--seed=1"]` -> `[("max_steps", "6"), ("seed", "1")]`.

    Raises:
        InputError: an argument is no `--key`, or a key has no value.
    """
    pairs, rest = [], list(arguments)
    while rest:
        flag = rest.pop(0)
        if not flag.startswith("--"):
            raise InputError(f"Unexpected argument {flag!r}; overrides are written --key value.")
        key, equals, text = flag[2:].partition("=")
        key = key.replace("-", "_")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise InputError(f"--{key} needs a value, as in --{key} true.")
            text = rest.pop(0)
        pairs.append((key, text))
    return pairs


def override_value(text: str) -> Any:
    """What a value on the command line says: read as YAML where that makes sense, else the text itself."""
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        value = text
    if value is None or text in ("none", "None"):
        value = None if text.lower() in ("none", "null", "~", "") else text  # "# a" reads as an empty document
    return value
