"""Stage analysis: what kind of error is each wrong answer, and which of its steps is the first wrong one.

Enters: graded attempts of the student. Leaves: the wrong ones with `error_type`, `explanation` and `wrong_span`. A
wrong answer that the teacher calls correct is set aside, never taken as an example of anything.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lemma_train.collection.asking import Teacher
from lemma_train.collection.graded import attempt_of
from lemma_train.collection.records import Attempt
from lemma_train.collection.reply_checks import check_analysis
from lemma_train.collection.stage_files import Line, by_question
from lemma_train.collection.steps import split_steps
from lemma_train.collection.taxonomy import Taxonomy
from lemma_train.problems import Problem


@dataclass(frozen=True)
class Wrong:
    """One wrong answer to look at."""

    problem: Problem
    order: int
    attempt: Attempt


def items(folder: Path, per_question: int | None) -> Iterator[Wrong]:
    for (asked,), graded in by_question(folder, "problems", "grading"):
        wrong = [line for line in graded if line.kept and line.record["correct"] is False]
        for line in wrong[:per_question]:
            yield Wrong(Problem(**asked.record), asked.order, attempt_of(line))


async def work(item: Wrong, teacher: Teacher, taxonomy: Taxonomy) -> Line:
    problem, attempt = item.problem, item.attempt
    spans = split_steps(attempt.text)
    inputs = {
        "question": problem.question,
        "reference_solution": problem.solution,
        "reference_answer": problem.answer,
        "solution": attempt.text,
        "steps": [attempt.text[start:end] for start, end in spans],
        "extracted": attempt.extracted,
        "error_types": [{"name": known.name, "meaning": known.meaning} for known in taxonomy.types],
    }

    async def check(fields: dict[str, Any]) -> Attempt:
        error_type, step, explanation = check_analysis(fields, inputs, taxonomy)
        return replace(attempt, error_type=error_type, explanation=explanation, wrong_span=spans[step - 1])

    answer = await teacher.ask("analysis", attempt.id, inputs, check)
    return answer.line(attempt.id, problem.id, item.order, attempt)
