"""The error types: their canonical names, what they mean, and the other names that mean the same.

Enters: `error_types.yaml`, the packaged one or the user's. Leaves: a `Taxonomy`. It finds no names inside sentences:
what is not a name as a whole is not known.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lemma_train.errors import InputError
from lemma_train.recipe_file import read_any_yaml

PACKAGED_PROMPTS = Path(__file__).resolve().parent.parent / "prompts"
ERROR_TYPES_FILE = "error_types.yaml"

_KEYS = {"name": str, "meaning": str, "aliases": list, "injectable": bool}
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class ErrorType:
    """One kind of mistake; the fields are the keys of an entry of error_types.yaml."""

    name: str
    meaning: str
    aliases: tuple[str, ...] = ()
    injectable: bool = True


class Taxonomy:
    """The error types in the order of their file.

    Example:
        >>> load_taxonomy().canonical("Question Understanding Error")
        'question_misinterpretation'
    """

    def __init__(self, types: tuple[ErrorType, ...]):
        self.types = types
        self._by_name = {type_.name: type_ for type_ in types}
        self._canonical = {_plain(name): type_.name for type_ in types for name in (type_.name, *type_.aliases)}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._by_name)

    @property
    def injectable(self) -> tuple[str, ...]:
        """The names of the types that may be injected."""
        return tuple(type_.name for type_ in self.types if type_.injectable)

    def canonical(self, name: str) -> str | None:
        """The canonical name of a type or alias, or None. Case, spaces, hyphens and underscores make no difference."""
        return self._canonical.get(_plain(name))

    def meaning(self, name: str) -> str:
        """What the type of this canonical name means.

        Raises:
            KeyError: there is no such type.
        """
        return self._by_name[name].meaning


def prompt_file(folder: Path | None, name: str) -> Path:
    """The user's file of this name where their folder has one, else the packaged one."""
    own = folder / name if folder is not None else None
    return own if own is not None and own.is_file() else PACKAGED_PROMPTS / name


def load_taxonomy(folder: Path | None = None) -> Taxonomy:
    """The taxonomy of the user's prompts folder, or the packaged one where the folder has none.

    Raises:
        InputError: the file cannot be read, an entry lacks a key or has an unknown one, or two types share a name.
    """
    path = prompt_file(folder, ERROR_TYPES_FILE)
    entries = read_any_yaml(path, str(path))
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path} must be a list of error types, each with the keys {', '.join(_KEYS)}.")
    types = tuple(_read_entry(path, number, entry) for number, entry in enumerate(entries, start=1))
    if not any(type_.injectable for type_ in types):
        raise InputError(f"{path}: no error type is injectable; set injectable: true for at least one.")
    owner: dict[str, str] = {}
    for type_ in types:
        for name in (type_.name, *type_.aliases):
            plain = _plain(name)
            if plain in owner:
                raise InputError(
                    f"{path}: the name {name!r} stands twice, for {owner[plain]} and for {type_.name}; names and "
                    "aliases must differ in more than case, spaces, hyphens and underscores."
                )
            owner[plain] = type_.name
    return Taxonomy(types)


def _read_entry(path: Path, number: int, entry: Any) -> ErrorType:
    place = f"{path}, entry {number}"
    if not isinstance(entry, dict):
        raise InputError(f"{place} must have the keys {', '.join(_KEYS)}.")
    if isinstance(entry.get("name"), str):
        place = f"{place} ({entry['name']})"
    for key in entry:
        if key not in _KEYS:
            raise InputError(f"{place}: unknown key {key!r}; the keys are {', '.join(_KEYS)}.")
    for key, kind in _KEYS.items():
        if key not in entry:
            raise InputError(f"{place}: the key {key!r} is missing.")
        if not isinstance(entry[key], kind):
            expected = {str: "text", list: "a list of names", bool: "true or false"}[kind]
            raise InputError(f"{place}: {key} must be {expected}, it is {entry[key]!r}.")
    if not _NAME.fullmatch(entry["name"]) or entry["name"] == "none":
        raise InputError(f"{place}: a name has lower-case letters, digits and underscores only, and is not 'none'.")
    if not entry["meaning"].strip():
        raise InputError(f"{place}: the meaning is empty; the teacher needs it.")
    if not all(isinstance(alias, str) and _plain(alias) for alias in entry["aliases"]):
        raise InputError(f"{place}: every alias must be text with a letter or digit in it.")
    return ErrorType(entry["name"], entry["meaning"].strip(), tuple(entry["aliases"]), entry["injectable"])


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()
