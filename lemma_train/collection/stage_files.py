"""The stage files: what every stage leaves for the next, one line an item, in the order of the questions.

Enters: `Line`s in order. Leaves: `<folder>/<stage>.jsonl`, whole or not at all. A stage file is derived from the
journal and can be made again at any time without a request.
"""

import functools
import heapq
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson
import pydantic

from lemma_train.collection.records import Attempt, Draft
from lemma_train.errors import InputError, first_line
from lemma_train.problems import Problem
from lemma_train.whole_file import whole_file, write_faults_named

STAGES = ("problems", "sampling", "grading", "analysis", "injection", "correction", "smoothing", "assembly")


@dataclass(frozen=True)
class Call:
    """One reply that went into an item. key: its entry in the journal. fault: why its check failed, or None."""

    key: str
    task: str
    attempt: int
    prompt: str | None
    fault: str | None


@dataclass(frozen=True)
class Line:
    """One item of a stage.

    order: the place of its question; lines of a file never go back. kept: whether the next stage gets it.
    reason, detail: why not. record: the item itself, a Problem, Attempt or Draft as a dictionary, or None.
    """

    id: str
    problem_id: str
    order: int
    kept: bool
    record: Any
    reason: str | None = None
    detail: str | None = None
    calls: list[Call] = field(default_factory=list)


def line_of(values: Any) -> Line:
    """The line that decoded JSON holds.

    Raises:
        KeyError, TypeError: it holds none.
    """
    line = Line(**{**values, "calls": [Call(**call) for call in values["calls"]]})
    if not (isinstance(line.id, str) and isinstance(line.problem_id, str) and type(line.order) is int):
        raise TypeError("id and problem_id are text, order is a whole number")
    return line


@functools.cache
def _record_check(stage: str) -> pydantic.TypeAdapter[Any]:
    kind: Any = {"problems": Problem, "correction": Draft, "smoothing": Draft, "assembly": dict}.get(stage, Attempt)
    return pydantic.TypeAdapter(kind | None)


def path_of(folder: Path, stage: str) -> Path:
    return folder / "stages" / f"{stage}.jsonl"


def drop_stages(folder: Path, stages: Iterable[str]) -> None:
    """Remove the files of these stages where there are any.

    Raises:
        InputError: one cannot be removed.
    """
    for path in (path_of(folder, stage) for stage in stages):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"output_dir: {path} cannot be removed: {first_line(error)}.") from error


@contextmanager
def write_stage(folder: Path, stage: str) -> Iterator[Any]:
    """Yields a function that takes the next `Line`; the file appears under its name when all went well.

    Raises:
        InputError: the disk is full or cannot be written.
    """
    path, mend = path_of(folder, stage), "Make room and start the same command again; no reply is lost."
    with write_faults_named(path, mend=mend):
        path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, mend=mend) as out:

        def put(line: Line) -> None:
            out.write(orjson.dumps(line) + b"\n")

        yield put


def read_stage(folder: Path, stage: str) -> Iterator[Line]:
    """The lines of a stage.

    Raises:
        InputError: the stage has not run yet, or its file is damaged.
    """
    path = path_of(folder, stage)
    before = -1
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    found = line_of(orjson.loads(line))
                    _record_check(stage).validate_python(found.record)
                    if found.order < before:
                        raise ValueError("its question comes before the one above")
                except (ValueError, KeyError, TypeError) as error:
                    raise InputError(
                        f"{path}, line {number} is damaged; delete the file and run the stage {stage} again."
                    ) from error
                before = found.order
                yield found
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: run the stage {stage} first (--stage {stage}).") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}.") from error


def by_question(folder: Path, *stages: str) -> Iterator[list[list[Line]]]:
    """The lines of several stages, question by question: for each question one list for each of the stages.

    Questions that were set aside are left out.

    Raises:
        InputError: the files do not belong together, or one of them cannot be read.
    """

    def numbered(number: int, stage: str) -> Iterator[tuple[int, int, Line]]:
        lines = read_stage(folder, stage)
        return ((line.order, number, line) for line in lines if line.kept or stage != "problems")

    merged = heapq.merge(*(numbered(i, stage) for i, stage in enumerate(stages)), key=lambda entry: entry[:2])
    for _, group in groupby(merged, key=lambda entry: entry[0]):
        lists: list[list[Line]] = [[] for _ in stages]
        for _, number, line in group:
            lists[number].append(line)
            first = next(found[0] for found in lists if found)
            if stages[0] == "problems" and (not lists[0] or line.problem_id != first.problem_id):
                raise InputError(
                    f"{path_of(folder, stages[number])} is about other questions than the stage problems ({line.id}); "
                    f"run the stages from sampling on again."
                )
        yield lists


def merge_stages(folders: list[Path], target: Path, stages: Iterable[str]) -> None:
    """Write the stage files of a whole run from those of its shards."""
    for stage in stages:
        with write_stage(target, stage) as put:
            for line in heapq.merge(*(read_stage(folder, stage) for folder in folders), key=lambda line: line.order):
                put(line)
