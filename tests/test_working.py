"""Whether a continuation is work: sums that hold, an answer that comes out of them."""

import json
from dataclasses import replace

import pytest

from lemma_train.collection.records import Draft
from lemma_train.collection.working import answer_known_beforehand, fault_of_working, repeats_the_mistake
from lemma_train.llm.offline.worked_solution import without_annotations

QUESTION = "Ben has 84 cards and sells 50. He puts the others into 2 boxes. How many are in a box?"
PREFIX = "He has 84 - 50 = 44 cards left."
DRAFT = Draft(
    "p/s0/restart",
    "p",
    "p/s0",
    "fresh_and_restart",
    "student",
    "calculation_error",
    PREFIX,
    (0, len(PREFIX)),
    "Wait, that is wrong.",
    "",
)


def reason(continuation, question=QUESTION, **changes):
    fault = fault_of_working(replace(DRAFT, continuation=continuation, **changes), question)
    return fault and fault[0]


@pytest.mark.parametrize(
    "continuation",
    [
        "34 / 2 = 17. The answer is 17.",
        "34 / 2 = 17, so the answer is 17 cards.",
        "The answer is 34 / 2 = 17.",
        "50 / 3 = 16.67, so 17 boxes. The answer is 17.",
        "50 / 3 = 16.67. The answer is 17.",
        "3 * 50 = 150 cents. The answer is $1.50.",
        "90 + 60 = 150 minutes. The answer is 2 hours 30 minutes.",
        "1 / 5 = 0.2. The answer is 20%.",
        "17 * 2 = 34, which fits. The answer is 17.",
        "34 cards are 2 times seventeen. So 2 * 17 = 34. The answer is 17.",
        "He has 80 000 + 20 000 = 100 000 cards. The answer is 100,000.",
        "600 - 470=130miles are left. The answer is 130.",
        "42 - 17 = 25 is less than what he sells. The answer is 50.",
        "2 - 1/2 = 1 1/2 cups, and 14 * 1 1/2 = 21. The answer is 21.",
        "4 / 3 = 1 and 1/3. So 3 * 7 = 21. The answer is 21.",
        "13 / 6 = 2 full boxes. Then 2 * 6 = 12. The answer is 12.",
        "4 * 25 = $1. Then 1 + 1 = 2. The answer is 2.",
        "I could say 84 - 50 = 44, but that is not so. 84 - 50 = 34, and 34 / 2 = 17. The answer is 17.",
        r"Since $x + 17 = 34$, $x = 34 - 17$, so \\boxed{17}.",
        "49 days are seven full weeks, and each of them has one Sunday. The answer is 7.",
    ],
)
def test_work_is_work(continuation):
    assert reason(continuation) is None


@pytest.mark.parametrize(
    ("continuation", "expected"),
    [
        ("The answer is 17.", "no_working"),
        ("So it is 17. The answer is 17.", "no_working"),
        (r"So we get $\\boxed{17}$.", "no_working"),
        ("The answer is B.", "no_working"),
        ("44 / 2 = 22 bags.\nThe answer is 17.", "answer_from_nowhere"),
        ("34 + 2 = 36 cards. The answer is $17.", "answer_from_nowhere"),
        ("84 - 50 = 34. The answer is -17.", "answer_from_nowhere"),
        ("84 - 50 = 36, and 34 / 2 = 17. The answer is 17.", "untrue_sum"),
        ("He has $84 - $50 = $44. Then 34 / 2 = 17. The answer is 17.", "untrue_sum"),
        ("84 - 50 = 34. The answer is 17.", "answer_from_nowhere"),
        ("14 * 20 = 260 minutes. The answer is 260.", "untrue_sum"),
    ],
)
def test_what_is_no_work_has_its_reason(continuation, expected):
    assert reason(continuation) == expected


def test_going_on_may_name_what_was_worked_out_before_but_a_restart_may_not():
    prefix = "34 / 2 = 17 cards are in a box. The answer is 34."
    stated = {"prefix": prefix, "wrong_span": (prefix.index("The"), len(prefix)), "strategy": "fix_and_continue"}
    assert reason("The answer is 17.", **stated) is None
    assert reason("The answer is 19.", **stated) == "no_working"
    assert reason("The answer is 17.", **{**stated, "strategy": "fresh_and_restart"}) == "no_working"
    fix = {"strategy": "fix_and_continue"}
    assert reason("The answer is 22.", reflection="Wait, 44 / 2 is 22, not 23.", **fix) is None
    assert reason("The answer is 22.", reflection="Wait, it is 22.", **fix) == "no_working"
    assert reason("The answer is 17.", reflection="Wait, 84 - 50 is 34.", **fix) == "no_working"


def test_the_wrong_sum_once_more_is_no_finding():
    assert repeats_the_mistake("Let me verify: 84 - 50 = 44.", PREFIX)
    assert repeats_the_mistake("Hmm, let me see. 84 - 50 gives 44. Now the boxes.", PREFIX)
    for found in ("84 - 50 = 34.", "Is 84 - 50 = 44?", "84 - 50 = 44 is wrong.", "Let me check it.", "50 + 44 = 94."):
        assert not repeats_the_mistake(found, PREFIX)


def test_a_reflection_may_reach_the_answer_but_not_know_it():
    def known(reflection, **changes):
        return answer_known_beforehand(replace(DRAFT, reflection=reflection, **changes), QUESTION)

    assert known("The final answer is 17, so this is off.") == "answer is 17"
    assert known("Half of 34 is 17, so the answer is 17.") is None
    assert known("The answer is 44 / 2 then, which cannot be.") is None
    assert known("So the answer is 17.", prefix="The answer is 44.", wrong_span=(0, 17)) is None


def test_hostile_texts_end():
    for unit in ("a", " ", "1 ", "1+1=3 ", "answer is ", "the answer is 5 cm ", "$", "(", "= ", "1 000 ", "\\boxed{"):
        long = unit * (19_000 // len(unit))
        for text in (long, f"2 + 2 = 4. The answer is 5{long}"):
            reason(text)
            reason("The answer is 5.", reflection=text, prefix=text, wrong_span=(0, len(text)))
            repeats_the_mistake(text, text)


def test_worked_solutions_of_the_shared_data_are_work(shared_data):
    found = []
    for name, question, solution in (("gsm8k", "question", "answer"), ("math", "problem", "solution")):
        with (shared_data / f"{name}_train.jsonl").open(encoding="utf-8") as file:
            rows = [json.loads(line) for _, line in zip(range(1500), file, strict=False)]
        found += [reason(without_annotations(row[solution]), row[question]) for row in rows]
    # The data sets themselves hold a few sums that are not true.
    assert sum(fault is not None for fault in found) <= 0.002 * len(found)
