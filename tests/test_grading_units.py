"""Units taken off, converted, and amounts in two of them."""

from fractions import Fraction

import pytest

from lemma_train.grading.units import conversion, read_amount, split_unit


@pytest.mark.parametrize(
    ("text", "number", "unit"),
    [
        ("18 dollars", "18", "dollar"),
        ("2 million people", "2 million", ""),
        ("3.5 million dollars", "3.5 million", "dollar"),
        ("2 million", "2 million", None),
        ("3/4 of a cup", "3/4", ""),
        ("5 m/s", "5", ""),
        ("5 x/y", "5 x/y", None),
        ("5m", "5m", None),
        ("5 not", "5 not", None),
        ("apples", "apples", None),
    ],
)
def test_a_unit_is_taken_off_and_what_belongs_to_the_number_stays(text, number, unit):
    assert split_unit(text) == (number, unit)


def test_units_of_one_kind_are_converted():
    assert conversion("hour", "minute") == 60
    assert conversion("inch", "foot") == Fraction(1, 12)
    assert conversion("hour", "mile") is None and conversion("", "hour") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2 hours 30 minutes", 9000),
        ("2 hours and 30 minutes", 9000),
        ("2h 30min", 9000),
        ("1 hour, 15 minutes, 20 seconds", 4520),
        ("5 ft. 4 in.", 64),
        ("3 dollars and 50 cents", 350),
        ("1 1/2 hours 3 minutes", 5580),
    ],
)
def test_an_amount_in_several_units_is_one_exact_number(text, value):
    amount = read_amount(text)
    assert amount is not None and amount.value == value


@pytest.mark.parametrize("text", ["2 hours", "30 minutes 2 hours", "2 hours 3 hours", "2 hours 3 miles", "2 h x", ""])
def test_other_texts_are_no_such_amount(text):
    assert read_amount(text) is None
