"""Doubt, and what only looks like it."""

import pytest

from lemma_train.collection.reflections import finds_all_well, is_reflection, objects


@pytest.mark.parametrize(
    "text",
    [
        "Wait, that is not right.",
        "Hmm, let me check this again.",
        "Hold on. 84 - 50 is 34.",
        "I think I misread the question.",
        "Actually, he sells 50.",
        "This doesn't add up.",
        "44 seems too many for two boxes.",
        "I should have subtracted here.",
        "Let me double-check the subtraction.",
        "I'm not sure about this, so let me try another approach.",
        "Let me solve it from scratch.",
        "Looking at this more carefully, 50 cards are sold.",
        "There is a slip in the last line.",
        "I overlooked that he sells some.",
        "I added where I had to subtract instead.",
        "Let me rework this from the beginning, once more, and begin again with the boxes.",
    ],
)
def test_doubt_in_many_words_is_a_reflection(text):
    assert is_reflection(text) and not finds_all_well(text)


@pytest.mark.parametrize(
    "text",
    [
        "So 84 - 50 = 34.",
        "In the next step he fills the boxes.",
        "An odd number is one more than an even number.",
        "The waiter serves 5 tables and the slippers cost $5.",
        "The terror of the default is over.",
        "",
    ],
)
def test_going_on_is_no_reflection(text):
    assert not is_reflection(text)


@pytest.mark.parametrize(
    "text",
    [
        "Let me check. Yes, that is correct.",
        "I have double-checked everything, and it all looks right. This is correct.",
        "The calculation so far is right.",
        "Wait, let me verify: 84 - 50 = 44. This checks out.",
        "Let me re-read the question. There is no mistake.",
        "Everything seems to be fine.",
        "Let me verify: 84 - 50 = 44. Good, continue.",
        "Let me check: all good so far.",
        "Let me verify this. Correct!",
        "Wait, is this right? Yes.",
        "Is anything wrong? No.",
        "Did I misread it? No, it is as it should be.",
        "Let me review. Everything seems consistent.",
        "Hmm, nothing is off here.",
        "I was not sure, but it is right after all.",
    ],
)
def test_a_content_reflection_finds_all_well(text):
    assert finds_all_well(text)


@pytest.mark.parametrize(
    "text",
    [
        "Let me check whether this is correct.",
        "Is that right? Let me see.",
        "Wait, I assumed that this is correct.",
        "The first step is right, but 84 - 50 is 34.",
        "That is not correct.",
        "The result can't be right.",
        "This is right only if he sells none, so let me try again.",
        "The steps so far are right except for the last one.",
        "Hmm. He has 84, no mistake there, yet 84 - 50 is 34.",
        "No error in the first step. The second one gives 34.",
        "Is this right? No.",
        "Is something wrong? Yes.",
        "Right. Let me redo that.",
        "OK. 84 - 50 is 34.",
        "The sum is right, yet it is not what is asked.",
    ],
)
def test_a_question_or_objection_is_not_content(text):
    assert not finds_all_well(text)


def test_hostile_texts_end():
    for unit in ("a", " ", "wait if ", "that ", "the ", "?", "start a ", "no ", "is it? yes ", "the right "):
        long = unit * (100_000 // len(unit))
        is_reflection(long)
        finds_all_well(long[:20_000])
        objects(long[:20_000])
