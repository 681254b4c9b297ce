"""Steps of any text: nothing is lost, nothing overlaps, and no step is empty; `test_steps` says where steps end."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lemma_train.collection.steps import split_steps

settings.register_profile("steps", max_examples=200, deadline=None, derandomize=True, database=None)
STEPS = settings.get_profile("steps")

_PIECES = st.sampled_from(
    [
        *("$", "$$", "\\[", "\\]", "\\(", "\\)", "\\begin{a}", "\\end{a}", "[asy]", "[/asy]", "\\\\", "\\$"),
        *(
            ". ",
            ".\n",
            "? ",
            "! ",
            "...",
            "\u2026",
            "\u3002",
            "\uff1f",
            "Mr. ",
            "No. 5",
            "U.S. ",
            "3.50",
            "1. ",
            "(a) ",
        ),
        *("Step 1: ", "\n\n", "\r\n", "\u2028", "\x1c", "\x85", "\u00a0", "\u200b", "\ue000", "\ue003", "- ", "**"),
        *("The", "so", "x", "5", "=", '"', "\u201d", "\ud800"),
    ]
)
TEXTS = st.lists(_PIECES | st.text(max_size=4), max_size=30).map("".join)


@STEPS
@given(text=TEXTS)
@example(text="$")
@example(text="\\[x\\]Then")
@example(text="\u3002\u3002a\u3002b")
def test_the_steps_and_what_lies_between_them_are_the_text(text):
    spans = split_steps(text)
    position, pieces = 0, []
    for start, end in spans:
        assert position <= start < end
        assert not text[position:start].strip()
        assert text[start:end] == text[start:end].strip() != ""
        pieces += [text[position:start], text[start:end]]
        position = end
    assert not text[position:].strip()
    assert "".join(pieces) + text[position:] == text
    assert bool(spans) == bool(text.strip())
    assert spans == split_steps(text)


@STEPS
@given(text=TEXTS, lead=st.sampled_from(["", " ", "\n \n"]), tail=st.sampled_from(["", "\t", "\n"]))
def test_white_space_around_a_text_moves_its_steps_and_changes_none(text, lead, tail):
    text = text.strip()
    moved = [(start + len(lead), end + len(lead)) for start, end in split_steps(text)]
    assert split_steps(lead + text + tail) == moved
