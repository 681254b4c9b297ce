"""What is no trajectory is set aside by its form, and what is one passes, however it is worded."""

import dataclasses
import json

import pytest

from lemma_train.collection.filters import fault_of, fault_of_prefix, repetition, starts_with
from lemma_train.collection.records import Draft
from lemma_train.collection.settings import Filters
from lemma_train.collection.working import states_answer

QUESTION = "Ben has 84 cards and sells 50. He puts the others into 2 boxes. How many are in a box?"
REFERENCE = "Ben has 84 - 50 = 34 cards left.\nIn a box are 34 / 2 = 17 cards.\nThe answer is 17."
PREFIX = "Ben starts with 84 cards.\nHe has 84 - 50 = 44 cards left."
DRAFT = Draft(
    id="p/s0/fix",
    problem_id="p",
    attempt_id="p/s0",
    strategy="fix_and_continue",
    error_origin="student",
    error_type="calculation_error",
    prefix=PREFIX,
    wrong_span=(PREFIX.index("He has"), len(PREFIX)),
    reflection="Wait, 84 - 50 is not 44.",
    continuation="He has 84 - 50 = 34 cards left.\nIn a box are 34 / 2 = 17 cards.\nThe answer is 17.",
)


def reason(question=QUESTION, reference=REFERENCE, limits=None, **changes):
    fault = fault_of(dataclasses.replace(DRAFT, **changes), question, reference, limits)
    assert fault is None or fault[1]
    return fault and fault[0]


def test_a_trajectory_passes():
    assert reason() is None
    assert reason(reference=None) is None
    assert reason(strategy="fresh_and_restart", reflection="That looks off. Let me start over with the boxes.") is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"prefix": ""}, "no_wrong_prefix"),
        ({"wrong_span": (5, 5)}, "no_wrong_prefix"),
        ({"wrong_span": (5, 500)}, "no_wrong_prefix"),
        ({"wrong_span": (-3, 5)}, "no_wrong_prefix"),
        ({"prefix": "He is.\n...", "wrong_span": (7, 10)}, "no_wrong_prefix"),
        ({"prefix": "BEN has  84 - 50 = 34 cards left.", "wrong_span": (0, 33)}, "prefix_is_right"),
        ({"prefix": REFERENCE, "wrong_span": (0, 10)}, "prefix_is_right"),
        ({"reflection": "Let me check: 84 - 50 is 44. Yes, that is correct."}, "prefix_is_right"),
        ({"reflection": "I have looked at it again and found no mistake."}, "prefix_is_right"),
        ({"reflection": "Next come the boxes."}, "no_reflection"),
        ({"reflection": "Wait, according to the solution this is 34."}, "leak"),
        ({"prefix": "The student has 84 - 50 = 44.", "wrong_span": (0, 10)}, "leak"),
        ({"continuation": DRAFT.continuation + " That is the expected answer."}, "leak"),
        ({"continuation": "As the teacher noted, " + DRAFT.continuation}, "leak"),
        ({"reflection": DRAFT.reflection + " ```"}, "markup"),
        ({"continuation": "### Response: " + DRAFT.continuation}, "markup"),
        ({"continuation": "REFLECTION: none\n" + DRAFT.continuation}, "markup"),
        ({"continuation": "So it goes on as it was.\n" * 5 + "The answer is 17."}, "repeats_itself"),
        ({"continuation": "It is then and so " * 12 + "The answer is 17."}, "repeats_itself"),
        ({"continuation": "He has 84 - 50 = 34 cards left, so 17 in a box."}, "no_final_answer"),
        ({"continuation": "HE has 84 - 50  = 44 cards left, so 22 in a box. The answer is 22."}, "unbroken"),
        (
            {"reflection": "Hm, wait.", "prefix": "44.", "wrong_span": (0, 3), "continuation": "answer is 5"},
            "too_short",
        ),
        ({"continuation": "x" * 9000 + " The answer is 17."}, "too_long"),
    ],
)
def test_what_is_no_trajectory_has_its_reason(changes, expected):
    assert reason(**changes) == expected


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("!", "no_wrong_prefix"),
        ("Ben has 84 - 50 = 34 cards left.", "prefix_is_right"),
        ("The reference solution says 44.", "leak"),
        ("He has <<84-50=44>>44 cards left.", "markup"),
        ("So it is 44 again. " * 4, "repeats_itself"),
        ("He has 84 - 50 = 44 cards left. " + "x" * 9000, "too_long"),
        (PREFIX, None),
    ],
)
def test_a_beginning_that_nothing_can_save_is_known_by_itself(prefix, expected):
    fault = fault_of_prefix(prefix, (0, len(prefix)), QUESTION, REFERENCE, Filters())
    assert (fault and fault[0]) == expected
    assert reason(prefix=prefix, wrong_span=(0, len(prefix))) == expected


