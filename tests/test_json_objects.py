r"""JSON objects in a reply, and what becomes of LaTeX that was written with one backslash."""

import json

import pytest

from lemma_train.collection.json_objects import json_objects


def read(body: str) -> str:
    """The value of the object {"a": "<body>"}, with the body exactly as a model wrote it."""
    (found,) = json_objects(f'{{"a": "{body}"}}')
    return found["a"]


@pytest.mark.parametrize(
    "latex",
    [
        *(
            r"\frac{1}{2}",
            r"\boxed{5}",
            r"\binom{5}{2}",
            r"\begin{align}x\end{align}",
            r"\bar{x}",
            r"\forall x",
            r"\b5",
        ),
        *(r"\neq 3", r"$a \nu b$", r"$a \ne b$", r"\not= 2", r"\notin A", r"\nabla f", r"$x \nmid y$"),
        *(r"\times 3", r"\theta_1", r"\text{cm}", r"\tan x", r"\tfrac12", r"\to 0", r"\triangle ABC", r"\therefore x"),
        *(
            r"\right)",
            r"\rightarrow",
            r"\rho",
            r"\rfloor",
            r"\sqrt{2}",
            r"\cdot",
            r"\left(",
            r"\pi",
            r"\(x\)",
            r"\[x\]",
        ),
        *(
            r"5\% of \$3",
            r"\{1, 2\}",
            r"\underline{x}",
            r"\upsilon",
            r"\ ",
            r"\,",
            r"\;",
            r"C:\path",
            r"\le 5",
            r"\x41",
        ),
    ],
)
def test_a_command_with_one_backslash_keeps_it_and_with_two_loses_one(latex):
    assert read(f"so {latex} is") == f"so {latex} is"
    assert read(json.dumps(f"so {latex} is")[1:-1]) == f"so {latex} is"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (r"3.\nNext", "3.\nNext"),
        (r"3.\nnot all", "3.\nnot all"),
        (r"3.\nnumber 5", "3.\nnumber 5"),
        (r"3.\nless is", "3.\nless is"),
        (r"3.\n\nu = 5", "3.\n\nu = 5"),
        (r"3.\ne = 2.7", "3.\ne = 2.7"),
        (r"3.\n$x$ and\nu", "3.\n$x$ and\nu"),
        (r"a\tb", "a\tb"),
        (r"a\r\nb", "a\r\nb"),
        (r"a\n5", "a\n5"),
        (r"\"x\" \/ y", '"x" / y'),
        (r"caf\u00e9", "caf\u00e9"),
        (r"\\\\frac", r"\\frac"),
        (r"\\nNext", r"\nNext"),
        (r"$x \\ge 3$, $\nu = 2", "$x \\ge 3$, $\nu = 2"),
    ],
)
def test_other_escapes_mean_what_json_says(written, text):
    assert read(written) == text


def test_a_newline_before_latex_stays_a_newline():
    assert read(r"We get\n\frac{1}{2}\n\n\times 3\n$x$") == "We get\n\\frac{1}{2}\n\n\\times 3\n$x$"


def test_proper_json_comes_through_unchanged():
    value = {
        "a": 'He says "5".\nThen\t\\frac{1}{2} \\\\ x \\nu',
        "b": [1, 2.5, None, True],
        "c": {"d": ["\u00e9\U0001f600"]},
    }
    for ascii_only in (True, False):
        assert next(json_objects(json.dumps(value, ensure_ascii=ascii_only))) == value
        assert next(json_objects(json.dumps(value, ensure_ascii=ascii_only, indent=2))) == value


def test_objects_are_found_wherever_they_stand_and_outer_before_inner():
    text = 'Let $\\{1\\}$ and {"x"} be. ```json\n{"a": {"b": 1,}, "c": ["}{",],}\n``` and {"d": 2} {"e": '
    assert list(json_objects(text)) == [{"a": {"b": 1}, "c": ["}{"]}, {"b": 1}, {"d": 2}]


def test_line_breaks_inside_texts_are_kept():
    assert read("one\ntwo\tthree") == "one\ntwo\tthree"


def test_bombs_of_brackets_quotes_and_digits_end_without_an_object():
    for bomb in ('{"a":' * 200_000, '{"a":[' * 150_000, '{"' * 500_000, '{"a": "' + "\\" * 999_999, "{" * 1_000_000):
        assert list(json_objects(bomb)) == []
    assert list(json_objects('{"a": ' + "9" * 100_000 + "}")) == []
    assert list(json_objects('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}")) == []
    assert len(list(json_objects('{"a": 1} ' * 100_000))) == 100
    (long,) = json_objects('{"a": "' + "$\\nu " * 100_000 + '"}')
    assert len(long["a"]) == 450_000  # every second one stands in a formula
