"""What a teacher's reply must hold to be used, task by task."""

import pytest

from lemma_train.collection.replies import ReplyFault
from lemma_train.collection.reply_checks import check_analysis, check_correction, check_injection, check_smoothing
from lemma_train.collection.taxonomy import load_taxonomy

QUESTION = "Ben has 84 cards and sells 50. He puts the others into 2 boxes. How many are in a box?"
STEPS = ["Ben has 84 - 50 = 44 cards left.", "In a box are 44 / 2 = 22 cards.", "The answer is 22."]
TYPES = [{"name": "calculation_error", "meaning": "."}, {"name": "adding_irrelevant_information", "meaning": "."}]
ANALYSIS_INPUTS = {"question": QUESTION, "reference_answer": "17", "steps": STEPS, "error_types": TYPES}
ANALYSIS = {"explanation": "It is 34.", "verdict": "wrong", "error_type": "calculation_error", "first_wrong_step": 1}


def reason_of(check, *arguments):
    with pytest.raises(ReplyFault) as caught:
        check(*arguments)
    assert caught.value.advice.endswith((".", '"'))
    return caught.value.reason


def analysis(**changes):
    return {**ANALYSIS, **changes}, ANALYSIS_INPUTS, load_taxonomy()


def test_an_analysis_gives_canonical_type_step_and_explanation():
    assert check_analysis(*analysis()) == ("calculation_error", 1, "It is 34.")
    assert check_analysis(*analysis(verdict="Incorrect.", error_type=" *Hallucination* ", first_wrong_step=3)) == (
        "adding_irrelevant_information",
        3,
        "It is 34.",
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"verdict": "correct"}, "called_correct"),
        ({"verdict": "Right", "error_type": "none", "first_wrong_step": 0}, "called_correct"),
        ({"verdict": "maybe"}, "wrong_type"),
        ({"error_type": "none"}, "unknown_type"),
        ({"error_type": "not a calculation_error"}, "unknown_type"),
        ({"error_type": "calculation_error or missing_step"}, "unknown_type"),
        ({"error_type": "missing_step"}, "unknown_type"),  # known, but not asked for
        ({"first_wrong_step": 0}, "step_out_of_range"),
        ({"first_wrong_step": 4}, "step_out_of_range"),
        ({"first_wrong_step": -1}, "step_out_of_range"),
        ({"explanation": " ... "}, "empty_field"),
    ],
)
def test_an_analysis_that_names_no_error_of_this_solution_is_set_aside(changes, reason):
    assert reason_of(check_analysis, *analysis(**changes)) == reason


REFERENCE = "Ben has 84 - 50 = 34 cards left.\nIn a box are 34 / 2 = 17 cards.\nThe answer is 17."
INJECTION_INPUTS = {"question": QUESTION, "reference_solution": REFERENCE, "reference_answer": "17"}
INJECTION = {"explanation": "It is 34.", "steps": [f" {step}\n" for step in STEPS], "wrong_step": 1}


def test_an_injection_gives_clean_steps():
    assert check_injection(INJECTION, INJECTION_INPUTS) == (STEPS, 1, "It is 34.")
    assert check_injection(INJECTION, {**INJECTION_INPUTS, "reference_solution": None})[0] == STEPS


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"steps": []}, "empty_field"),
        ({"steps": [*STEPS, " - "]}, "empty_field"),
        ({"explanation": ""}, "empty_field"),
        ({"wrong_step": 0}, "step_out_of_range"),
        ({"wrong_step": 4}, "step_out_of_range"),
        ({"steps": REFERENCE.upper().split("\n")}, "unchanged"),
        ({"steps": ["84 - 50 = 44 (wrong)", *STEPS[1:]]}, "leak"),
        ({"steps": ["Here I deliberately make a mistake: 84 - 50 = 44.", *STEPS[1:]]}, "leak"),
        ({"steps": ["84 - 50 = <<84-50=44>>44.", *STEPS[1:]]}, "markup"),
        ({"steps": STEPS[:2]}, "no_final_answer"),
    ],
)
def test_an_injection_that_shows_its_mistake_or_has_none_is_set_aside(changes, reason):
    assert reason_of(check_injection, {**INJECTION, **changes}, INJECTION_INPUTS) == reason


PREFIX = "Ben starts with 84 cards.\nHe has 84 - 50 = 44 cards left."
REFLECTION = "Wait, 84 - 50 is not 44."
CONTINUATION = "He has 84 - 50 = 34 cards left.\nIn a box are 34 / 2 = 17 cards.\nThe answer is 17."
CORRECTION_INPUTS = {"question": QUESTION, "prefix": PREFIX, "wrong_step": "He has 84 - 50 = 44 cards left."}


def correction(reflection=REFLECTION, continuation=CONTINUATION):
    return {"reflection": reflection, "continuation": continuation}, CORRECTION_INPUTS


def test_a_correction_gives_its_two_parts():
    assert check_correction(*correction(f" {REFLECTION}\n")) == (REFLECTION, CONTINUATION)


def test_what_the_continuation_repeats_at_its_beginning_is_cut_off():
    for repeated in (PREFIX, PREFIX.replace("\n", "  ").upper(), REFLECTION, f"{PREFIX}\n{REFLECTION}"):
        assert check_correction(*correction(continuation=f"{repeated}\n{CONTINUATION}")) == (REFLECTION, CONTINUATION)
    own_words = f"So Ben starts with 84 cards. {CONTINUATION}"
    assert check_correction(*correction(continuation=own_words))[1] == own_words


