"""Stage grading: each of the student's answers gets a verdict.

Enters: the student's attempts. Leaves: the same attempts with `extracted` and `correct`; set aside are answers that
were cut off, repeat an earlier one of the same question, or cannot be graded. They still count for the failure rate
where their verdict is known.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lemma_train.collection.records import Attempt
from lemma_train.collection.stage_files import Line, by_question
from lemma_train.collection.verdicts import Verdicts
from lemma_train.grading.grader import UNDECIDED
from lemma_train.problems import Problem


@dataclass(frozen=True)
class Answered:
    """One answer to grade. repeats: whether an earlier sample of the question says the same."""

    problem: Problem
    sample: Line
    repeats: bool


def items(folder: Path) -> Iterator[Answered]:
    for (asked,), samples in by_question(folder, "problems", "sampling"):
        problem = Problem(**asked.record)
        seen: set[bytes] = set()
        for sample in samples:
            if sample.kept:
                said = hashlib.sha256(sample.record["text"].encode(errors="surrogatepass")).digest()
                yield Answered(problem, sample, said in seen)
                seen.add(said)


async def work(item: Answered, verdicts: Verdicts) -> Line:
    grade = await verdicts.of(item.problem, item.sample.record["text"])
    # What algebra could not decide counts as wrong where right answers are kept; here the wrong ones are.
    undecided = grade.reason in UNDECIDED
    correct = None if undecided else grade.correct
    attempt = replace(attempt_of(item.sample), extracted=grade.extracted, correct=correct)
    reason = (
        "cut_off"
        if attempt.finish_reason == "length"
        else "repeats_a_sample"
        if item.repeats
        else "undecided"
        if undecided
        else "ungradable"
        if correct is None
        else None
    )
    return replace(item.sample, kept=reason is None, record=attempt, reason=reason, detail=grade.reason, calls=[])


def attempt_of(line: Line) -> Attempt:
    """The attempt that a line holds; JSON knows no tuples."""
    span = line.record["wrong_span"]
    return Attempt(**{**line.record, "wrong_span": tuple(span) if span else None})


def failure_rate(graded: list[Line]) -> float | None:
    """The share of wrong answers among those with a verdict, or None where there is none."""
    verdicts = [line.record["correct"] for line in graded if line.record["correct"] is not None]
    return verdicts.count(False) / len(verdicts) if verdicts else None
