"""Verdicts that are kept: the grader's answers, in a journal, so that no start grades a second time.

Enters: a problem and a solution. Leaves: a `Grade`. A solution that once ran into a time limit keeps that verdict, on
however fast a machine the collection goes on: the set does not depend on when it was interrupted.
"""

import asyncio
import hashlib

import orjson

from lemma_train.collection.journal import Journal
from lemma_train.collection.replies import ReplyFault
from lemma_train.errors import InputError
from lemma_train.grading.grader import GRADER_VERSION, Grade, Grader
from lemma_train.problems import Problem


class Verdicts:
    """Grades solutions through the journal."""

    def __init__(self, grader: Grader, journal: Journal) -> None:
        self._grader = grader
        self._journal = journal

    async def of(self, problem: Problem, solution: str) -> Grade:
        """The grade of a solution of this problem."""
        told = orjson.dumps([GRADER_VERSION, problem.answer, solution])
        key = hashlib.sha256(told).hexdigest()[:32]
        stored = self._journal.get(key)
        if stored is None:
            grade = await asyncio.wrap_future(self._grader.submit(solution, problem.answer))
            await self._journal.put(
                key, {"extracted": grade.extracted, "correct": grade.correct, "reason": grade.reason}
            )
            return grade
        if not all(isinstance(stored.get(name), str | None) for name in ("extracted", "reason")) or not isinstance(
            stored.get("correct", ""), bool | None
        ):
            raise InputError(
                f"{self._journal.file}: the entry with the key {key} is damaged; delete its line to have the answer "
                "graded again."
            )
        return Grade(stored.get("extracted"), stored["correct"], stored.get("reason"))

    async def must_be_right(self, problem: Problem, solution: str) -> Grade:
        """Raises `ReplyFault("still_wrong")` unless the solution reaches the right answer."""
        grade = await self.of(problem, solution)
        if grade.correct is not True:
            raise ReplyFault(
                "still_wrong",
                f"The solution ends in {grade.extracted!r}, which is not the right answer; work it out again and end "
                "with the right one.",
            )
        return grade