@pytest.mark.parametrize(
    ("reflection", "continuation", "reason"),
    [
        ("", CONTINUATION, "empty_field"),
        (REFLECTION, "...", "empty_field"),
        (REFLECTION, PREFIX, "empty_field"),
        (REFLECTION, REFLECTION, "empty_field"),
        (f"{CONTINUATION} Wait, so it is 17.", CONTINUATION, "no_reflection"),
    ],
)
def test_a_correction_that_is_none_is_set_aside(reflection, continuation, reason):
    assert reason_of(check_correction, *correction(reflection, continuation)) == reason


SMOOTHING_INPUTS = {
    **CORRECTION_INPUTS,
    "strategy": "fix_and_continue",
    "reflection": REFLECTION,
    "continuation": CONTINUATION,
}


def smooth(new_prefix, **inputs):
    """The wrong step that is found in the new prefix."""
    fields = {"prefix": new_prefix, "reflection": REFLECTION, "continuation": CONTINUATION}
    prefix, (start, end), reflection, continuation = check_smoothing(fields, {**SMOOTHING_INPUTS, **inputs})
    assert (prefix, reflection, continuation) == (new_prefix, REFLECTION, CONTINUATION)
    return prefix[start:end]


def test_smoothing_finds_the_wrong_step_in_the_new_prefix():
    assert smooth(PREFIX) == "He has 84 - 50 = 44 cards left."
    assert (
        smooth("At first Ben has 84 cards. When 50 are sold, 84 - 50 = 44 stay.")
        == "When 50 are sold, 84 - 50 = 44 stay."
    )


def test_the_wrong_step_may_become_two_but_keeps_its_numbers():
    old = "Ben has cards. He sells 1,050 and 44.0 stay."
    inputs = {"prefix": old, "wrong_step": "He sells 1,050 and 44.0 stay."}
    assert smooth("Ben has his cards. He sells 1050 of them. 44 stay.", **inputs) == "He sells 1050 of them. 44 stay."
    with pytest.raises(ReplyFault, match="lost_mistake"):
        smooth("Ben has his cards. He sells 1050 of them. 34 stay.", **inputs)


ROLLS = {
    "prefix": "There are 84 rolls.\n84 - 50 = 44 rolls are not sold.",
    "wrong_step": "84 - 50 = 44 rolls are not sold.",
}
TULIPS = {
    "prefix": "Half of the 84 cards are 84 + 2 = 86 cards.",
    "wrong_step": "Half of the 84 cards are 84 + 2 = 86 cards.",
}
WORDS = {"prefix": "Ben has cards.\nHe gives all the others away.", "wrong_step": "He gives all the others away."}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (ROLLS, "There are 84 rolls.\nOf these, 84 - 50 = 44 rolls stay unsold."),
        (ROLLS, "Step 1. There are 84 rolls.\nStep 2. She sells 50, and 84 - 50 = 44 are left."),
        (ROLLS, "At first there are 84 rolls, put up for 2 boxes.\nAfter 50 are sold, 44 rolls remain."),
        (TULIPS, "Half of the 84 cards, so 1/2 of them, make 84 + 2 = 86 cards."),
        (WORDS, "Ben has his cards.\nThen he gives away all the others."),
    ],
)
def test_other_words_for_the_same_mistake_pass(old, new):
    assert smooth(new, **old) in new


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (ROLLS, "There are 84 rolls.\n84 - 50 is 34 rolls and not 44."),
        (ROLLS, "There are 84 rolls.\nI could think 44 are left of 84 after 50, but it is 34."),
        (ROLLS, "There are 84 rolls.\nWait, 84 - 50 cannot be 44."),
        (ROLLS, "There are 84 rolls.\nHe sells 50 rather than 44 of the 84."),
        (ROLLS, "There are 84 rolls, and 34 stay.\n84 - 50 = 44 rolls are not sold."),
        (TULIPS, "Half of the 84 cards are 84 / 2, and not 84 + 2 = 86 cards."),
        (TULIPS, "Half of the 84 cards are 84 - 2 = 86 cards."),
        (WORDS, "Ben has cards.\nTwo boxes stand on the table."),
        (WORDS, "Ben has cards.\nHe should have kept all the others."),
    ],
)
def test_a_mistake_that_smoothing_mends_is_lost(old, new):
    with pytest.raises(ReplyFault, match="lost_mistake"):
        smooth(new, **old)


def test_where_truncation_is_off_the_wrong_part_is_all_that_follows():
    old = "Ben has 84. Then 84 - 50 = 44. So 44 / 2 = 22. The answer is 22."
    inputs = {"prefix": old, "wrong_step": old[old.index("Then") :]}
    assert smooth(old.replace("Ben has", "There are"), **inputs) == inputs["wrong_step"]
    new = "Ben has 84. He sells some, so 84 - 50 = 44. That makes 44 / 2 = 22. The answer is 22."
    assert smooth(new, **inputs) == new[new.index("He sells") :]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"prefix": "Ben starts with 84 cards.\nHe has 84 - 50 = 34 cards left."}, "lost_mistake"),
        ({"prefix": f"{PREFIX} So he goes on. He counts them. He is glad."}, "lost_mistake"),
        ({"prefix": "!"}, "empty_field"),
        ({"continuation": "The answer is 17."}, "too_short"),
        ({"continuation": CONTINUATION + " So 34 / 2 is 17." * 30}, "too_long"),
        ({"prefix": "He goes on. " * 30 + PREFIX}, "too_long"),
    ],
)
def test_smoothing_that_changes_the_substance_is_set_aside(changes, reason):
    fields = {"prefix": PREFIX, "reflection": REFLECTION, "continuation": CONTINUATION, **changes}
    assert reason_of(check_smoothing, fields, SMOOTHING_INPUTS) == reason
