"""Answers become records: the lines of `samples.jsonl`, each with its verdicts and what it does about its own errors.

Enters: questions, and a reply to each of their samples. Leaves: one dictionary an answer, in the order of the
questions. It asks no model and counts nothing.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from lemma_train.evaluation.authors_rules import authors_verdict
from lemma_train.evaluation.benchmark_entries import Chosen
from lemma_train.evaluation.benchmarks import Question
from lemma_train.evaluation.responses import Answered
from lemma_train.evaluation.scorecard import judge
from lemma_train.grading.grader import Grade, Grader

_AHEAD = 256  # answers that the grader's workers get before the first verdict is waited for
# Equal to no reference that can be read, and never equal by its letters: only an unreadable reference leaves it open.
NOBODYS_ANSWER = r"\sqrt{123457}+\pi^{11}"


def records(chosen: Chosen, count: int, answers: Sequence[Answered], grader: Grader) -> Iterator[dict[str, Any]]:
    """The record of each answer; `count` of them belong to each question.

    Whether a reference can be read is asked once for each question, without its answers: an answer that is equal to an
    unreadable reference letter for letter would count as right, and no other could count as wrong.
    """
    asked = [(question, k) for question in chosen.questions for k in range(count)]
    readable = [grader.submit_answer(NOBODYS_ANSWER, question.reference) for question in chosen.questions]
    verdicts: list[Future[Grade]] = []
    for number in range(len(asked) + _AHEAD):
        if number < len(asked):
            verdicts.append(grader.submit(_finished(answers[number]), asked[number][0].reference))
        at = number - _AHEAD
        if 0 <= at < len(asked):
            (question, sample), grade = asked[at], verdicts[at].result()
            if readable[at // count].result().correct is None:
                grade = Grade(grade.extracted, None, "unreadable_reference")
            yield _record(chosen.name, question, sample, answers[at], grade, grader)


def _finished(answered: Answered) -> str:
    """The answer without a number at its end at which the limit of tokens cut it off: "The answer is 1" may be the
    beginning of 12."""
    text = answered.text.strip()
    torn = answered.finish_reason == "length" and text[-1:].isdigit()
    return text.rstrip("0123456789.,/") if torn else text


def _record(
    benchmark: str, question: Question, number: int, answered: Answered, grade: Grade, grader: Grader
) -> dict[str, Any]:
    response = answered.text.strip()
    authors_extracted, authors_correct = authors_verdict(response, question.reference)
    told = judge(response, question.question, question.reference, question.solution, grader, grade.correct)
    if grade.correct is None:
        told |= {"correct_before": None, "decided_by": None, "outcome": None, "error_type": None}
    return {
        "id": f"{question.id}/{number}",
        "question_id": question.id,
        "benchmark": benchmark,
        "sample": number,
        "question": question.question,
        "reference": question.reference,
        "level": question.level,
        "subject": question.subject,
        "response": response,
        "finish_reason": answered.finish_reason,
        "prompt_tokens": answered.prompt_tokens,
        "completion_tokens": answered.completion_tokens,
        "extracted": grade.extracted,
        "correct": grade.correct,
        "grade_reason": grade.reason,
        "authors_extracted": authors_extracted,
        "authors_correct": authors_correct,
        **told,
        "error_type_by": "rules" if told["error_type"] else None,
    }
