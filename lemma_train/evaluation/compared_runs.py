"""A finished evaluation as a comparison needs it: its results, and the verdicts of each question.

Enters: a folder with `results.json` and `samples.jsonl`. Leaves: a `ComparedRun`. Texts of questions and answers do
not stay in memory. It compares nothing.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lemma_train.errors import InputError, first_line

_RESULTS, _SAMPLES = "results.json", "samples.jsonl"
_TEXTS = ("id", "question_id", "benchmark", "question", "reference")


@dataclass
class Answered:
    """One question. text: a number that stands for its text and reference. right: verdicts of its samples so far."""

    text: int
    samples: int = 0
    right: int = 0
    gradable: bool = True

    @property
    def share(self) -> float:
        return self.right / self.samples


@dataclass(frozen=True)
class ComparedRun:
    """One evaluation. questions: benchmark -> question id -> its verdicts, in the order of the file."""

    name: str
    results: dict[str, Any]
    questions: dict[str, dict[str, Answered]]


def read_compared_run(folder: Path) -> ComparedRun:
    """Read an evaluation's folder.

    Raises:
        InputError: a file is missing or damaged, or the two do not belong together.
    """
    results = _results(folder / _RESULTS)
    questions: dict[str, dict[str, Answered]] = {name: {} for name in results["benchmarks"]}
    _read_samples(folder / _SAMPLES, questions)
    for name, entry in results["benchmarks"].items():
        if entry.get("questions") != len(questions[name]):
            raise InputError(
                f"{folder}: {_RESULTS} counts {entry.get('questions')} questions of {name}, {_SAMPLES} has "
                f"{len(questions[name])}; evaluate again, so that both are of one run."
            )
    return ComparedRun(str(results.get("name") or results.get("model") or folder.name), results, questions)


def _results(file: Path) -> dict[str, Any]:
    try:
        results = _object(file.read_bytes(), str(file))
    except OSError as error:
        raise _unreadable(file, error) from error
    benchmarks = results.get("benchmarks")
    if not isinstance(benchmarks, dict) or not all(isinstance(entry, dict) for entry in benchmarks.values()):
        raise InputError(f"{file}: the key 'benchmarks' must map names to results; evaluate again.")
    return results


def _read_samples(file: Path, questions: dict[str, dict[str, Answered]]) -> None:
    seen: set[str] = set()
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                place = f"{file}, line {number}"
                sample = _sample(line, place)
                if sample["id"] in seen:
                    raise InputError(f"{place}: the sample {sample['id']!r} stands twice; evaluate again.")
                seen.add(sample["id"])
                if sample["benchmark"] not in questions:
                    raise InputError(
                        f"{place}: {_RESULTS} has no benchmark {sample['benchmark']!r}; evaluate again, so that both "
                        "are of one run."
                    )
                text = hash((sample["question"], sample["reference"]))
                answered = questions[sample["benchmark"]].setdefault(sample["question_id"], Answered(text))
                answered.samples += 1
                answered.right += sample["correct"] is True
                answered.gradable &= sample["correct"] is not None
    except OSError as error:
        raise _unreadable(file, error) from error


def _sample(line: bytes, place: str) -> dict[str, Any]:
    sample = _object(line, place)
    for key in _TEXTS:
        if not isinstance(sample.get(key), str):
            raise InputError(f"{place}: the key {key!r} is missing or is not text; evaluate again.")
    if "correct" not in sample or not (sample["correct"] is None or isinstance(sample["correct"], bool)):
        raise InputError(f"{place}: the key 'correct' must be true, false or null; evaluate again.")
    return sample


def _object(text: bytes, place: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place} is not valid JSON: {first_line(error)}; evaluate again.") from error
    if not isinstance(value, dict):
        raise InputError(f"{place} is not a JSON object; evaluate again.")
    return value


def _unreadable(file: Path, error: OSError) -> InputError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return InputError(f"{file} is missing; name the output_dir of a finished `lemma evaluate`.")
    return InputError(f"{file} cannot be read: {first_line(error)}.")
