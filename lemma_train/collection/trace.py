"""The whole history of one training row: question, wrong answer, every reply of the teacher, and the row itself.

Enters: a data set and the id of a row. Leaves: text for a terminal. It reads the stage files and the journal up to the
lines it needs, and changes nothing.
"""

import heapq
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from lemma_train.collection.dataset_files import JSONL
from lemma_train.collection.stage_files import STAGES, Call, Line, line_of, path_of
from lemma_train.collection.trace_text import Passage, Section, render
from lemma_train.errors import InputError, first_line


def trace(dataset: Path, row_id: str, terminal: bool | None = None) -> str:
    """Tell how a row came about; of an item that is not in the set, where and why it was set aside.

    Args:
        dataset: a collection's folder, or the `dataset.jsonl` in it.
        row_id: such as `gsm8k-train-12/s3/fix`.
        terminal: with colours and frames; None: if the standard output is a terminal.

    Raises:
        InputError: there is no such collection, no such row (the nearest ids are named), or a file is damaged.
    """
    try:
        folder = dataset.parent if dataset.is_file() else dataset
        known = (folder / JSONL).is_file() or (folder / "stages").is_dir()
    except OSError as error:
        raise InputError(f"{str(dataset)[:200]} can be no collection: {first_line(error)[:200]}.") from error
    if not known:
        raise InputError(f"{dataset} is no collection: it holds neither {JSONL} nor stages. Give its output_dir.")
    if not row_id.isprintable():
        raise InputError(f"{dataset} has no row {row_id!r}: ids hold no such signs.")
    try:
        return _told(dataset, folder, row_id, sys.stdout.isatty() if terminal is None else terminal)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{folder}: a line about {row_id} in stages or {JSONL} is damaged ({first_line(error)}); lemma collect "
            "writes them anew."
        ) from error


def _told(dataset: Path, folder: Path, row_id: str, terminal: bool) -> str:
    folders = [folder, *sorted((folder / "shards").glob("*-of-*"))]
    row = _row(folder / JSONL, row_id)
    history = _history(folders, row_id)
    if row is None and not any(line.id == row_id for line in history.values()):
        raise InputError(f"{dataset} has no row {row_id!r}; the nearest ids are {', '.join(_nearest(folder, row_id))}.")
    journal = _replies(folders, {call.key for line in history.values() for call in line.calls})
    sections = [*_sections(history, journal), _end(row, history)]
    return render(sections, terminal)


def _row(path: Path, row_id: str) -> dict[str, Any] | None:
    needle = orjson.dumps(row_id)
    for row in _decoded(path, [needle]):
        if row.get("id") == row_id:
            return row
    return None


def _history(folders: Sequence[Path], row_id: str) -> dict[str, Line]:
    """Stage -> the line of the row or of what it was made from, whose ids are the beginnings of its id."""
    parts = row_id.split("/")
    ids = ["/".join(parts[:end]) for end in range(len(parts), 0, -1)]
    needles = [orjson.dumps(name) for name in ids]
    history: dict[str, Line] = {}
    for stage in STAGES:
        found = (line for folder in folders for line in _decoded(path_of(folder, stage), needles) if line["id"] in ids)
        if values := next(found, None):
            history[stage] = line_of(values)
    return history


def _replies(folders: Sequence[Path], keys: set[str]) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    needles = [orjson.dumps(key) for key in keys]
    for path in (path for folder in folders for path in sorted((folder / "journal").glob("*.jsonl"))):
        for entry in _decoded(path, needles):
            if entry["key"] in keys:
                found[entry["key"]] = entry
                if len(found) == len(keys):
                    return found
    return found


