"""What the grader could not decide is no error: neither of the student's answers nor of the teacher's injections."""

import asyncio
from dataclasses import asdict

import pytest

from lemma_train.collection import graded, injection
from lemma_train.collection.records import Attempt
from lemma_train.collection.replies import ReplyFault
from lemma_train.collection.stage_files import Line
from lemma_train.collection.taxonomy import load_taxonomy
from lemma_train.grading.grader import UNDECIDED, Grade
from lemma_train.problems import Problem

PROBLEM = Problem("q", "How much is 3 + 4?", "7", "3 + 4 = 7. The answer is 7.", "own")


class Told:
    """Verdicts that are given beforehand: a time limit cannot be met at will."""

    def __init__(self, grade: Grade):
        self.grade = grade

    async def of(self, problem: Problem, solution: str) -> Grade:
        return self.grade


class Checked:
    """What passed the check; its line is the attempt itself."""

    def __init__(self, attempt: Attempt):
        self.attempt = attempt

    def line(self, *_) -> Attempt:
        return self.attempt


class Teacher:
    """Replies with one wrong solution, and hands on what the check says of it."""

    async def ask(self, task, name, inputs, check):
        steps = ["3 + 4 = 8.", "The answer is 8."]
        return Checked(
            await check({"steps": steps, "wrong_step": 1, "explanation": "The sum of 3 and 4 is 7 and not 8."})
        )


def line_of(grade: Grade) -> Line:
    sample = Line("q/s0", "q", 0, True, asdict(Attempt("q/s0", "q", "student", "3 + 4 = 8. The answer is 8.")))
    return asyncio.run(graded.work(graded.Answered(PROBLEM, sample, repeats=False), Told(grade)))


@pytest.mark.parametrize("reason", UNDECIDED)
def test_an_answer_without_a_verdict_is_set_aside_and_no_failure(reason):
    line = line_of(Grade("8", False, reason))
    assert (line.kept, line.reason, line.detail, line.record.correct) == (False, "undecided", reason, None)
    assert graded.failure_rate([Line(line.id, "q", 0, False, asdict(line.record))]) is None


@pytest.mark.parametrize(
    ("grade", "kept", "reason"),
    [
        (Grade("8", False), True, None),
        (Grade(None, False, "no_answer"), True, None),
        (Grade("8", None, "unreadable_reference"), False, "ungradable"),
    ],
)
def test_other_verdicts_stay_what_they_are(grade, kept, reason):
    line = line_of(grade)
    assert (line.kept, line.reason, line.record.correct) == (kept, reason, grade.correct)


@pytest.mark.parametrize("reason", UNDECIDED)
def test_an_injection_that_is_not_known_to_be_wrong_is_asked_for_again(reason):
    order = injection.Order(PROBLEM, 0, 0, "calculation_error")
    asked = Teacher(), load_taxonomy()
    with pytest.raises(ReplyFault, match="cannot be compared with the reference; write it plainly") as fault:
        asyncio.run(injection.work(order, *asked, Told(Grade("8", False, reason))))
    assert fault.value.reason == "undecided"
    with pytest.raises(ReplyFault, match="carry the mistake through"):
        asyncio.run(injection.work(order, *asked, Told(Grade("7", True))))
    assert asyncio.run(injection.work(order, *asked, Told(Grade("8", False)))).correct is False
