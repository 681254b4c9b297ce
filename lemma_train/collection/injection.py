"""Stage injection (error augmentation): new wrong solutions, each with one error of a type that is drawn.

Enters: problems, graded and analysed attempts. Leaves: injected attempts with `error_type`, `explanation` and
`wrong_span`, whose final answer has been found wrong. The types follow the measured distribution of the student's own
errors (arXiv 2503.17439); LEMMA-Hard's allocation by failure rate is an option.
"""

import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lemma_train.collection.asking import Teacher, seed_of
from lemma_train.collection.graded import failure_rate
from lemma_train.collection.records import Attempt, Origin
from lemma_train.collection.replies import ReplyFault
from lemma_train.collection.reply_checks import check_injection
from lemma_train.collection.settings import Correction, Injection
from lemma_train.collection.stage_files import Line, by_question
from lemma_train.collection.taxonomy import Taxonomy
from lemma_train.collection.verdicts import Verdicts
from lemma_train.grading.grader import UNDECIDED
from lemma_train.problems import Problem


@dataclass(frozen=True)
class Order:
    """One injection to ask for."""

    problem: Problem
    order: int
    number: int
    error_type: str


def measured_types(folders: list[Path]) -> dict[str, Counter[str]]:
    """How often each error type was found in the student's answers, by source of the questions."""
    found: dict[str, Counter[str]] = {}
    for folder in folders:
        for asked, analysed in by_question(folder, "problems", "analysis"):
            counts = found.setdefault(asked[0].record["source"], Counter())
            counts.update(line.record["error_type"] for line in analysed if line.kept)
    return found


def items(
    folder: Path,
    settings: Injection,
    correction: Correction,
    taxonomy: Taxonomy,
    seed: int,
    sampled: bool,
    measured: Mapping[str, Counter[str]],
) -> Iterator[Order]:
    """The injections to ask for; the same ones at every start.

    Args:
        sampled: whether the student has answered; otherwise every question counts as failed.
        measured: see `measured_types`; used where `types` is `data_set`.
    """
    stages = ("problems", "grading", "analysis") if sampled else ("problems",)
    for asked, *rest in by_question(folder, *stages):
        problem = Problem(**asked[0].record)
        graded, analysed = rest or ([], [])
        rate = failure_rate(graded) if sampled else 1.0
        if settings.only_failed and not rate:
            continue
        own = Counter(line.record["error_type"] for line in analysed if line.kept)
        weights = _weights(settings, taxonomy, own, measured.get(problem.source, Counter()))
        for number in range(_count(settings, correction, rate or 0.0)):
            draw = random.Random(seed_of(seed, "error type", problem.id, number))
            (error_type,) = draw.choices(list(weights), list(weights.values()))
            yield Order(problem, asked[0].order, number, error_type)


def rows_of(settings: Injection, rate: float) -> int:
    """LEMMA-Hard: how many rows a question of this failure rate gets, from both origins together."""
    return math.floor(rate * settings.k_max + 0.5)  # round() takes 2.5 to 2 and 7.5 to 8


def rows_of_origins(settings: Injection, rate: float) -> dict[Origin, int]:
    """LEMMA-Hard: half of the rows from each origin; the odd one is the student's own."""
    rows = rows_of(settings, rate)
    return {"student": rows - rows // 2, "injected": rows // 2}


def errors_for(rows: int, correction: Correction) -> int:
    """How many errors make so many rows: each makes one with each strategy, but the last only those that are left."""
    return math.ceil(rows / len(correction.strategies))


def _count(settings: Injection, correction: Correction, rate: float) -> int:
    if settings.allocation == "failure_rate":
        return errors_for(rows_of_origins(settings, rate)["injected"], correction)
    return settings.per_question


def _weights(
    settings: Injection, taxonomy: Taxonomy, own: Mapping[str, int], measured: Mapping[str, int]
) -> dict[str, float]:
    chosen: Mapping[str, float]
    if isinstance(settings.types, dict):
        chosen = settings.types
    else:
        chosen = {"question": own, "data_set": measured, "uniform": {}}[settings.types]
    weights = {name: float(chosen.get(name, 0)) for name in taxonomy.injectable}
    return weights if any(weights.values()) else dict.fromkeys(taxonomy.injectable, 1.0)


async def work(item: Order, teacher: Teacher, taxonomy: Taxonomy, verdicts: Verdicts) -> Line:
    problem = item.problem
    name = f"{problem.id}/i{item.number}"
    inputs = {
        "question": problem.question,
        "reference_solution": problem.solution,
        "reference_answer": problem.answer,
        "error_type": item.error_type,
        "error_type_meaning": taxonomy.meaning(item.error_type),
        "number": item.number + 1,
    }

    async def check(fields: dict[str, Any]) -> Attempt:
        steps, wrong_step, explanation = check_injection(fields, inputs)
        text, span = _joined(steps, wrong_step, problem.solution)
        grade = await verdicts.of(problem, text)
        if grade.reason in UNDECIDED:
            raise ReplyFault("undecided", "The final answer cannot be compared with the reference; write it plainly.")
        if grade.correct is not False:
            raise ReplyFault(
                "still_right", "The solution still ends in the right answer; carry the mistake through to the end."
            )
        return Attempt(
            name,
            problem.id,
            "injected",
            text,
            extracted=grade.extracted,
            correct=False,
            error_type=item.error_type,
            explanation=explanation,
            wrong_span=span,
        )

    answer = await teacher.ask("injection", name, inputs, check)
    return answer.line(name, problem.id, item.order)


def _joined(steps: list[str], wrong_step: int, reference: str | None) -> tuple[str, tuple[int, int]]:
    """The steps as one text, in lines where the worked solution has lines, and the span of the wrong one."""
    glue = " " if reference is not None and "\n" not in reference else "\n"
    before = glue.join(steps[: wrong_step - 1])
    start = len(before) + len(glue) if before else 0
    return glue.join(steps), (start, start + len(steps[wrong_step - 1]))


def check_types(types: Any, taxonomy: Taxonomy) -> list[str]:
    """The names among given `injection.types` that cannot be injected."""
    if not isinstance(types, dict):
        return []
    return [name for name in types if name not in taxonomy.injectable]
