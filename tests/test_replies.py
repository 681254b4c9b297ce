r"""Replies: their fields in whatever form a teacher writes them, and the fault of those that have none."""

import json
import random

import pytest

from lemma_train.collection.prompting import Prompts
from lemma_train.collection.replies import ReplyFault, parse_reply

PROMPTS = Prompts()
ANALYSIS, INJECTION, CORRECTION = (PROMPTS.schema(task) for task in ("analysis", "injection", "fix_and_continue"))
FIELDS = {"explanation": "84 - 50 is 34.", "verdict": "wrong", "error_type": "calculation_error", "first_wrong_step": 2}


def fault_of(text, schema=ANALYSIS, finish_reason="stop"):
    with pytest.raises(ReplyFault) as caught:
        parse_reply(text, schema, finish_reason)
    assert caught.value.advice.endswith(".")
    return caught.value.reason


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(FIELDS),
        json.dumps(FIELDS, indent=2) + "\n",
        f"```json\n{json.dumps(FIELDS)}\n```",
        f"Here is my analysis of {{1, 2}}:\n{json.dumps(FIELDS)}\nI hope that $\\frac{{1}}{{2}}$ helps {{ }}.",
        f"{{broken {json.dumps(FIELDS)}",
        f'{{"note": "a draft"}} {json.dumps(FIELDS)} {json.dumps({**FIELDS, "verdict": "correct"})}',
        json.dumps({"analysis": FIELDS}),
        json.dumps({**FIELDS, "confidence": 0.9}),
        json.dumps({"Explanation": FIELDS["explanation"], "VERDICT": "wrong", "error type": "calculation_error"})[:-1]
        + ', "first-wrong-step": "Step 2"}',
        f'<think>{{"verdict": "correct"}} {json.dumps({**FIELDS, "first_wrong_step": 1})}</think>{json.dumps(FIELDS)}',
        "EXPLANATION: 84 - 50 is 34.\nVERDICT: wrong\nERROR_TYPE: calculation_error\nFIRST_WRONG_STEP: 2",
        "Sure!\n\n**Verdict:** wrong\n**Error type**: calculation_error\n**First wrong step:** Step 2\n"
        "**Explanation:**\n84 - 50 is 34.",
        "```\n# explanation: 84 - 50 is 34.\n- Verdict: wrong\n- Error-Type: calculation_error\n"
        "- first wrong step: #2\n```",
    ],
)
def test_the_same_fields_in_many_forms(text):
    assert parse_reply(text, ANALYSIS) == FIELDS


def test_sections_hold_several_lines_and_the_first_of_two_alike_counts():
    text = "REFLECTION: Wait.\nThat is wrong.\n\nCONTINUATION:\n5 + 3 = 8.\nReflection: none.\nThe answer is 8.\n"
    assert parse_reply(text, CORRECTION) == {
        "reflection": "Wait.\nThat is wrong.",
        "continuation": "5 + 3 = 8.\nReflection: none.\nThe answer is 8.",
    }


@pytest.mark.parametrize(
    ("written", "steps"),
    [
        ("1. Add 3.\n2. Add 4.\n   So 7.", ["Add 3.", "Add 4.\n   So 7."]),
        ("Step 1: Add 3.\nStep 2: Add 4.", ["Add 3.", "Add 4."]),
        ("**1.** Add 3.\n**2.** Add 4.", ["Add 3.", "Add 4."]),
        ("- Add 3.\n- Add 4.", ["Add 3.", "Add 4."]),
        ("Add 3.\n\nAdd 4.", ["Add 3.", "Add 4."]),
        ("12. 5 is odd.\nAdd 4.", ["12. 5 is odd.", "Add 4."]),
    ],
)
def test_a_list_may_be_written_as_lines(written, steps):
    parsed = parse_reply(f"EXPLANATION: x\nSTEPS:\n{written}\nWRONG_STEP: 1", INJECTION)
    assert parsed["steps"] == steps
    assert parse_reply(json.dumps({"explanation": "x", "steps": written, "wrong_step": 1}), INJECTION)["steps"] == steps


@pytest.mark.parametrize(
    ("written", "number"),
    [
        *((2, 2), (2.0, 2), ("2", 2), ("Step 2", 2), ("step no. 2", 2), ("#2", 2), ("[2]", 2), ("2.", 2), ("**2**", 2)),
        *(("2.0", 2), ("Step 2: 84 - 50 = 44", 2), (0, 0), (-1, -1)),
    ],
)
def test_a_whole_number_may_be_written_in_words_around_it(written, number):
    assert parse_reply(json.dumps({**FIELDS, "first_wrong_step": written}), ANALYSIS)["first_wrong_step"] == number


