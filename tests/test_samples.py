"""Answers become records: which verdicts stand in them."""

import pytest

from lemma_train.evaluation.benchmark_entries import Chosen
from lemma_train.evaluation.benchmarks import Question
from lemma_train.evaluation.responses import Answered
from lemma_train.evaluation.samples import records
from lemma_train.grading.grader import Grader


@pytest.fixture(scope="module")
def grader():
    with Grader() as one:
        yield one


def made(reference, answers, grader, count=None):
    chosen = Chosen("b", [], [Question("b-1", "b", "How much is it?", reference)])
    replies = [Answered(f" The answer is {answer}.", "stop", 5, 7) for answer in answers]
    return list(records(chosen, count or len(answers), replies, grader))


def test_an_unreadable_reference_takes_no_part_whatever_is_answered(grader):
    """Equal to the letter is no proof: if only such answers counted, accuracy could but rise."""
    found = made(r"\foo{bar @ baz", [r"\foo{bar @ baz", "7", "nothing"], grader)
    assert [one["correct"] for one in found] == [None] * 3
    assert {one["grade_reason"] for one in found} == {"unreadable_reference"}
    assert not any(one["outcome"] or one["error_type"] for one in found)


@pytest.mark.parametrize("reference", ["12", r"\frac{3}{4}", "Purple", r"x^2+1", "3:30 p.m.", "(1, 2)", r"\sqrt{2}"])
def test_a_readable_reference_is_graded(grader, reference):
    assert [one["correct"] for one in made(reference, [reference, "17"], grader)] == [True, False]


def test_the_records_keep_the_order_of_questions_and_samples(grader):
    questions = [Question(f"b-{i}", "b", "?", str(i % 7)) for i in range(300)]
    replies = [Answered(f"The answer is {k}.", "stop") for i in range(300) for k in (i % 7, 9)]
    found = list(records(Chosen("b", [], questions), 2, replies, grader))
    assert [one["id"] for one in found] == [f"b-{i}/{k}" for i in range(300) for k in (0, 1)]
    assert [one["correct"] for one in found] == [True, False] * 300


def test_a_refused_prompt_is_a_wrong_answer_that_says_so(grader):
    chosen = Chosen("b", [], [Question("b-1", "b", "?", "12")])
    (one,) = records(chosen, 1, [Answered("", "rejected")], grader)
    assert (one["correct"], one["finish_reason"], one["response"]) == (False, "rejected", "")


@pytest.mark.parametrize(
    ("text", "finish_reason", "correct"),
    [
        ("The answer is 1", "length", False),  # it may have been going to be 12
        ("The answer is 1", "stop", True),
        ("The answer is 1. It", "length", True),
        ("The answer is 1.", "length", True),
    ],
)
def test_a_number_that_the_limit_cut_off_is_no_answer(grader, text, finish_reason, correct):
    chosen = Chosen("b", [], [Question("b-1", "b", "How much is it?", "1")])
    (one,) = records(chosen, 1, [Answered(text, finish_reason, 5, 7)], grader)
    assert (one["correct"], one["response"]) == (correct, text)
