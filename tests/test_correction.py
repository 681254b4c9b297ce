"""Correction: what is asked of the teacher, and what is not."""

import asyncio

import pytest

from lemma_train.collection import correction
from lemma_train.collection.records import Attempt
from lemma_train.collection.settings import Correction, Filters
from lemma_train.collection.taxonomy import load_taxonomy
from lemma_train.problems import Problem

PROBLEM = Problem(
    "p", "Ben has 84 cards and sells 50. How many are left?", "34", "84 - 50 = 34. The answer is 34.", "own"
)


class Asked(Exception):
    """The teacher was asked."""


class Listening:
    """A teacher that only hears what is asked."""

    async def ask(self, task, item, inputs, check):
        raise Asked(task, inputs)


def corrected(text, span, truncate=True, strategy="fix_and_continue"):
    attempt = Attempt("p/s0", "p", "student", text, error_type="calculation_error", explanation="", wrong_span=span)
    item = correction.Error(PROBLEM, 0, attempt, strategy, None)
    settings = Correction(truncate=truncate)
    return asyncio.run(correction.work(item, settings, Filters(), Listening(), load_taxonomy(), None))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("He has <<84-50=44>>44 left. The answer is 44.", "markup"),
        ("84 - 50 = 34. The answer is 44.", "prefix_is_right"),
    ],
)
def test_a_beginning_that_no_reply_can_save_costs_no_reply(text, reason):
    line = corrected(text, (0, text.index(" The")))
    assert (line.id, line.kept, line.reason, line.calls) == ("p/s0/fix", False, reason, [])


def test_the_wrong_solution_is_cut_off_after_its_first_wrong_step():
    text = "There are 84. 84 - 50 = 44. The answer is 44."
    span = (text.index("84 -"), text.index(" The"))
    with pytest.raises(Asked) as cut:
        corrected(text, span)
    with pytest.raises(Asked) as whole:
        corrected(text, span, truncate=False)
    for asked, prefix in ((cut, text[: span[1]]), (whole, text)):
        task, inputs = asked.value.args
        assert (task, inputs["prefix"], inputs["wrong_step"]) == ("fix_and_continue", prefix, "84 - 50 = 44.")


def test_a_fresh_start_is_asked_for_without_the_right_answer():
    with pytest.raises(Asked) as asked:
        corrected("84 - 50 = 44. The answer is 44.", (0, 13), strategy="fresh_and_restart")
    task, inputs = asked.value.args
    assert task == "fresh_and_restart" and inputs["right_solution"] is None and "reference_answer" not in inputs
