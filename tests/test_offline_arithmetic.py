"""Arithmetic in text: what is read as an equation, what it comes to, and what is left alone."""

from fractions import Fraction

import pytest

from lemma_train.llm.offline.arithmetic import MAX_TEXT, evaluate, tokens_of
from lemma_train.llm.offline.equations import equations_of
from lemma_train.llm.offline.figures import Figures, written_like


@pytest.mark.parametrize(
    ("text", "equations"),
    [
        ("5 + 7 = 12", ["5 + 7 = 12"]),
        ("-3 + 7 = 4. 4 - 9 = -5.", ["-3 + 7 = 4", "4 - 9 = -5"]),
        ("Mia has 87 x 15= 1305 figs", ["87 * 15 = 1305"]),
        ("3 apples * 2 = 6 apples", ["3 * 2 = 6"]),
        ("She pays 16 balls * $11/ball = $176.", ["16 * $11 = $176"]),
        ("1,200 + 300 = 1,500 square feet", ["1,200 + 300 = 1,500"]),
        ("half is 10 \u00f7 4 = 2.5 and 2 \u00d7 3 = 6 and 9 \u2212 4 = 5", ["10 / 4 = 2.5", "2 * 3 = 6", "9 - 4 = 5"]),
        ("20% of 50 = 10", ["20% * 50 = 10"]),
        ("2 + 3 = 5 + 1 = 6", ["2 + 3 = 5", "5 + 1 = 6"]),
        ("2 * (3 + 4) = 2 * 7 = 14", ["2 * (3 + 4) = 2 * 7", "2 * 7 = 14"]),
        ("2(3 + 4) = 14", ["2 * (3 + 4) = 14"]),
        (r"$\frac{3}{4} \cdot 8 = \boxed{6}$ and $2 \times 3 = 6$", ["(3 / 4) * 8 = 6", "2 * 3 = 6"]),
        ("Joe = 0.5 * 20 + 2 = 12 points", ["0.5 * 20 + 2 = 12"]),
        ("2 hours = 120 minutes", ["2 = 120"]),
        ("1. 4 + 4 = 8\n2. 8 + 1 = 9", ["4 + 4 = 8", "8 + 1 = 9"]),
        ("On day 2 = 50", []),
        ("x + 5 = 12, 3y = 12, Mary + 5 = 7", []),
        ("The 3rd of May = 7 days", []),
    ],
)
def test_equations_are_read_with_units_chains_and_signs(text, equations):
    found = equations_of(text)
    assert [equation.plain for equation in found] == equations
    assert all(equation.holds for equation in found)
    for equation in found:
        assert 0 <= equation.left.start < equation.left.end <= equation.right.start < equation.right.end <= len(text)


@pytest.mark.parametrize("text", ["5 + 7 = 13", "7 / 2 = 3", "20% of 50 = 12", "1 / 3 = 0.34", "10 * 4 = 4"])
def test_untrue_equations_do_not_hold(text):
    (equation,) = equations_of(text)
    assert not equation.holds


@pytest.mark.parametrize("text", ["1 / 3 = 0.33", "2 / 3 = 0.67", "4 * 25 cents = $1", "20 / 50 * 100 = 40%"])
def test_rounding_and_units_are_no_fault(text):
    (equation,) = equations_of(text)
    assert equation.holds


@pytest.mark.parametrize(
    "text",
    [
        "9^9^9^9 = 1",
        "9999^9999 = 1",
        "2 ^ 1000000000 = 1",
        "1 / 0 = 1",
        "(" * 2000 + "1" + ")" * 2000 + " = 1",
        "1" * 5000 + " + 1 = 2",
        "1 +" * 500 + " 1 = 501",
        "__import__('os').system('true') = 5",
        "\u0663 + \u0664 = \u0667",
        "\u00b2\u00b3 = 6",
        "1 + 2 = " * (MAX_TEXT // 4),
        "=" * 1000,
        "",
    ],
)
def test_what_is_out_of_bounds_is_left_alone(text):
    assert equations_of(text) == []


def test_evaluation_takes_other_values_for_its_numbers():
    tokens = tokens_of("2 + 3 * 4")
    assert evaluate(tokens) == 14
    assert evaluate(tokens, {tokens[2].start: Fraction(10)}) == 42
    assert evaluate(tokens[:2]) is None


def test_figures_are_found_in_digits_words_and_percentages():
    figures = Figures.of("Twenty-five of the 40 pens, 20% of them red, cost twice as much as a dozen nails.")
    assert all(figures.has(Fraction(n)) for n in (25, 40, 2, 12))
    assert figures.derives(Fraction(4, 5)) and figures.derives(Fraction(80))
    assert not figures.has(Fraction(41)) and not figures.derives(Fraction(41))


@pytest.mark.parametrize(
    ("old", "value", "new"),
    [
        ("7", "12", "12"),
        ("1,500", "12000", "12,000"),
        ("$4.50", "3", "3.00"),
        ("$7", "7/2", "3.50"),
        ("0.2", "2/5", "0.4"),
        ("25%", "1/2", "50"),
        ("7", "-3", "-3"),
        ("7", "1/3", None),
    ],
)
def test_numbers_are_written_as_the_old_ones_were(old, value, new):
    (number,) = [token for token in tokens_of(old) if token.kind == "num"]
    assert written_like(number, Fraction(value)) == new
