"""The recipe: a YAML file and command-line overrides become typed values, once, at the edge.

Enters: a path and `--key value` arguments. Leaves: a `Recipe`. Every field of TRL's SFTConfig and ModelConfig is a key
under its own name, next to the keys of `LemmaConfig`. Nothing here loads a model, starts a process group or creates
an SFTConfig (which would do so); `Recipe.sft_config()` does that last step when the trainer's door asks for it.
"""

import dataclasses
import difflib
import enum
import functools
import importlib.metadata
import json
import os
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic

from lemma_train.errors import InputError, first_line
from lemma_train.recipe_file import check_plain, override_value, quoted, read_yaml, split_overrides
from lemma_train.training import library_keys
from lemma_train.training.recipe_keys import DEFAULTS, FORMER_NAMES, PATH_KEYS, REFUSED_KEYS, ROW_KEYS, SETTLED_KEYS

if TYPE_CHECKING:
    from trl import ModelConfig, SFTConfig


@dataclass
class LemmaConfig:
    """The keys that are this project's own."""

    train_files: str | list[str | dict[str, Any]] = field(default_factory=list)
    """Training rows: a JSONL, JSON, CSV or Parquet file, a folder of them, or a Hub data set; or a list of these. An
    entry may be a mapping with path, split, name and revision (Hub), limit (first rows), weight (0.5: half of the rows,
    drawn with the seed; 2: each row twice) and columns (field: the rows' own name for it). See docs/data.md."""

    eval_files: str | list[str | dict[str, Any]] = field(default_factory=list)
    """Held-out rows, in the same forms; eval_strategy says when their loss is worked out."""

    eval_fraction: float = 0.0
    """Share of the questions (not rows: rows of one question stay together) to hold out of train_files."""

    template: str = "lemma"
    """The prompt: lemma, alpaca, chat (the tokenizer's own chat template), or a text that holds {instruction}."""

    wrapped_rows: typing.Literal["refuse", "unwrap"] = "refuse"
    """What to do when some rows already hold a template and others do not: refuse the set, or unwrap those rows. A
    set in which every row is wrapped is always unwrapped and rendered again."""

    overlong: typing.Literal["drop", "error"] = "drop"
    """Rows of more than max_length tokens: drop leaves them out and counts them, error ends the run. They are never
    cut."""

    drop_duplicates: bool = True
    """Keep one of several rows with the same instruction (with its input) and output."""

    max_bad_share: float = 0.05
    """Stop when a larger share of the rows is bad (unreadable, incomplete or over-long)."""

    error_span_weight: float = 1.0
    """Factor on the loss of the tokens that a row's error_span marks: 1.0 trains on the wrong part as on all else, as
    LEMMA does; 0.0 leaves it out of the loss."""

    partial_last_step: typing.Literal["keep", "drop"] = "keep"
    """The micro-batches at the end of an epoch that do not fill gradient_accumulation_steps: keep makes a smaller step
    of them, drop leaves them out, so that every step has the whole global batch (other rows are left out in each
    epoch)."""

    supervised_head: bool = True
    """On CPUs, work out logits and loss only where a token is supervised, in tiles, each once. false: TRL's head, which
    does so on GPUs and scores every position on CPUs. The loss is the same."""

    token_metrics: bool = False
    """Also log entropy and accuracy of the supervised tokens, which costs some passes over all their logits."""

    keep_freed_memory: bool = True
    """On CPUs under Linux, have malloc keep freed memory for the next micro-batch. It changes no number."""

    compile_layers: bool = False
    """Compile the decoder's layers with torch.compile: faster steps, after a first one that takes half a minute longer
    or more, so it pays on runs of several minutes. On CPUs without a C++ compiler the layers stay as they are, with a
    warning. Not with DeepSpeed or FSDP."""

    resume: str = "auto"
    """auto: go on from the newest complete checkpoint of output_dir. never: start anew, in an empty output_dir. A
    path: go on from that checkpoint, even where the recipe has changed since. See docs/training.md."""

    hang_minutes: float = 15.0
    """A rank on which neither a micro-batch nor a held-out batch has ended for so long ends the job, with its stacks in
    `logs/`. Loading and saving may take four times as long, and at least ten minutes. 0 switches it off."""

    evaluate_after: str | list[str] = field(default_factory=list)
    """Evaluation recipes that are run on the finished model; their figures stand in its card."""


