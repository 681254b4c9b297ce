"""Every GSM8K and MATH training solution is right against its own reference."""

import itertools
import json
import re

import pytest

from lemma_train.grading.extraction import extract_reference
from lemma_train.grading.grader import Grader

# Two solutions of MATH end in an empty box: these have no reference answer.
MATH_WITHOUT_ANSWER = 2


@pytest.fixture(scope="module")
def grader():
    with Grader(workers=1) as grader:
        yield grader


@pytest.fixture(scope="module")
def gsm8k(shared_data):
    rows = [json.loads(line) for line in (shared_data / "gsm8k_train.jsonl").read_text().splitlines()]
    assert len(rows) == 7_473
    return [(row["answer"], row["answer"].rpartition("####")[2].strip()) for row in rows]


@pytest.fixture(scope="module")
def math(shared_data):
    rows = [json.loads(line) for line in (shared_data / "math_train.jsonl").read_text().splitlines()]
    pairs = [(row["solution"], extract_reference(row["solution"])) for row in rows]
    assert len(pairs) == 7_500 and sum(answer is None for _, answer in pairs) == MATH_WITHOUT_ANSWER
    return [(solution, answer) for solution, answer in pairs if answer is not None]


def not_right(grader, pairs):
    graded = [(pair, grader.submit(*pair)) for pair in pairs]
    return [(pair, grade.result()) for pair, grade in graded if grade.result().correct is not True]


@pytest.mark.parametrize("name", ["gsm8k", "math"])
def test_solutions_are_right_against_their_answers_and_themselves(name, grader, request):
    pairs = request.getfixturevalue(name)
    assert not_right(grader, pairs) == []
    assert not_right(grader, [(solution, solution) for solution, _ in pairs]) == []


@pytest.mark.parametrize("name", ["gsm8k", "math"])
@pytest.mark.parametrize(
    "sentence",
    [
        "The answer is {}.",
        "So the answer is ${}$.",
        "Final Answer: The final answer is ${}$. I hope it is correct.",
        "**Answer:** {}",
        "Hence it is $\\boxed{{{}}}$, which was to be found in 3 steps.",
        "\\boxed{{0}} was wrong. The answer is: {}",
    ],
)
def test_bare_answers_are_right_in_every_sentence(name, sentence, grader, request):
    pairs = request.getfixturevalue(name)
    assert not_right(grader, [(sentence.format(answer), answer) for _, answer in pairs]) == []


def test_worked_solutions_without_a_statement_end_in_their_answer(grader, gsm8k):
    """Their last number, be it "$12/6 = $2" or "17 000 cars"; in 205 of 7,473 another number comes last."""
    bare = [(re.sub(r"<<[^<>]*>>", "", text.rpartition("####")[0]).strip(), answer) for text, answer in gsm8k]
    assert len(not_right(grader, bare)) <= 205


def test_the_answer_of_another_question_is_wrong(grader, gsm8k, math):
    """Neighbours with different answers; a few of MATH's differ in nothing but a unit or a name."""
    for pairs, most in ((gsm8k, 0), (math, 8)):
        answers = [answer for _, answer in pairs]
        others = [(a, b) for a, b in itertools.pairwise(answers) if a.replace(",", "") != b.replace(",", "")]
        graded = [(pair, grader.submit_answer(*pair)) for pair in others]
        same = [pair for pair, grade in graded if grade.result().correct is not False]
        assert len(same) <= most, same
