"""Candidates for the training set: what the stages left, as training rows.

Enters: the lines of the stages smoothing, problems and grading. Leaves: candidate rows with the fields of a training
row. It leaves out nothing but what the stages set aside, and checks no row.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lemma_train.collection.graded import attempt_of
from lemma_train.collection.smoothing import draft_of
from lemma_train.collection.stage_files import Line
from lemma_train.problems import Problem


@dataclass(frozen=True)
class Candidate:
    """A training row that may come into the set. order: the place of its problem."""

    id: str
    problem_id: str
    order: int
    row: Mapping[str, Any]


def trajectory_rows(lines: Iterable[Line], problem_of: Callable[[str], Problem]) -> Iterator[Candidate]:
    """Candidates from the kept lines of the stage smoothing. problem_of: the problem of an id."""
    for line in lines:
        if line.kept:
            draft = draft_of(line)
            row = {
                **_row(draft.id, problem_of(draft.problem_id), draft.output, draft.strategy),
                "error_origin": draft.error_origin,
                "error_type": draft.error_type,
                # A span that reaches beyond the prefix would mark right text as wrong; read_row refuses the empty one.
                "error_span": list(draft.wrong_span) if draft.wrong_span[1] <= len(draft.prefix) else [0, 0],
            }
            yield Candidate(draft.id, draft.problem_id, line.order, row)


def reference_rows(lines: Iterable[Line]) -> Iterator[Candidate]:
    """Candidates of the strategy `reference` from the stage problems; `<problem id>/reference`."""
    for line in lines:
        if line.kept and line.record["solution"]:
            problem = Problem(**line.record)
            row_id = f"{problem.id}/reference"
            yield Candidate(row_id, problem.id, line.order, _row(row_id, problem, problem.solution or "", "reference"))


def sample_rows(lines: Iterable[Line], problem_of: Callable[[str], Problem]) -> Iterator[Candidate]:
    """Candidates of the strategy `sample` from the stage grading: the student's right answers."""
    for line in lines:
        if line.kept and line.record["correct"] is True and line.record["origin"] == "student":
            attempt = attempt_of(line)
            row = _row(attempt.id, problem_of(attempt.problem_id), attempt.text, "sample")
            yield Candidate(attempt.id, attempt.problem_id, line.order, row)


def _row(row_id: str, problem: Problem, output: str, strategy: str) -> dict[str, Any]:
    return {
        "id": row_id,
        "instruction": problem.question,
        "output": output,
        "source": problem.source,
        "strategy": strategy,
        "answer": problem.answer,
    }
