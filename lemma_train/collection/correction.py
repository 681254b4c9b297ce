"""Stage correction: each error is noticed and put right, by Fix & Continue, by Fresh & Restart, or by both.

Enters: wrong attempts with their first wrong step, the student's own and injected ones alike. Leaves: drafts in three
parts, whose final answer has been found right and whose structure holds.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lemma_train.collection.asking import Teacher
from lemma_train.collection.filters import fault_of, fault_of_prefix
from lemma_train.collection.graded import attempt_of, failure_rate
from lemma_train.collection.injection import rows_of_origins
from lemma_train.collection.records import Attempt, Draft, Origin, Strategy
from lemma_train.collection.replies import ReplyFault
from lemma_train.collection.reply_checks import check_correction
from lemma_train.collection.settings import Correction, Filters, Injection
from lemma_train.collection.stage_files import Line, by_question
from lemma_train.collection.taxonomy import Taxonomy
from lemma_train.collection.verdicts import Verdicts
from lemma_train.problems import Problem

_SUFFIXES: dict[Strategy, str] = {"fix_and_continue": "fix", "fresh_and_restart": "restart"}


@dataclass(frozen=True)
class Error:
    """One error to correct with one strategy. shown: the solution that the teacher may see, or None."""

    problem: Problem
    order: int
    attempt: Attempt
    strategy: Strategy
    shown: str | None


def items(folder: Path, settings: Correction, injection: Injection, sampled: bool) -> Iterator[Error]:
    stages = [*(("grading", "analysis") if sampled else ()), *(("injection",) if injection.enabled else ())]
    for asked, *lists in by_question(folder, "problems", *stages):
        found = dict(zip(stages, lists, strict=True))
        problem = Problem(**asked[0].record)
        graded = found.get("grading", [])
        errors: dict[Origin, list[Line]] = {
            "student": [line for line in found.get("analysis", []) if line.kept],
            "injected": [line for line in found.get("injection", []) if line.kept],
        }
        most: Mapping[Origin, int | None] = {"student": None, "injected": None}
        if injection.allocation == "failure_rate":
            most = rows_of_origins(injection, failure_rate(graded) or 0.0)
        right = next((line.record["text"] for line in graded if line.kept and line.record["correct"]), None)
        for turn, (origin, lines) in enumerate(errors.items(), start=asked[0].order):
            for line, strategy in _pairs(lines, settings.strategies, most[origin], turn):
                shown = _shown(settings, strategy, problem, right)
                yield Error(problem, asked[0].order, attempt_of(line), strategy, shown)


def _pairs(
    lines: list[Line], strategies: Sequence[Strategy], most: int | None, turn: int
) -> Iterator[tuple[Line, Strategy]]:
    """Each error with each strategy. Where the last one gets fewer of them, they are taken in turn, so that over all
    questions each strategy comes as often as the other."""
    pairs = [(line, strategy) for line in lines for strategy in strategies]
    if most is None or most >= len(pairs):
        return iter(pairs)
    whole = most - most % len(strategies)
    last = [pairs[whole + (turn + i) % len(strategies)] for i in range(most - whole)]
    return iter(pairs[:whole] + last)


def _shown(settings: Correction, strategy: Strategy, problem: Problem, right: str | None) -> str | None:
    if strategy == "fix_and_continue":
        return problem.solution if settings.fix_shows_reference else None
    return {"nothing": None, "reference": problem.solution, "right_sample": right or problem.solution}[
        settings.restart_shows
    ]


async def work(
    item: Error, settings: Correction, limits: Filters, teacher: Teacher, taxonomy: Taxonomy, verdicts: Verdicts
) -> Line:
    problem, attempt = item.problem, item.attempt
    assert attempt.wrong_span is not None and attempt.error_type is not None
    start, end = attempt.wrong_span
    prefix = attempt.text[:end] if settings.truncate else attempt.text
    span = (start, end) if settings.truncate else (start, len(prefix))
    name = f"{attempt.id}/{_SUFFIXES[item.strategy]}"
    # No reply can mend the beginning; none is paid for.
    fault = fault_of_prefix(prefix, span, problem.question, problem.solution, limits)
    if fault is not None:
        return Line(name, problem.id, item.order, False, None, *fault)
    inputs: dict[str, Any] = {
        "question": problem.question,
        "prefix": prefix,
        "wrong_step": attempt.text[start:end],
        "error_type": attempt.error_type,
        "error_type_meaning": taxonomy.meaning(attempt.error_type),
        "explanation": attempt.explanation or "",
    }
    if item.strategy == "fix_and_continue":
        inputs |= {"reference_solution": item.shown, "reference_answer": problem.answer}
    else:
        inputs |= {"right_solution": item.shown}

    async def check(fields: dict[str, Any]) -> Draft:
        reflection, continuation = check_correction(fields, inputs)
        draft = Draft(
            name,
            problem.id,
            attempt.id,
            item.strategy,
            attempt.origin,
            attempt.error_type or "",
            prefix,
            span,
            reflection,
            continuation,
        )
        return await accept(draft, problem, limits, verdicts)

    answer = await teacher.ask(item.strategy, name, inputs, check)
    return answer.line(name, problem.id, item.order)


async def accept(draft: Draft, problem: Problem, limits: Filters, verdicts: Verdicts) -> Draft:
    """The draft, if it is a trajectory: its structure holds and its final answer is right.

    Raises:
        ReplyFault: with the reason why not.
    """
    fault = fault_of(draft, problem.question, problem.solution, limits)
    if fault is not None:
        raise ReplyFault(fault[0], fault[1])
    grade = await verdicts.must_be_right(problem, draft.output)
    return replace(draft, extracted=grade.extracted)
