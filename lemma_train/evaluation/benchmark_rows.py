r"""One row of a benchmark, in the fields in which it is published, becomes question, reference and what is known of it.

Enters: a decoded row. Leaves: `BenchmarkRow`. It reads no file, grades nothing and knows no row's place.

References are brought to the form in which a model would write them, and no further:

- floats lose their needless decimals (145.0 is "145"), and a float that only a fraction can mean becomes one
  (0.6666666666666666 is "2/3"): graded exactly, it could be equal to nothing;
- ASDiv's "9 (apples)" loses its unit, which the question names;
- DeepMind's lists "[2, 3]" lose their brackets, and its sorted numbers "12 3 0" stay as they are: the grader takes
  numbers with nothing between them for a sequence, in order.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from lemma_train.problem_rows import read_problem_row
from lemma_train.records import RowError

_UNIT = re.compile(r"(?<=[0-9])\s*\([^()]*\)$")
_NOT_IN_IDS = re.compile(r"[^\w.+-]+")
_LONGEST_DECIMAL = 10  # digits behind the point; a float with more was computed, not written
_LARGEST_DENOMINATOR = 1_000


class BenchmarkRow(NamedTuple):
    """id: the row's own, without the benchmark's name, or None. The rest as in `benchmarks.Question`."""

    question: str
    reference: str
    level: str | None = None
    subject: str | None = None
    solution: str | None = None
    id: str | None = None


def read_gsm8k(row: Any) -> BenchmarkRow:
    """GSM8K (arXiv 2110.14168): question, and an answer that is a worked solution with "#### n" at its end."""
    read = read_problem_row(row)
    if read.solution is None:
        raise RowError("missing_field", "the answer has no worked solution with '#### n' at its end")
    return BenchmarkRow(read.question, read.answer, solution=read.solution)


def read_math(row: Any) -> BenchmarkRow:
    r"""MATH (arXiv 2103.03874): problem, level, type, and a solution with its answer in \boxed.

    Some copies number the rows and some do not, nor in one order: the id is made of the problem's text.
    """
    read = read_problem_row(row)
    digest = hashlib.sha256(" ".join(read.question.split()).encode()).hexdigest()[:12]
    return BenchmarkRow(read.question, read.answer, read.level, read.subject, read.solution, digest)


def read_math500(row: Any) -> BenchmarkRow:
    """MATH-500 (arXiv 2305.20050): as MATH, with answer, subject, unique_id and a level that is a number."""
    read = read_problem_row(row)
    level = f"Level {read.level}" if read.level and read.level.isdecimal() else read.level
    return BenchmarkRow(read.question, read.answer, level, read.subject, read.solution, _as_id(read.id))


def read_svamp(row: Any) -> BenchmarkRow:
    """SVAMP (arXiv 2103.07191): Body, Question, Answer (a number), Type, ID."""
    question = f"{_text(row, 'Body')} {_text(row, 'Question')}"
    # The data spell one of their four types in two ways.
    subject = _text(row, "Type").replace("Divison", "Division")
    return BenchmarkRow(question, _number(row, "Answer"), subject=subject, id=_as_id(_text(row, "ID")))


def read_asdiv(row: Any) -> BenchmarkRow:
    """ASDiv (arXiv 2106.15772): body, question, answer ("9 (apples)", "3:30 p.m.", "Purple"), solution_type, idx."""
    answer = _text(row, "answer")
    subject = _text(row, "solution_type").replace("Substraction", "Subtraction")
    return BenchmarkRow(
        f"{_text(row, 'body')} {_text(row, 'question')}",
        _UNIT.sub("", answer),
        subject=subject,
        id=_as_id(_text(row, "idx")),
    )


def read_mawps(row: Any) -> BenchmarkRow:
    """MAWPS (aclanthology.org/N16-1136): sQuestion, lSolutions (a list with one number), id."""
    solutions = _value(row, "lSolutions")
    if not isinstance(solutions, list) or len(solutions) != 1:
        raise RowError("wrong_type", f"the field 'lSolutions' must be a list with one number, it is {solutions!r}")
    return BenchmarkRow(
        _text(row, "sQuestion"), _number({"lSolutions": solutions[0]}, "lSolutions"), id=_text(row, "id")
    )


def read_deepmind(row: Any) -> BenchmarkRow:
    """DeepMind mathematics (arXiv 1904.01557), a sample of 1,000: question, answer, id."""
    answer = _text(row, "answer")
    if answer.startswith("[") and answer.endswith("]"):
        answer = answer[1:-1].strip()
    return BenchmarkRow(_text(row, "question"), answer, id=_as_id(_text(row, "id")))


def read_college_math(row: Any) -> BenchmarkRow:
    """CollegeMath (arXiv 2403.02884): question, answer in LaTeX, data_source, data_topic, question_number."""
    book = _text(row, "data_source").removeprefix("college_math.")
    return BenchmarkRow(
        _text(row, "question"),
        _text(row, "answer"),
        subject=_text(row, "data_topic").removeprefix("college_math."),
        id=_as_id(f"{book}-{_text(row, 'question_number')}"),
    )


def _as_id(text: str | None) -> str | None:
    return _NOT_IN_IDS.sub("-", text) if text else None


def _value(row: Any, field: str) -> Any:
    if not isinstance(row, Mapping):
        raise RowError("wrong_type", f"a row must be a JSON object, this one is of type {type(row).__name__}")
    if row.get(field) is None:
        raise RowError("missing_field", f"the field {field!r} is missing; the row has {', '.join(map(str, row))[:200]}")
    return row[field]


def _text(row: Any, field: str) -> str:
    value = _value(row, field)
    if type(value) is int:
        return str(value)
    if not isinstance(value, str):
        raise RowError("wrong_type", f"the field {field!r} must be text, it is {str(value)[:50]!r}")
    if not value.strip():
        raise RowError("empty_field", f"the field {field!r} is empty")
    return value.strip()


def _number(row: Any, field: str) -> str:
    """A number as it would be written by hand.

    Example:
        >>> [_number({"Answer": value}, "Answer") for value in (145.0, "9.43", 0.6666666666666666, -0.04545)]
        ['145', '9.43', '2/3', '-0.04545']
    """
    value = _value(row, field)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or isinstance(value, bool):
        raise RowError("wrong_type", f"the field {field!r} must be a number, it is {str(value)[:50]!r}")
    if number.is_integer():
        return str(int(number))
    fraction = Fraction(number).limit_denominator(_LARGEST_DENOMINATOR)
    written = repr(number)
    computed = len(written.partition(".")[2]) > _LONGEST_DECIMAL
    # Within the last digits of a float: 1.8333333333333335 is 11/6 with a rounding error.
    if computed and math.isclose(fraction, number, rel_tol=1e-14):
        return f"{fraction.numerator}/{fraction.denominator}"
    return written