class Recipe:
    """A parsed recipe: which keys were given, and the value of every key.

    path: the YAML file. given: the keys that the file or the command line set, with their typed values.
    """

    def __init__(self, path: Path, given: Mapping[str, Any]):
        self.path = path
        self.given = dict(given)
        for key in PATH_KEYS:
            if isinstance(self.given.get(key), str):
                self.given[key] = os.path.expanduser(self.given[key])  # noqa: PTH111 - it may be a Hub name

    def __getitem__(self, key: str) -> Any:
        """The value of any key: as given, else this project's default, else the library's."""
        if key in self.given:
            return self.given[key]
        if key in DEFAULTS:
            return DEFAULTS[key]
        return _default(_fields()[key])

    @property
    def data_seed(self) -> int:
        """The seed of everything that is drawn from the rows."""
        return self["seed"] if self["data_seed"] is None else self["data_seed"]

    @property
    def model_init_kwargs(self) -> dict[str, Any]:
        """The arguments of `from_pretrained`, which may be given as JSON text.

        Raises:
            InputError: the text is no JSON object.
        """
        given = self["model_init_kwargs"]
        try:
            read = json.loads(given) if isinstance(given, str) else given or {}
        except ValueError as error:
            raise InputError(f"model_init_kwargs: {given!r} is not JSON: {first_line(error)}.") from error
        if not isinstance(read, dict):
            raise InputError(f"model_init_kwargs: {given!r} is no mapping of arguments to values.")
        return read

    @property
    def keys_of_rows(self) -> dict[str, Any]:
        """What decides which rows are prepared and how long they are, as plain JSON values.

        The prepared set's fingerprint says more, for which it takes the tokenizer and the files.
        """
        keys = ("model_name_or_path", "template", "train_files", *ROW_KEYS)
        found = {key: self[key] for key in keys} | {"seed": self.data_seed}
        return json.loads(json.dumps(found, default=str))

    @property
    def output_dir(self) -> Path:
        return Path(self["output_dir"])

    def sft_config(self) -> "SFTConfig":
        """Create the SFTConfig; this joins the process group that the launcher announced.

        Raises:
            InputError: SFTConfig refuses a combination of values.
        """
        from trl import SFTConfig

        values = {**DEFAULTS, **self._values_of(SFTConfig)}
        values = {key: value for key, value in values.items() if key not in SETTLED_KEYS}
        values.setdefault("disable_tqdm", not sys.stderr.isatty())  # a bar on a terminal, plain lines in a log
        try:
            return SFTConfig(**values)
        except (ValueError, TypeError, ImportError) as error:
            raise InputError(f"{self.path}: SFTConfig refuses the recipe: {first_line(error)}") from error

    def model_config(self) -> "ModelConfig":
        from trl import ModelConfig

        return ModelConfig(**self._values_of(ModelConfig))

    def resolved(self) -> dict[str, Any]:
        """Every given key and every key of this project, as plain JSON values."""
        values = {name: self[name] for name in _names_of(LemmaConfig)} | DEFAULTS | self.given
        return json.loads(json.dumps(values, default=str, sort_keys=True))

    def _values_of(self, config: type) -> dict[str, Any]:
        names = _names_of(config)
        return {key: value for key, value in self.given.items() if key in names}


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply `--key value` (or `--key=value`) overrides.

    Raises:
        InputError: the file cannot be read, a key is unknown (the nearest known one is named), a value has the wrong
            type, or a required key is missing.

    Example:
        >>> load_recipe("recipes/smollm2_135m.yaml", ["--max_steps", "6"])["max_steps"]   # doctest: +SKIP
        6
    """
    return recipe_of(Path(path), read_yaml(Path(path)), overrides)


def recipe_of(path: Path, keys: Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """The recipe that these keys make, as if they stood in the file `path`; raises what `load_recipe` does."""
    given: dict[str, Any] = {}
    faults: list[str] = []
    values: list[tuple[str, Any, str, Callable[[str, Any], Any]]]
    values = [(key, value, str(path), _typed) for key, value in keys.items()]
    values += [(key, text, "command line", _typed_override) for key, text in split_overrides(overrides)]
    for key, value, where, read in values:
        try:
            given[key] = read(key, value)
        except InputError as fault:
            faults.append(f"{where}: {fault}")
    named = {key for key, _, _, _ in values}
    for key in ("model_name_or_path", "train_files", "output_dir"):
        if not given.get(key) and (key in given or key not in named):
            faults.append(f"{path}: the key {key} is missing; every training recipe needs it.")
    if faults:
        raise InputError("\n".join(faults))
    return Recipe(path, given)


def _typed_override(key: str, text: str) -> Any:
    value = override_value(text)
    check_plain({key: value}, "the value")
    try:
        return _typed(key, value)
    except InputError:
        if isinstance(value, str) or key not in _fields():
            raise
        return _typed(key, text)  # `--run_name 7`: YAML reads a number where text is meant


def _typed(key: str, value: Any) -> Any:
    fields = _fields()
    if key not in fields:
        usable = [name for name in fields if name not in REFUSED_KEYS]
        near = [FORMER_NAMES[key]] if key in FORMER_NAMES else difflib.get_close_matches(key, usable, n=1, cutoff=0.5)
        advice = f"did you mean {near[0]}?" if near else "docs/recipes.md tells which there are."
        raise InputError(f"unknown key {quoted(key)}; {advice}")
    if key in REFUSED_KEYS:
        raise InputError(f"the key {key} is not supported: {REFUSED_KEYS[key]}.")
    hint, adapter = _hint(key)
    try:
        typed = adapter.validate_python([value] if isinstance(value, str) and hint == list[str] | None else value)
    except pydantic.ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Input should be ")
        raise InputError(f"{key}: {quoted(value)} should be {reason}.") from None
    if isinstance(value, bool) and type(typed) in (int, float):
        raise InputError(f"{key}: {quoted(value)} should be a number.")
    typed = getattr(typed, "value", typed)  # an enumeration's member is written by its value
    choices = fields[key].metadata.get("choices") or _members(hint)
    if choices and isinstance(typed, str) and typed not in choices:
        near = difflib.get_close_matches(typed, choices, n=1)
        closest = f"; did you mean {near[0]}?" if near else "."
        raise InputError(f"{key}: {quoted(value)} is none of {', '.join(choices)}{closest}")
    return typed


@functools.cache
def _configs() -> tuple[type, ...]:
    # TRL's classes bring torch and transformers, which take seconds to import and which `lemma plan` needs for nothing.
    if {name: importlib.metadata.version(name) for name in library_keys.VERSIONS} == library_keys.VERSIONS:
        return LemmaConfig, library_keys.ModelKeys, library_keys.SFTKeys
    from trl import ModelConfig, SFTConfig

    return LemmaConfig, ModelConfig, SFTConfig


@functools.cache
def _fields() -> dict[str, dataclasses.Field]:
    return {f.name: f for config in reversed(_configs()) for f in dataclasses.fields(config)}


@functools.cache
def _names_of(config: type) -> frozenset[str]:
    return frozenset(f.name for f in dataclasses.fields(config))


@functools.cache
def _hint(key: str) -> tuple[Any, pydantic.TypeAdapter]:
    owner = next(config for config in _configs() if key in _names_of(config))
    hint = typing.get_type_hints(owner)[key]
    return hint, pydantic.TypeAdapter(hint)


def _members(hint: Any) -> list[str]:
    """The values that an `Enumeration | str` hint allows: the plain str would let any typo through."""
    enums = [part for part in typing.get_args(hint) if isinstance(part, type) and issubclass(part, enum.Enum)]
    return [str(member.value) for part in enums for member in part]


def _default(f: dataclasses.Field) -> Any:
    return f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