@pytest.mark.parametrize(
    "written", ["2 or 3", "2-3", "two", "2.5", 2.5, True, [2], {"step": 2}, "", "1e3", 1e300, "NaN"]
)
def test_what_is_not_one_whole_number_is_not_guessed_at(written):
    assert fault_of(json.dumps({**FIELDS, "first_wrong_step": written})) == "wrong_type"


def test_a_text_may_come_as_lines_but_not_as_something_else():
    reply = {"reflection": ["Wait.", "That is wrong."], "continuation": 8}
    assert parse_reply(json.dumps(reply), CORRECTION) == {"reflection": "Wait.\nThat is wrong.", "continuation": "8"}
    for value in (True, {"text": "x"}, ["x", 3], []):
        assert fault_of(json.dumps({**reply, "continuation": value}), CORRECTION) == "wrong_type"
    assert fault_of('{"explanation": "x", "steps": [["y"]], "wrong_step": 1}', INJECTION) == "wrong_type"


def test_half_characters_and_nul_are_no_text():
    assert fault_of(r'{"reflection": "Wait \ud83d", "continuation": "x"}', CORRECTION) == "wrong_type"
    assert fault_of(r'{"reflection": "Wait \u0000", "continuation": "x"}', CORRECTION) == "wrong_type"


def test_latex_with_one_backslash_arrives_as_latex():
    text = (
        r'{"reflection": "Hmm, \(x \neq 3\).", "continuation": "So $\frac{1}{2} \times 4$.\nThe answer is \boxed{2}."}'
    )
    assert parse_reply(text, CORRECTION) == {
        "reflection": r"Hmm, \(x \neq 3\).",
        "continuation": "So $\\frac{1}{2} \\times 4$.\nThe answer is \\boxed{2}.",
    }


@pytest.mark.parametrize(
    ("text", "finish_reason", "reason"),
    [
        ("", "stop", "empty"),
        (" \n ", "stop", "empty"),
        ("<think>long thoughts</think>\n", "stop", "empty"),
        ("", "length", "cut_off"),
        ('{"explanation": "84 - 50 is', "length", "cut_off"),
        ("EXPLANATION: x\nVERDICT: wrong\nERROR_TYPE: x\nFIRST_WRONG_STEP: 1", "length", "cut_off"),
        ("", "refusal", "refusal"),
        (json.dumps(FIELDS), "refusal", "refusal"),
        ("I'm sorry, but I can't help with that.", "stop", "refusal"),
        ("As an AI, I cannot do this.", "stop", "refusal"),
        ("The first wrong step is the second one.", "stop", "unparsable"),
        ('{"explanation": "84 - 50 is', "stop", "unparsable"),
        ("[1, 2]", "stop", "unparsable"),
        ('{"explanation": "x"}', "stop", "missing_field"),
        (json.dumps({**FIELDS, "verdict": None}), "stop", "missing_field"),
        ("VERDICT: wrong", "stop", "missing_field"),
        ("x" * 200_001, "stop", "unparsable"),
    ],
)
def test_a_reply_without_fields_has_a_reason(text, finish_reason, reason):
    assert fault_of(text, finish_reason=finish_reason) == reason


def test_a_complete_object_counts_although_the_reply_was_cut_off_after_it():
    assert parse_reply(json.dumps(FIELDS) + "\nI also think", ANALYSIS, "length") == FIELDS


def test_an_apology_inside_an_object_is_no_refusal():
    reply = {"reflection": "I'm sorry, I can't be right here.", "continuation": "The answer is 8."}
    assert parse_reply(json.dumps(reply), CORRECTION) == reply


def test_hostile_replies_end_in_a_fault():
    choice = random.Random(1)
    signs = (
        '{"',
        '"',
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\\",
        "\n",
        "VERDICT:",
        "steps",
        '{"verdict":',
        "*",
        " ",
        "1",
        "\\u12",
    )
    texts = ["".join(choice.choice(signs) for _ in range(choice.randrange(400))) for _ in range(300)]
    texts += [sign * (1_000_000 // len(sign)) for sign in signs] + [sign * (190_000 // len(sign)) for sign in signs]
    for text in texts:
        for schema in (ANALYSIS, INJECTION):
            assert fault_of(text, schema) in ("empty", "unparsable", "missing_field", "wrong_type")
