"""Values of a results.json: a damaged one counts as missing."""

import pytest
from finished_runs import share

from lemma_train.evaluation.result_values import Proportion, at, number, proportion


def test_values_are_looked_up_through_what_is_no_mapping():
    assert at({"a": {"b": 1}}, "a", "b") == 1
    for damaged in (None, 5, "ab", [1], {"a": None}, {"a": [1]}):
        assert at(damaged, "a", "b") is None


@pytest.mark.parametrize("value", [None, "5", True, [5], float("nan"), float("inf"), 1e300, 10**400, -(10**400)])
def test_what_is_no_number_of_a_size_that_occurs_is_none(value):
    assert number(value) is None
    assert proportion(value) == proportion({"value": value}) == Proportion()


def test_proportions_may_be_bare_numbers():
    told = share(3, 4)
    assert proportion(told) == Proportion(0.75, told["low"], told["high"], 4, 3)
    assert proportion(0.5) == Proportion(0.5)


def test_a_share_below_0_or_above_1_and_half_an_interval_are_none():
    assert proportion(1.5).value is proportion(-0.1).value is None
    assert proportion({"value": 0.5, "low": 0.4, "high": None, "n": "5", "k": 2}) == Proportion(0.5, k=2)
    assert proportion({"value": 0.5, "low": -0.4, "high": 0.6, "n": -3}) == Proportion(0.5)
