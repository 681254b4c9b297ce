"""An entry of a recipe's `benchmarks` becomes a name, a number of worked examples and questions.

Enters: a name, or a mapping. Leaves: `Chosen`. Benchmarks are read by `benchmarks`; the user's own questions and
generated ones by the room of problems, with the same checks as in a collection.
"""

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

from lemma_train.errors import InputError
from lemma_train.evaluation.benchmarks import BENCHMARKS, Question, draw, load_benchmark
from lemma_train.evaluation.few_shot import load_shots
from lemma_train.problems import Problem, load_problems


class Chosen(NamedTuple):
    """name: the benchmark's, the generated kind, or the entry's own; heads its figures in reports."""

    name: str
    shots: list[tuple[str, str]]
    questions: list[Question]


_KEYS = {
    "benchmark": ("name", "path", "label", "limit", "sample", "shots", "allow_other_count"),
    "generated": ("source", "kind", "size", "seed", "avoid", "label", "limit", "sample", "shots"),
    "file": ("source", "path", "split", "name", "revision", "columns", "label", "limit", "sample", "shots"),
}


def load_entry(entry: str | Mapping[str, Any], seed: int) -> Chosen:
    """Read or generate the questions of one entry.

    Args:
        entry: a key of `BENCHMARKS`, or a mapping:
            `{name, path, limit, sample, shots, allow_other_count, label}`: a benchmark; see `load_benchmark`. Two
                entries of one benchmark, with other shots, need a label.
            `{source: generated, kind, size, seed, avoid: {size, seed}}`: generated problems, none of which is among
                those that a recipe with the size and seed of `avoid` trains on.
            `{source: file, path, split, name, revision, columns}`: the user's own rows, as in a collection's
                `problems`.
            Each also takes `label`, the name in reports, `limit`, `sample` and `shots`.
        seed: draws samples, and generated problems whose entry names no seed.

    Raises:
        InputError: a key, a value, a file or a row is at fault.

    Example:
        >>> load_entry({"source": "generated", "kind": "word_sums", "size": 200, "seed": 1,
        ...             "avoid": {"size": 800, "seed": 0}}, seed=0).name             # doctest: +SKIP
        'word_sums'
    """
    values = {"name": entry} if isinstance(entry, str) else entry
    if not isinstance(values, Mapping):
        raise InputError(f"benchmarks: an entry is a name ({', '.join(BENCHMARKS)}) or a mapping; it is {entry!r}.")
    source = values.get("source", "benchmark")
    if not isinstance(source, str) or source not in _KEYS or ("source" in values and source == "benchmark"):
        raise InputError(
            "benchmarks: source must be generated or file; for a benchmark leave it out and give its name."
        )
    for key in values:
        if key not in _KEYS[source]:
            nearest = difflib.get_close_matches(str(key), _KEYS[source], n=1)
            meant = f" (did you mean {nearest[0]}?)" if nearest else ""
            raise InputError(
                f"benchmarks: {key!r} is no key of such an entry{meant}; it has {', '.join(_KEYS[source])}."
            )
    for key in ("limit", "sample"):
        _whole_number(values, key, 1)
    if source == "benchmark":
        name = values.get("name")
        if name not in BENCHMARKS:
            raise InputError(f"benchmarks: there is no benchmark {name!r}; the names are {', '.join(BENCHMARKS)}.")
        label = name if values.get("label") is None else _label(values["label"])
        return Chosen(label, _shots(values, BENCHMARKS[name].shots), _benchmark(values, seed))
    problems = _problems(values, source, seed)
    label = _label(values.get("label", problems[0].source))
    questions = [
        Question(problem.id, label, problem.question, problem.answer, problem.level, problem.subject, problem.solution)
        for problem in problems
    ]
    sample: Any = values.get("sample")
    return Chosen(label, _shots(values, 0), draw(questions, sample, seed, "benchmarks"))


def _label(label: Any) -> str:
    if not isinstance(label, str) or not label.strip() or label in BENCHMARKS:
        raise InputError(f"benchmarks: label must be text, and no benchmark's name; it is {label!r}.")
    return label


def _benchmark(values: Mapping[str, Any], seed: int) -> list[Question]:
    path, allowed = values.get("path"), values.get("allow_other_count", False)
    if path is not None and (not isinstance(path, str) or not path):
        raise InputError(f"benchmarks: {values['name']}: path must be text; it is {path!r}.")
    if not isinstance(allowed, bool):
        raise InputError(f"benchmarks: {values['name']}: allow_other_count must be true or false; it is {allowed!r}.")
    return load_benchmark(values["name"], path, values.get("limit"), values.get("sample"), seed, allowed)


def _problems(values: Mapping[str, Any], source: str, seed: int) -> list[Problem]:
    entry = {key: value for key, value in values.items() if key not in ("label", "avoid", "sample", "shots")}
    if source == "file" or "avoid" not in values:
        return load_problems([entry], seed, "benchmarks").problems
    avoid = values["avoid"]
    if not isinstance(avoid, Mapping) or set(avoid) != {"size", "seed"}:
        raise InputError(
            f"benchmarks: avoid must hold the size and the seed of the training problems; it is {avoid!r}."
        )
    # Later entries never repeat the problems of earlier ones; the limit belongs to the questions asked alone.
    training = {"source": source, "kind": values.get("kind"), **avoid}
    trained_on = {problem.id for problem in load_problems([training], seed, "benchmarks: avoid").problems}
    both = load_problems([training, entry], seed, "benchmarks").problems
    return [problem for problem in both if problem.id not in trained_on]


def _shots(values: Mapping[str, Any], default: int) -> list[tuple[str, str]]:
    _whole_number(values, "shots", 0)
    return load_shots(values.get("shots", default))


def _whole_number(values: Mapping[str, Any], key: str, least: int) -> None:
    value = values.get(key)
    if key in values and (type(value) is not int or value < least):
        raise InputError(f"benchmarks: {key} must be a whole number of at least {least}; it is {value!r}.")
