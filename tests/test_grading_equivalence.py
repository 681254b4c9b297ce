"""When an answer and its reference mean the same, and when they do not."""

import pytest

from lemma_train.grading.equivalence import compare, same_answer
from lemma_train.grading.notation import clean

SAME = [
    # numbers
    *(("18", "18"), ("18.0", "18"), ("1,000", "1000"), ("1{,}000", "1000"), (r"10\,000", "10000"), ("1 000", "1000")),
    *((r"\$18.00", "18"), ("$18", "18"), ("18 dollars", "$18.00"), ("3 apples", "3"), ("18kg", "18"), ("1.", "1")),
    *(
        (r"\frac{1}{2}", "0.5"),
        (r"\frac12", "1/2"),
        (r"\dfrac{3}{4}", "0.75"),
        ("2/4", "1/2"),
        (r"\frac{-1}{2}", "-0.5"),
    ),
    *(("1 1/2", "3/2"), (r"1\frac{1}{2}", "1.5"), ("-1 1/2", "-1.5"), (r"1.5 \times 10^3", "1500"), ("1e3", "1000")),
    *(("2 million", "2,000,000"), ("2^{10}", "1024"), ("\N{MINUS SIGN}4", "-4"), ("4!", "24"), ("2(3)", "6")),
    # units, percent, degrees, times
    *(("18%", "18"), (r"18\%", "18"), ("18 percent", "18"), (r"90^\circ", "90"), ("90 degrees", "90")),
    *(
        (r"5\text{ m}", "5"),
        (r"5\text{ cm}^2", "5"),
        ("5 square feet", "5"),
        (r"12\sqrt{13}\text{ feet}", r"12\sqrt{13}"),
    ),
    *(("3:45 p.m.", "3:45"), (r"3\!:\!45 \text{ p.m.}", "3:45 PM"), ("03:45", "3:45")),
    *(("10:15", "2:3"), ("2:3", "12:18"), ("0 to 10", "0 to 10")),
    # a decimal reference is a rounded one
    *(("1/3", "0.33"), (r"\sqrt{2}", "1.41"), (r"\pi", "3.14")),
    # names
    *(
        ("x = 5", "5"),
        ("5", "x = 5"),
        ("-2x+1", "y = -2x+1"),
        (r"x \in (1,2)", "(1,2)"),
        ("5+3=8", "8"),
        *(("3 x 4 = 12", "12"), ("(3 x 4) x 2 = 24", "24"), ("3 x (4 + 2) = 18", "18"), ("50% of 24 = 12", "12")),
        ("a+b = 7", "7"),
    ),
    *(("f(x) = x+1", "x+1"), ("AB = 12", "12")),
    # lists, sets, tuples, intervals, matrices
    *((r"\{1,2\}", r"\{2,1\}"), ("1, 2", r"\{2,1\}"), ("1 and 2", "2, 1"), ("x=1 or x=-1", r"\pm 1"), (r"\{5\}", "5")),
    *(
        (r"1 \pm \sqrt{2}", r"1-\sqrt2, 1+\sqrt2"),
        (r"(3,\frac{\pi}{2})", r"(3, \pi/2)"),
        ("1,000, 2,000", "1000, 2000"),
    ),
    *((r"(-\infty,1)\cup(2,\infty)", r"(2,\infty) \cup (-\infty,1)"), (r"\left[0,1\right)", "[0, 1)")),
    (r"\begin{pmatrix}1 & 2\\3 & 4\end{pmatrix}", r"\begin{bmatrix} 2/2 & \sqrt{4} \\ 3 & 4.0 \end{bmatrix}"),
    (r"\left[\begin{array}{l}1 \\ 2\end{array}\right]", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"),
    # words and choices
    *((r"\text{Monday}", "Monday"), ("monday", "Monday"), ("the north", "north"), ("(A)", "A"), ("A", r"\text{(A)}")),
    *(("C. 15", "(C)"), ("(C) 15", "C"), ("x", "x")),
    # bases
    *(("1101_2", "1101_{2}"), ("1101", "1101_2")),
    # algebra
    *((r"\sqrt{12}", r"2\sqrt{3}"), ("x^2+2x+1", "(x+1)^2"), ("x(x+1)", "x^2+x"), (r"\sin^2 x+\cos^2 x", "1")),
    *((r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt3}"), ("(1+i)^2", "2i"), (r"\log_2 8", "3"), (r"\binom{5}{2}", "10")),
    *(
        ("e^{2x}", "(e^x)^2"),
        ("x<5", "5>x"),
        (r"x \ge 5", r"[5,\infty)"),
        ("x^2+y^2=1", "y^2+x^2-1=0"),
        ("2*x**2", "2x^2"),
    ),
    (r"\sqrt{2}+\sqrt{3}", r"\sqrt{5+2\sqrt{6}}"),
    *(("2.5x", r"\frac{5}{2}x"), ("sqrt(8)", r"2\sqrt{2}"), ("2pi", r"2\pi")),
]

DIFFERENT = [
    *(
        ("0.5", "50"),
        ("50%", "0.5"),
        ("0.5", "50%"),
        ("5", "15"),
        ("15", "5"),
        ("1/2", "2"),
        ("-4", "4"),
        ("1,0", "10"),
    ),
    *(("0.333", "1/3"), ("3.14", r"\pi"), ("0.754", "0.75"), ("0.54", "0.5"), ("1.4142", r"\sqrt{2}"), ("18.5", "18")),
    *(("2 1/2", "21/2"), ("3", "3:00"), ("3:00", "3"), ("3:45 am", "3:45 pm"), ("10^{-20}", r"2\cdot 10^{-20}")),
    *((r"10^{-20}\pi", r"2\cdot 10^{-20}\pi"), (r"0.0000001\pi", r"0.0000002\pi"), ("0.00000010000001", "0.0000001")),
    *(
        ("x+1", "x"),
        (r"\sqrt2", "2"),
        (r"\sqrt{2}", "1.42"),
        ("-x", "x"),
        ("x", "y"),
        ("A", "a"),
        ("A", "B"),
        ("2(3)", "5"),
    ),
    *(
        ("(1,2)", "(2,1)"),
        ("[1,2]", "(1,2)"),
        ("[0,1)", "[0,1]"),
        (r"\{1,2\}", "(1,2)"),
        ("1,2", "(1,2)"),
        ("(1,2,3)", "(1,2)"),
    ),
    *(("1", "1, 2"), ("1, 2, 2", "1, 2"), (r"\pm 1", "1"), ("x=5", "y=5"), ("2x=10", "5"), ("x-y+2=0", "0")),
    *(("3 x 4 = 13", "12"), ("12 x = 5", "5"), ("5 and 7 = 12", "12")),
    *(("50 cents", "50 dollars"), ("3 hours", "3 minutes"), ("5 m", "5"), ("5x", "5"), ("5 abc", "5")),
    *(
        ("0 to 10", "0 to 20"),
        ("0:5", "0:7"),
        ("0:0", "2:3"),
        ("2:03", "2:3"),
        ("10:15", "3:2"),
        ("0:30", "0:45"),
        ("1:2", "05:10"),
        ("05:10", "1:2"),
    ),
    *(("52_8", "52_9"), ("13", "1101_2"), ("x<5", "x>5"), ("x<5", r"x \le 5"), (r"x>5", r"[5,\infty)")),
    *(
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "(1,2)"),
    ),
    *(
        (r"(-\infty,1)\cup(2,\infty)", r"(-\infty,1)\cup(3,\infty)"),
        ("listen", "silent"),
        ("north", "south"),
        ("even", "odd"),
    ),
    *(
        ("", "5"),
        ("nothing at all", "5"),
        (r"\frac{1}{", "5"),
        ("x'", "x"),
        ("\N{SUPERSCRIPT TWO}", "2"),
        ("\N{ARABIC-INDIC DIGIT FIVE}", "5"),
    ),
    (r"e^{\pi\sqrt{163}}", "262537412640768744"),  # they differ in the 31st digit
    *(("5\N{SUPERSCRIPT TWO}", "52"), ("2 3", "5"), ("2 3", "6"), ("E", "e")),
]


@pytest.mark.parametrize(("answer", "reference"), SAME)
def test_other_spellings_of_the_same_are_right(answer, reference):
    assert same_answer(answer, reference) is True


@pytest.mark.parametrize(("answer", "reference"), DIFFERENT)
def test_what_only_looks_alike_is_wrong(answer, reference):
    assert same_answer(answer, reference) is False


@pytest.mark.parametrize(
    ("answer", "reference"), [("5", ""), ("5", r"\frac{1}{"), ("5", r"5 \heartsuit 6"), ("x", "a ? b")]
)
def test_a_reference_that_cannot_be_read_gives_no_verdict(answer, reference):
    assert same_answer(answer, reference) is None


def test_a_reference_that_cannot_be_read_is_still_matched_by_itself():
    assert same_answer(r"5\heartsuit 6", r"$5 \heartsuit 6$") is True


def test_without_algebra_numbers_are_judged_and_formulas_left_open():
    assert compare("0.5", "1/2") is True
    assert compare("0.5", "1/3") is False
    assert compare(r"\sqrt{12}", r"2\sqrt{3}") is None
    assert compare(r"(1, \sqrt{12})", r"(2, 2\sqrt{3})") is False


def test_algebra_is_asked_about_formulas_only():
    asked = []
    assert compare(r"(1, \sqrt{12}, 3 apples)", r"(1.0, 2\sqrt{3}, 3)", lambda *pair: asked.append(pair) or True)
    assert asked == [(r"\sqrt{12}", r"2\sqrt{3}")]


def test_answers_beyond_2000_characters_are_compared_as_text():
    long = "1+" * 1_500 + "1"
    assert compare(long, f" {long}\n") is True
    assert compare(long, "1501") is False


def test_cleaning_leaves_the_rows_of_a_matrix():
    assert clean(r"\begin{bmatrix} 1\\ 2 \\[2pt] 3 \end{bmatrix}") == r"\begin{bmatrix} 1\\ 2 \\[2pt] 3 \end{bmatrix}"
