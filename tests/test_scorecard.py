"""The scorecard: what counts as repaired, spoiled, wrong both times or idle doubt."""

from dataclasses import replace

import pytest

from lemma_train.evaluation.scorecard import judge, scorecard
from lemma_train.grading.grader import Grader

QUESTION, SOLUTION = "Ada has 3 pens, gets 4 and then 5. How many has she?", "3 + 4 = 7. 7 + 5 = 12. The answer is 12."


@pytest.fixture(scope="module")
def grader():
    with Grader() as one:
        yield one


@pytest.mark.parametrize(
    "response",
    [
        "We need the sum of 3, 4 and 5, so 12 pens. Wait, I misread that. The answer is 12.",
        "There are 12 months in a year. Wait, let me check that. 3 + 4 = 7. 7 + 5 = 12. The answer is 12.",
        "Half of 24 is 24/2 = 12. Wait, I made a mistake. 3 + 4 = 7. 7 + 5 = 12. The answer is 12.",
        "25/2 = 12 remainder 1. Wait, let me check that. 3 + 4 = 7. 7 + 5 = 12. The answer is 12.",
    ],
)
def test_the_references_number_in_another_place_decides_nothing(response, grader):
    told = judge(response, QUESTION, "12", None, grader)
    assert (told["reflects"], told["outcome"], told["correct_before"]) == (True, None, None)


@pytest.mark.parametrize(
    ("response", "outcome", "before"),
    [
        ("3 + 4 = 8. Wait, that is not right. 3 + 4 = 7. 7 + 5 = 12. The answer is 12.", "repaired", False),
        ("The answer is 13. Wait, that is not right. The answer is 12.", "repaired", False),
        ("The answer is 12. Wait, that is not right. The answer is 13.", "spoiled", True),
        ("The answer is 13. Wait, that is not right. The answer is 14.", "wrong_both", False),
        ("The final answer should be 13. Wait, I made a mistake. It is \\boxed{12}.", "repaired", False),
        ("The answer is 12. Wait, let me check that. Yes. The answer is 12.", "idle_doubt", True),
        ("3 + 4 = 7. 7 + 5 = 12. The answer is 12.", None, None),
    ],
)
def test_an_answer_that_reflects_has_one_of_four_outcomes(response, outcome, before, grader):
    told = judge(response, QUESTION, "12", SOLUTION, grader)
    assert (told["outcome"], told["correct_before"]) == (outcome, before)
    assert told["reflects"] == (outcome is not None)


@pytest.mark.parametrize(
    "before",
    [
        "We know f(3) = 10.",
        "The side of the square is sqrt(49) = 7 cm.",
        "20 + 10 = 2 * n.",
        "He works 1 1/2 * 4 = 6 hours.",
        "It ends at 8:00 + 45 minutes = 8:45.",
        "That is 3 hours + 30 minutes = 3.5 hours.",
        "He has 2 quarters + 1 dime = 60 cents.",
        "The price is $50 - 20% = $40.",
        "Twice 8 + 2 = 18.",
    ],
)
def test_a_sum_that_is_not_read_whole_decides_nothing(before, grader):
    told = judge(f"{before} Wait, let me check that. The answer is 12.", QUESTION, "12", None, grader)
    assert (told["reflects"], told["outcome"]) == (True, None)


@pytest.mark.parametrize(
    "before",
    [
        "That makes 5 * 6 = 36 eggs.",
        "So $5 * 6 = $36.",
        "3 pens + 4 pens = 8 pens.",
        "Start with 3.\n3 + 4 = 8.",
        "16 balls * $11/ball = $180.",
        "So 3 + 4 + 5 = 13.",
    ],
)
def test_a_sum_that_is_not_true_was_wrong_before(before, grader):
    told = judge(f"{before} Wait, let me check that. The answer is 12.", QUESTION, "12", None, grader)
    assert (told["outcome"], told["decided_by"]) == ("repaired", "step_check")


def test_a_text_that_the_grader_could_not_decide_is_no_wrong_one(grader):
    class Slow:
        def grade(self, text, reference):
            found = grader.grade(text, reference)
            return replace(found, correct=False, reason="timeout") if "12." not in text else found

    text = "The answer is 13. Wait, that is not right. The answer is 12."
    assert judge(text, QUESTION, "12", None, grader)["outcome"] == "repaired"
    assert judge(text, QUESTION, "12", None, Slow())["outcome"] is None


def test_rates_are_over_what_they_say(grader):
    texts = ["The answer is 13. Wait, that is not right. The answer is 12."] * 3
    texts += ["The answer is 13. Wait, that is not right. The answer is 14."]
    texts += ["The answer is 12. Wait, that is not right. The answer is 13."] * 2
    texts += ["The answer is 12."] * 4
    card = scorecard([judge(text, QUESTION, "12", SOLUTION, grader) for text in texts])
    assert (card["reflects"]["k"], card["reflects"]["n"]) == (6, 10)
    assert (card["repair_rate"]["k"], card["repair_rate"]["n"]) == (3, 4)
    assert (card["spoil_rate"]["k"], card["spoil_rate"]["n"]) == (2, 2)
    assert card["repair_rate"]["low"] < 0.75 < card["repair_rate"]["high"]


def test_samples_of_one_question_say_less_than_questions_of_their_own(grader):
    told = judge("The answer is 13. Wait, that is not right. The answer is 12.", QUESTION, "12", SOLUTION, grader)
    apart = scorecard([told] * 12)["repair_rate"]
    alike = scorecard([{**told, "question_id": f"q{number % 3}"} for number in range(12)])["repair_rate"]
    assert (apart["k"], apart["n"]) == (alike["k"], alike["n"]) == (12, 12)
    assert alike["low"] < apart["low"] and alike["low"] == scorecard([told] * 3)["repair_rate"]["low"]
