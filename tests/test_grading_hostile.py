"""Absurd and hostile answers: each ends, none is executed, and the ones after it are graded as ever."""

import time
from pathlib import Path

import pytest

from lemma_train.grading.algebra import same_expression
from lemma_train.grading.grader import Grader

CODE = [
    "__import__('os').system('touch PWNED')",
    "__import__('pathlib').Path('PWNED').touch()",
    "open('PWNED','w').write('x')",
    "exec(open('PWNED', 'w'))",
    "eval(open('PWNED', 'w'))",
    "(lambda: open('PWNED','w'))()",
    "[open('PWNED','w') for _ in (1,)]",
    "().__class__.__base__.__subclasses__()",
    "Symbol('x').subs(1, open('PWNED','w'))",
    r"\text{open('PWNED','w')}+1",
    r"x_{open('PWNED','w')}+1",
    r"\operatorname{open}(PWNED)",
    r"\operatorname{exec}(x)",
    r"\operatorname{exit}(0)",
    r"\input{PWNED}",
    r"\write18{touch PWNED}",
    r"\immediate\write18{touch PWNED}",
    "`touch PWNED`",
    "$(touch PWNED)",
    "{{config.__class__}}",
    "lambda x: x",
    "import os; os.system('touch PWNED')",
]
ENDLESS = [
    "9^{9^{9^9}}",
    "9**9**9**9",
    "(10^9)!",
    "((10^6)!)!",
    r"\sum_{i=1}^{10^{12}} i",
    r"\prod_{i=1}^{10^{12}} i",
    r"\binom{10^9}{10^8}",
    r"2^{10^{11}}+x",
    r"(x+1)^{10^5}",
    r"\int_0^1 x^x dx",
]
MALFORMED = [
    "(" * 1_900,
    "(" * 20_000,
    "{" * 1_900,
    "{" * 20_000 + "}" * 20_000,
    "\\{" * 900,
    r"\sqrt{" * 250 + "2" + "}" * 250,
    r"\frac{1}{" * 200 + "2" + "}" * 200,
    "x^{" * 400 + "2" + "}" * 400,
    "(" * 900 + "x" + ")" * 900,
    "-" * 1_900 + "x",
    "+".join(["x"] * 900),
    "1," * 900 + "1",
    "9" * 1_900,
    "9" * 5_000,
    "9" * 500_000,
    "1e999999999",
    "1e999",
    "x" + "!" * 300,
    "\x00",
    "1\x002",
    "\ud800",
    "5\udfff",
    "\N{SUPERSCRIPT TWO}" * 100,
    "\N{ARABIC-INDIC DIGIT FIVE}",
    "\N{FULLWIDTH DIGIT FIVE}",
    "\N{RIGHT-TO-LEFT OVERRIDE}5",
    "a" * 1_000_000 + "!",
    " " * 1_000_000,
    "1" + " " * 1_900 + "x",
    "a b " * 450,
    "\\text{" * 300,
    "=" * 1_900,
    "x=" * 900,
    "\\pm" * 600,
    "\\cup" * 450,
    "\\begin{pmatrix}" * 120,
    "\\begin{pmatrix}" + "1&" * 300 + "\\end{pmatrix}",
    "1/0",
    r"\frac{1}{0}",
    "0^{-1}",
    r"\infty-\infty",
]


@pytest.fixture(scope="module")
def grader():
    with Grader(workers=2, timeout_seconds=1.5) as grader:
        yield grader


@pytest.fixture
def empty_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ends_within(seconds: float, begin: float) -> bool:
    return time.monotonic() - begin < seconds


@pytest.mark.parametrize("answer", CODE + MALFORMED, ids=lambda answer: ascii(answer[:20]))
def test_each_is_wrong_in_bounded_time_and_runs_nothing(grader, empty_folder, answer):
    begin = time.monotonic()
    for reference in ("72", r"2\sqrt{3}"):
        assert grader.grade_answer(answer, reference).correct is False
        assert grader.grade(rf"So \boxed{{{answer}}}. The answer is {answer}.", reference).correct is False
    grader.grade_answer("5", answer)
    assert ends_within(60, begin)
    assert list(empty_folder.iterdir()) == []
    assert grader.grade_answer(r"\sqrt{12}", r"2\sqrt{3}").correct is True


@pytest.mark.slow
@pytest.mark.parametrize("answer", ENDLESS)
def test_what_would_never_end_is_wrong_and_the_next_is_right(grader, empty_folder, answer):
    begin = time.monotonic()
    graded = [grader.submit_answer(given, r"2\sqrt{3}") for given in (r"\sqrt{12}", answer, answer, r"\sqrt{12}", "7")]
    assert [grade.result().correct for grade in graded] == [True, False, False, True, False]
    assert ends_within(120, begin)
    assert list(empty_folder.iterdir()) == []


@pytest.mark.parametrize("text", CODE)
def test_code_does_not_pass_the_gate_of_the_parser(text):
    assert same_expression("1", text) is None
    assert same_expression(text, "1") is False
