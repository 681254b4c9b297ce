"""Grade a file of responses.

Enters: JSONL rows with `response` and `reference`. Leaves: the same rows in the same order with `extracted` and
`correct`, and `grade_reason` where there is one, in another file or as lines on standard output; and a count. It holds
a few hundred rows at a time.
"""

import io
import json
import sys
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from lemma_train.errors import InputError, first_line, standard_output
from lemma_train.grading.grader import Grade, Grader
from lemma_train.whole_file import whole_file, write_faults_named

_ROWS_AHEAD = 256  # in the hands of the workers while earlier ones are written


@dataclass(frozen=True)
class GradeSummary:
    """reasons: how often each reason of a `Grade` came up."""

    rows: int
    correct: int
    wrong: int
    ungraded: int
    reasons: dict[str, int]

    def __str__(self) -> str:
        text = f"{self.rows:,} rows: {self.correct:,} correct, {self.wrong:,} wrong, {self.ungraded:,} ungraded"
        told = ", ".join(f"{name} {count:,}" for name, count in sorted(self.reasons.items()))
        return f"{text} ({told})" if told else text


def grade_file(source: Path, out: Path | None = None, workers: int = 2) -> GradeSummary:
    """Grade every row of a file.

    Args:
        source: JSONL; `response` is text, `reference` text or a number. Blank lines are left out.
        out: where the rows go; appears when all are graded. None: standard output.
        workers: processes for algebra, with the limits that are `Grader`'s own.

    Raises:
        InputError: a file cannot be read or written, `out` is `source`, or a line is no such row.

    Example:
        >>> print(grade_file(Path("samples.jsonl"), Path("graded.jsonl")))    # doctest: +SKIP
        500 rows: 120 correct, 380 wrong, 0 ungraded (no_answer 3)
    """
    try:
        if not source.is_file():
            raise InputError(f"{source}: it is no file." if source.exists() else f"{source}: there is no such file.")
        same = out is not None and out.resolve() == source.resolve()
    except (OSError, RuntimeError) as error:  # a name too long, a loop of links
        raise InputError(f"{source} or {out} can be no file: {first_line(error)[:200]}.") from error
    if same:
        raise InputError(f"{out}: the graded rows cannot go to the file that they are read from; name another with -o.")
    verdicts: Counter[bool | None] = Counter()
    reasons: Counter[str] = Counter()
    with Grader(workers) as grader, _written(out) as target:
        for row, grade in _progress(_graded(source, grader), source):
            graded = {**row, "extracted": grade.extracted, "correct": grade.correct}
            if grade.reason is not None:
                graded["grade_reason"] = grade.reason
                reasons[grade.reason] += 1
            verdicts[grade.correct] += 1
            target.write(_line(graded) + "\n")
    return GradeSummary(verdicts.total(), verdicts[True], verdicts[False], verdicts[None], dict(reasons))


def _graded(source: Path, grader: Grader) -> Iterator[tuple[dict[str, Any], Grade]]:
    ahead: deque[tuple[dict[str, Any], Future[Grade]]] = deque()
    for row in _rows(source):
        ahead.append((row, grader.submit(row["response"], str(row["reference"]))))
        while ahead and (len(ahead) > _ROWS_AHEAD or ahead[0][1].done()):
            done, future = ahead.popleft()
            yield done, future.result()
    for done, future in ahead:
        yield done, future.result()


def _rows(source: Path) -> Iterator[dict[str, Any]]:
    try:
        yield from _checked(source)
    except OSError as error:
        raise InputError(f"{source}: cannot be read: {first_line(error)}.") from error


def _checked(source: Path) -> Iterator[dict[str, Any]]:
    with source.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            place = f"{source}:{number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise InputError(f"{place}: every line must be one JSON object with 'response' and 'reference'.")
            _check(row, "response", str, place)
            _check(row, "reference", str | int | float, place)
            yield row


def _check(row: dict[str, Any], field: str, kind: Any, place: str) -> None:
    if field not in row:
        raise InputError(f"{place}: the field {field!r} is missing; a row needs 'response' and 'reference'.")
    if not isinstance(row[field], kind) or isinstance(row[field], bool):
        wanted = "text" if kind is str else "text or a number"
        raise InputError(f"{place}: the field {field!r} must be {wanted}, it is {json.dumps(row[field])[:60]}.")


def _line(row: dict[str, Any]) -> str:
    line = json.dumps(row, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:  # JSON can spell half of a surrogate pair, which no encoding takes: leave it escaped
        return json.dumps(row)
    return line


@contextmanager
def _written(out: Path | None) -> Iterator[TextIO]:
    """A file that appears under its name when all is written, or standard output."""
    if out is None:
        with standard_output() as target:
            yield target
        return
    if out.is_dir():
        raise InputError(f"{out}: it is a folder; name a file with -o.")
    out = out.resolve()  # a link goes on pointing where it does
    if out.exists() and not out.is_file():  # a pipe or a device is written to, not replaced
        with write_faults_named(out, key=None), out.open("w", encoding="utf-8") as target:
            yield target
        return
    with whole_file(out, key=None) as raw:
        target = io.TextIOWrapper(raw, encoding="utf-8")
        yield target
        target.detach()  # what it still holds goes into the file, which stays open


def _progress(graded: Iterator[tuple[dict[str, Any], Grade]], source: Path) -> Iterator[tuple[dict[str, Any], Grade]]:
    """Show on a terminal how far it is; standard error, as the rows may go to standard output."""
    if not sys.stderr.isatty():
        yield from graded
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.completed:,.0f} rows"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"grading {source.name}", total=None)
        for row in graded:
            progress.advance(task)
            yield row