def test_the_limits_are_those_given():
    assert reason(limits=Filters(max_characters=100)) == "too_long"
    assert reason(limits=Filters(min_characters=1000)) == "too_short"


def test_a_restart_may_say_again_what_the_wrong_step_said():
    again = "He has 84 - 50 = 44 cards left... no, 34. Then 34 / 2 = 17. The answer is 17."
    assert reason(continuation=again) == "unbroken"
    assert reason(continuation=again, strategy="fresh_and_restart") is None


def test_a_longer_number_is_not_the_wrong_step_again():
    step = {"prefix": "3 + 4 = 6", "wrong_span": (0, 9)}
    assert (
        reason(**step, continuation="13 + 4 = 6 would be odd; 3 + 4 = 65 too, and 3 + 4 = 6.5. The answer is 7.")
        is None
    )
    assert reason(**step, continuation="So 3 + 4 = 6. The answer is 6.") == "unbroken"


def test_calculations_may_repeat_but_sentences_may_not():
    assert repetition("1 + 1 + 1 + 1 + " * 20) is None
    assert repetition("2 eggs + 2 eggs + 2 eggs + 2 eggs + 2 eggs = 10 eggs") is None
    assert repetition("He adds 5. She adds 5. He adds 5. She adds 5.") is None
    assert repetition("He adds five cards.\n" * 4) == "he adds five cards."
    assert repetition("and so on and on " * 20)
    assert repetition("ha " * 40) == "ha"


@pytest.mark.parametrize(
    "text",
    [
        *("The answer is 5.", "Answer: 5", "so \\boxed{5}", "\\fbox{5}", "#### 5", "The final answers are 1 and 2."),
        *("The answer rounded to cents is 3.14.", "The answer to part 2, in dollars, is 3.14."),
    ],
)
def test_a_stated_answer_is_seen(text):
    assert states_answer(text)


def test_no_answer_is_stated_by_a_number_alone():
    assert not states_answer("So 5.") and not states_answer("He answers the phone. It is 5.")
    assert not states_answer("To answer this, we need 2 + 3 = 5.")


def test_beginnings_are_compared_word_by_word():
    assert starts_with("He has\n34 cards left.", "he  has 34")
    assert (
        not starts_with("He has 34 cards", "He has 3") and not starts_with("He", "He has") and not starts_with("x", " ")
    )


def test_hostile_texts_end():
    for unit in ("a", " ", "the the ", "answer ", "answer", "\\box", "."):
        long = unit * (200_000 // len(unit))
        states_answer(long)
        repetition(long)
        starts_with(long, long)


def test_solutions_of_the_shared_data_go_round_in_no_circle(shared_data):
    with (shared_data / "math_train.jsonl").open(encoding="utf-8") as file:
        solutions = [json.loads(line)["solution"] for _, line in zip(range(2000), file, strict=False)]
    assert [found for found in map(repetition, solutions) if found] == []
