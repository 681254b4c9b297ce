"""What stands in the boxes of a text."""

import pytest

from lemma_train.grading.boxes import find_boxes, holds_box, last_boxed
from lemma_train.grading.extraction import extract_answer
from lemma_train.problem_rows import read_problem_row


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"so $\boxed{5}$", "5"),
        (r"\boxed{1} or rather \boxed{\frac{1}{\sqrt{2}}}", r"\frac{1}{\sqrt{2}}"),
        (r"\boxed {17}.", "17"),
        (r"\boxed 5 apples", "5"),
        (r"\boxed 17.", "17"),
        (r"\boxed\frac{1}{2}", None),
        (r"\boxed{5} or \boxed{}", None),
        (r"\box{5}", "5"),
        (r"\boxed\pi", r"\pi"),
        (r"\fbox{ a }", "a"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\text{never closed}", None),
        (r"\boxedness{3}", None),
        ("nothing", None),
        ("\\boxed", None),
    ],
)
def test_last_box_is_read_with_its_nested_braces(text, content):
    assert last_boxed(text) == content


def test_a_megabyte_of_open_braces_is_read_at_once():
    assert last_boxed(r"\boxed" + "{" * 1_000_000) is None
    assert last_boxed(r"\boxed{" * 100_000) is None


def test_every_box_has_its_place_and_one_that_never_ends_has_no_content():
    text = r"\boxed{x = \fbox{5}}, \boxed{6"
    boxes = find_boxes(text)
    assert [box.content for box in boxes] == [r"x = \fbox{5}", "5", None]
    assert [text[box.start : box.end] for box in boxes[:2]] == [r"\boxed{x = \fbox{5}}", r"\fbox{5}"]
    assert holds_box(r"\boxed{6") and not holds_box("boxed{6}")


@pytest.mark.parametrize(
    "solution", [r"It is $\boxed 17$.", r"It is $\boxed\pi$.", r"It is \box{3}.", r"It is \fbox{a}."]
)
def test_a_row_and_the_grader_read_the_same_box(solution):
    assert read_problem_row({"problem": "Q?", "solution": solution}).answer == extract_answer(solution)
