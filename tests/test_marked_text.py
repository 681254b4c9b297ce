"""A model's answer in coloured pieces: cut at its reflection, shortened, and with nothing hidden in it."""

import pytest

from lemma_train.evaluation.marked_text import marked, one_line, shortened
from lemma_train.visible_text import visible


def text_of(pieces):
    return [(piece.kind, piece.text) for piece in pieces]


def test_an_answer_is_cut_at_its_reflection_and_coloured_by_its_outcome():
    answer = "1+1=3. Wait. 1+1=2."
    assert text_of(marked(answer, (7, 12), False, "repaired")) == [
        ("wrong", "1+1=3. "),
        ("reflection", "Wait."),
        ("repair", " 1+1=2."),
    ]
    assert [piece.kind for piece in marked(answer, (7, 12), True, "spoiled")] == ["right", "reflection", "wrong"]
    assert [piece.kind for piece in marked(answer, (7, 12), False, "wrong_both")] == ["wrong", "reflection", "wrong"]
    assert [piece.kind for piece in marked(answer, (7, 12))] == ["plain", "reflection", "plain"]
    assert text_of(marked(answer, (0, 5), None, None))[0] == ("reflection", "1+1=3")


@pytest.mark.parametrize("span", [None, (7, 7), (5, 100), (-3, 4)])
def test_a_span_outside_the_answer_marks_nothing(span):
    assert text_of(marked("1+1=3. Wait.", span, False, "repaired")) == [("plain", "1+1=3. Wait.")]


def test_a_long_answer_keeps_its_ends_and_its_reflection_and_says_what_is_missing():
    answer = "a" * 50_000 + "Wait." + "b" * 50_000
    pieces = marked(answer, (50_000, 50_005), False, "repaired")
    assert ("reflection", "Wait.") in text_of(pieces)
    assert [piece.kind for piece in pieces] == ["wrong", "note", "wrong", "reflection", "repair", "note", "repair"]
    shown = sum(len(piece.text) for piece in pieces if piece.kind != "note")
    assert shown < 7_000
    left_out = [int(piece.text.split()[0].replace(",", "")) for piece in pieces if piece.kind == "note"]
    assert sum(left_out) + shown == len(answer)
    assert text_of(shortened("abc", "plain", 3)) == [("plain", "abc")]
    assert shortened("", "plain", 3) == []


def test_characters_that_mislead_are_shown_as_escapes():
    assert visible("a\u202eb\u2066c\u200bd\x00e\u2028f\ud800g\ufffeh") == (
        "a\\u202eb\\u2066c\\u200bd\\x00e\\u2028f\\ud800g\\ufffeh"
    )
    assert visible("π ≤ 3,5 €\n\t日本 \u0301") == "π ≤ 3,5 €\n\t日本 \u0301"
    assert one_line("a\nb\u202e" + "c" * 500, 20) == "a b\\u202ecccccccccc…"
