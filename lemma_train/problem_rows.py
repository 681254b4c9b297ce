"""One row of a file of problems, in whatever of the known shapes, becomes question, answer and solution.

Enters: a decoded row. Leaves: `ProblemRow`. It reads no file, judges no answer and does not know where a row stands.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lemma_train.grading.boxes import last_boxed
from lemma_train.records import RowError, number_as_text, quoted

# What the user is told to write where a row has no known shape.
KNOWN_SHAPES = "question and answer (and solution, id), or GSM8K's or MATH's own fields"

NO_BOXED_ANSWER = "no_boxed_answer"

_ANNOTATION = re.compile(r"<<[^<>\n]*>>")  # GSM8K's calculator: "48/2 = <<48/2=24>>24"


@dataclass(frozen=True)
class ProblemRow:
    """What a row says; absent fields are None. `id` is the row's own, if it has one."""

    question: str
    answer: str
    solution: str | None = None
    id: str | None = None
    source: str | None = None
    level: str | None = None
    subject: str | None = None


def read_problem_row(row: Any) -> ProblemRow:
    """Bring a row of any accepted shape to a `ProblemRow`.

    Accepted: question and answer, with a solution or without; GSM8K's question and answer, where the answer is the
    worked solution with "#### n" at its end; MATH's problem and solution with a box around the answer.

    Raises:
        RowError: with the reason `unknown_format`, `missing_field`, `empty_field`, `wrong_type`, `invalid_utf8`, or
            `no_boxed_answer` for a MATH solution whose answer is not marked.

    Example:
        >>> read_problem_row({"question": "How much is 2 + 3?", "answer": "2 + 3 = <<2+3=5>>5\\n#### 5"}).solution
        '2 + 3 = 5\\nThe answer is 5.'
    """
    if not isinstance(row, Mapping):
        raise RowError("wrong_type", f"a row must be a JSON object, this one is of type {type(row).__name__}")
    if row.get("problem") is not None and row.get("question") is None:
        question, solution = _text(row, "problem"), _optional(row, "solution")
        answer = _optional(row, "answer")
        if answer is None:
            answer = last_boxed(_text(row, "solution"))
            if not answer:
                raise RowError(NO_BOXED_ANSWER, r"the solution has no answer in \boxed{...}")
    elif row.get("question") is not None:
        question, solution, answer = _text(row, "question"), _optional(row, "solution"), _text(row, "answer")
        worked, marker, final = answer.rpartition("####")
        if marker:
            answer = final.strip()
            if not answer:
                raise RowError("empty_field", "the answer ends in '####' with nothing after it")
            if solution is None and worked.strip():
                solution = f"{_ANNOTATION.sub('', worked).strip()}\nThe answer is {answer}."
    else:
        names = ", ".join(map(str, row))[:200] or "none"
        raise RowError("unknown_format", f"no known fields are in it, but {names}")
    return ProblemRow(
        question=question,
        answer=answer,
        solution=solution,
        id=_optional(row, "id") or _path_as_id(_optional(row, "unique_id")),
        source=_optional(row, "source"),
        level=_optional(row, "level"),
        subject=_optional(row, "subject") or _optional(row, "type"),
    )


def _path_as_id(path: str | None) -> str | None:
    """MATH's unique_id is a file's path: train/algebra/24.json."""
    return path.removesuffix(".json") if path else None


def _text(row: Mapping[str, Any], field: str) -> str:
    value = _optional(row, field)
    if value is None:
        if isinstance(row.get(field), str):
            raise RowError("empty_field", f"the field {field!r} is empty")
        raise RowError("missing_field", f"the field {field!r} is missing")
    return value


def _optional(row: Mapping[str, Any], field: str) -> str | None:
    """The stripped text of a field; a number is written out; None where it is absent, null or empty."""
    value = row.get(field)
    if value is None:
        return None
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() else repr(value)
    if type(value) is int:
        return number_as_text(value, field)
    if not isinstance(value, str):
        raise RowError("wrong_type", f"the field {field!r} must be text, it is {quoted(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can spell half of a surrogate pair, which no tokenizer takes
        raise RowError("invalid_utf8", f"the field {field!r} holds half a character, {value[error.start]!r}") from None
    return value.strip() or None