def _decoded(path: Path, needles: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    """The objects of those lines that hold one of these texts; all other lines are not even decoded."""
    if not path.is_file():
        return
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if any(needle in line for needle in needles):
                    try:
                        yield orjson.loads(line)
                    except ValueError as error:
                        raise InputError(f"{path}, line {number} is damaged.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}.") from error


def _nearest(folder: Path, row_id: str) -> list[str]:
    ids = (row["id"] for row in _decoded(folder / JSONL, [b'"id"']))
    return heapq.nlargest(3, ids, key=lambda name: _alike(name, row_id)) or ["(the set is empty)"]


def _alike(one: str, other: str) -> int:
    """How many characters two ids share at their beginnings and at their ends: quick, for 100,000 of them."""
    return _common(one, other) + _common(one[::-1], other[::-1])


def _common(one: str, other: str) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _sections(history: Mapping[str, Line], journal: Mapping[str, Mapping[str, Any]]) -> Iterator[Section]:
    problem = history["problems"].record if "problems" in history else None
    if problem:
        facts = [f"source: {problem['source']}", f"reference answer: {problem['answer']}"]
        solution = [Passage("worked solution", problem["solution"])] if problem["solution"] else []
        yield Section(f"Question {problem['id']}", facts, [Passage("question", problem["question"]), *solution])
    for stage, title, show in _STAGES:
        if stage in history:
            line = history[stage]
            facts, passages = show(line, history)
            replies = [passage for call in line.calls for passage in _reply(call, journal.get(call.key))]
            # A student's reply is the answer itself, which is shown already.
            if stage == "sampling" and line.record is not None:
                replies = [replace(passage, text="") for passage in replies]
            verdict = "kept: every check of this stage was passed" if line.kept else _set_aside(line)
            yield Section(f"{title} {line.id}", [*facts, verdict], [*replies, *passages])


def _set_aside(line: Line) -> str:
    return f"set aside: {line.reason}" + (f" ({line.detail})" if line.detail else "")


def _reply(call: Call, entry: Mapping[str, Any] | None) -> Iterator[Passage]:
    told = f"reply to {call.task}, attempt {call.attempt + 1}" + (f", prompt {call.prompt}" if call.prompt else "")
    verdict = f"set aside as {call.fault}" if call.fault else "accepted"
    if entry is None:
        yield Passage(f"{told}: {verdict}; it is not in the journal", "")
        return
    tokens = f"{entry['prompt_tokens']} + {entry['completion_tokens']} tokens"
    cut = f", ended by {entry['finish_reason']}" if entry["finish_reason"] != "stop" else ""
    yield Passage(f"{told}, {tokens}, by {entry['model']}{cut}: {verdict}", _readable(entry["text"]))


def _readable(reply: str) -> str:
    """A reply in JSON as one `field: value` after the other, with real line breaks; any other as it is."""
    try:
        fields = orjson.loads(reply)
    except ValueError:
        return reply
    if not isinstance(fields, dict):
        return reply
    return "\n".join(
        f"{name}: " + ("".join(f"\n  - {item}" for item in value) if isinstance(value, list) else str(value))
        for name, value in fields.items()
    )


Shown = tuple[list[str], list[Passage]]


def _sampled(line: Line, history: Mapping[str, Line]) -> Shown:
    if line.record is None:
        return [], []
    analysed = history.get("analysis")
    span = analysed.record["wrong_span"] if analysed is not None and analysed.record is not None else None
    return [f"ended by: {line.record['finish_reason']}"], [Passage("answer", line.record["text"], span)]


def _graded(line: Line, history: Mapping[str, Line]) -> Shown:
    if line.record is None:
        return [], []
    verdict = {True: "right", False: "wrong", None: "cannot be graded"}[line.record["correct"]]
    return [f"extracted answer: {line.record['extracted']}", f"verdict: {verdict}"], []


def _judged(line: Line, history: Mapping[str, Line]) -> Shown:
    record = line.record
    if record is None or not record["error_type"]:
        return [], []
    start, end = record["wrong_span"] or (0, 0)
    return (
        [f"error type: {record['error_type']}", f"why: {record['explanation']}"],
        [Passage("first wrong step", record["text"][start:end])],
    )


def _injected(line: Line, history: Mapping[str, Line]) -> Shown:
    record = line.record
    if record is None:
        return [], []
    facts = [f"error type asked for: {record['error_type']}", f"extracted answer: {record['extracted']}"]
    return [*facts, f"why: {record['explanation']}"], [Passage("wrong solution", record["text"], record["wrong_span"])]


def _drafted(line: Line, history: Mapping[str, Line]) -> Shown:
    record = line.record
    if record is None:
        return [], []
    parts = [Passage("wrong beginning", record["prefix"], record["wrong_span"])]
    parts += [Passage(name, record[name]) for name in ("reflection", "continuation")]
    answer = [f"graded answer: {record['extracted']}"] if record.get("extracted") is not None else []
    return [f"strategy: {record['strategy']}", *answer], parts


def _assembled(line: Line, history: Mapping[str, Line]) -> Shown:
    return [], []  # whether the row was chosen is the line's own verdict


# What each stage has to show of its line, in order.
_STAGES: list[tuple[str, str, Callable[[Line, Mapping[str, Line]], Shown]]] = [
    ("sampling", "Student's answer", _sampled),
    ("grading", "Grade of", _graded),
    ("analysis", "Analysis of", _judged),
    ("injection", "Injected error", _injected),
    ("correction", "Correction", _drafted),
    ("smoothing", "Smoothing", _drafted),
    ("assembly", "Assembly", _assembled),
]


def _end(row: Mapping[str, Any] | None, history: Mapping[str, Line]) -> Section:
    if row is not None:
        names = ("source", "strategy", "error_origin", "error_type", "error_span", "answer")
        passages = [Passage("instruction", row["instruction"]), Passage("output", row["output"], row["error_span"])]
        return Section(f"Training row {row['id']}", [f"{name}: {row[name]}" for name in names], passages)
    last = list(history.values())[-1]
    return Section("Not in the data set", [f"{last.id}: " + ("kept so far" if last.kept else _set_aside(last))], [])
