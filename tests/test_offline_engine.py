"""Single requests to the offline model: own mistakes of students, refusals, the same reply again, hostile texts."""

import asyncio
import json
import random
import re
from fractions import Fraction

import pytest

from lemma_train.collection.filters import is_reflection
from lemma_train.llm.offline import wording
from lemma_train.llm.offline.diagnosis import Finding, fault_in
from lemma_train.llm.offline.engine import OfflineModel
from lemma_train.llm.offline.injection import inject
from lemma_train.llm.offline.mistakes import MAKERS
from lemma_train.llm.offline.worked_solution import as_one_answer, read_solution, read_steps
from lemma_train.llm.protocol import Request

TYPES = [*MAKERS, "contradictory_step", "nonsense_output_error"]
MODEL = OfflineModel(mistake_share=1.0)


def ask(task, inputs, seed=0):
    return asyncio.run(MODEL.generate(Request(task, inputs, seed=seed)))


def fields(reply):
    assert reply.finish_reason == "stop", reply.text
    return json.loads(reply.text)


def injection_inputs(error_type):
    return {
        "question": QUESTION,
        "reference_solution": SOLUTION,
        "reference_answer": "22",
        "error_type": error_type,
        "error_type_meaning": "",
        "number": 0,
    }


QUESTION = "Ada has 12 figs. She buys 3 bags with 4 figs each and eats 2 figs. How many figs are left?"
SOLUTION = "The bags hold 3 * 4 = 12 figs.\nNow she has 12 + 12 = 24 figs.\nAfter eating, 24 - 2 = 22 figs are left."


def analysed(*steps, allowed=TYPES, solution=SOLUTION):
    inputs = {"question": QUESTION, "reference_solution": solution, "reference_answer": "22", "steps": list(steps)}
    return fields(ask("analysis", {**inputs, "error_types": [{"name": name, "meaning": ""} for name in allowed]}))


@pytest.mark.parametrize(
    ("steps", "step", "error_type"),
    [
        (["So 3 * 4 = 14.", "12 + 14 = 26.", "26 - 2 = 24.", "The answer is 24."], 1, "calculation_error"),
        (["The bags: 4 * 3 = 12.", "12 + 12 = 24.", "24 + 2 = 26."], 3, "operator_error"),
        (["The bags: 5 * 4 = 20.", "12 + 20 = 32."], 1, "referencing_context_value_error"),
        (["The bags: 3 * 4 = 12.", "After eating, 12 - 2 = 10 figs are left."], 2, "missing_step"),
        (["I like figs very much."], 1, "nonsense_output_error"),
    ],
)
def test_analysis_names_the_kind_of_a_students_own_mistake(steps, step, error_type):
    found = analysed(*steps)
    assert (found["verdict"], found["first_wrong_step"], found["error_type"]) == ("wrong", step, error_type)


def test_analysis_calls_a_right_solution_correct_and_keeps_to_the_list():
    found = analysed("3 * 4 = 12.", "12 + 12 - 2 = 22.", "The answer is 22.")
    assert (found["verdict"], found["error_type"], found["first_wrong_step"]) == ("correct", "none", 0)  # as asked for
    found = analysed("12 + 12 = 24.", "24 + 2 = 26.", allowed=["calculation_error", "confusing_formula_error"])
    assert found["error_type"] == "confusing_formula_error"
    assert analysed("3 * 4 = 14.", "The answer is 14.", solution=None)["first_wrong_step"] == 1


def test_a_refusal_says_why():
    inputs = injection_inputs("unit_conversion_error")
    reply = ask("injection", inputs)
    assert reply.finish_reason == "refusal" and "unit_conversion_error" in reply.text
    assert ask("injection", {**inputs, "reference_solution": None}).finish_reason == "refusal"
    assert ask("translation", inputs).finish_reason == "refusal"
    false_sum = {**inputs, "reference_solution": "3 * 4 = 13. The answer is 13."}
    assert ask("injection", false_sum).finish_reason == "refusal"


def test_the_same_request_gets_the_same_reply_and_another_seed_another():
    inputs = injection_inputs("calculation_error")
    assert ask("injection", inputs) == ask("injection", dict(reversed(inputs.items())))
    replies = {ask("injection", {**inputs, "number": number}).text for number in range(20)}
    seeded = {ask("injection", inputs, seed=seed).text for seed in range(20)}
    assert len(replies) > 5 and len(seeded) > 5


def test_tokens_are_counted_in_words():
    request = Request("sampling", {}, prompt="one two three")
    reply = asyncio.run(MODEL.generate(request))
    assert reply.prompt_tokens == 3 and reply.completion_tokens == len(reply.text.split())


def test_every_reflection_shows_a_doubt():
    draw = random.Random(0)
    kinds = [kind for kind in wording._NOTICED if kind != "untrue"]
    for kind in kinds:
        for start in ("no", "once more", "another way"):
            said = Finding(0, "operator_error", kind, "12 + 6 = 19", "12 - 6 = 6", "19", "18")
            spoken = {wording.reflection(said, draw, start) for _ in range(400)}
            assert len(spoken) > 80
            assert all(is_reflection(text) and "{" not in text and "  " not in text for text in spoken)


def test_a_mended_step_in_formulas_goes_on_in_formulas():
    question = r"What is $2 + 3 \cdot 4$?"
    solution = r"First, $3 \cdot 4 = 12.$ Then $2 + 12 = \boxed{14}.$"
    inputs = {"question": question, "reference_solution": solution, "reference_answer": "14"}
    wrong = fields(ask("injection", {**inputs, "error_type": "calculation_error"}))
    assert r"\boxed{14}" not in wrong["steps"][-1] and r"\boxed{" in wrong["steps"][-1]
    steps = {"prefix": wrong["steps"][0], "wrong_step": wrong["steps"][0], "error_type": "calculation_error"}
    assert r"\boxed{14}" in fields(ask("fix_and_continue", {**inputs, **steps}))["continuation"]


HOSTILE = [
    "",
    "1 " * 500_000,
    "1+1=2 " * 3000,
    "x" * 20_000,
    "9^9^9^9 = 1. The answer is 9^9.",
    "(" * 9000 + "1" + ")" * 9000,
    "#### " * 4000,
    "\u0663\u00b2\ud800\0 = \u2460",
    "{{ 7*7 }} {% raw %} %s {0} __import__('os').system('touch PWNED') = 5",
    "answer is " * 2000,
    "$" * 19_000,
    r"\boxed{" * 2500,
    "\n" * 19_000 + "1 = 1",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("task", ["sampling", "analysis", "injection", "fix_and_continue", "fresh_and_restart"])
def test_hostile_texts_end_soon_in_a_reply_or_a_refusal(task, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ("question", "reference_solution", "right_solution", "reference_answer", "solution", "prefix", "wrong_step")
    inputs: dict = dict.fromkeys(names, text)
    inputs |= {"steps": [text, text], "error_types": [], "error_type": "calculation_error", "sample": 0}
    for given in (inputs, {**inputs, "question": QUESTION, "reference_solution": SOLUTION, "reference_answer": "22"}):
        assert ask(task, given).finish_reason in ("stop", "refusal")
    assert not list(tmp_path.iterdir())


def test_a_step_is_judged_by_those_before_it():
    right = as_one_answer(read_solution(SOLUTION, QUESTION), "22")
    steps = read_steps(["The bags hold 3 * 4 = 12 figs.", "Now she has 12 + 3 = 15 figs."], QUESTION)
    found = fault_in(steps, 1, right)
    assert found is not None and (found.used, found.needed) == ("3", "12")


def told(question, solution, answer, task, prefix, wrong_step):
    inputs = {"question": question, "reference_solution": solution, "right_solution": solution}
    inputs |= {
        "reference_answer": answer,
        "prefix": prefix,
        "wrong_step": wrong_step,
        "error_type": "calculation_error",
    }
    return [fields(ask(task, inputs, seed)) for seed in range(40)]


@pytest.mark.parametrize("sign", ["$", "\u00a3", "\u20ac"])
def test_money_keeps_its_sign(sign):
    question = f"A pen costs {sign}3 and a book {sign}8. Mia buys 4 pens and a book. What does she pay?"
    solution = f"The pens cost 4 * {sign}3 = {sign}12.\nShe pays {sign}12 + {sign}8 = {sign}20.\nThe answer is 20."
    wrong = f"The pens cost 4 * {sign}8 = {sign}32."
    others = {"$", "\u00a3", "\u20ac"} - {sign}
    doubts = [reply["reflection"] for reply in told(question, solution, "20", "fix_and_continue", wrong, wrong)]
    slip = f"The pens cost 4 * {sign}3 = {sign}13."
    doubts += [reply["reflection"] for reply in told(question, solution, "20", "fix_and_continue", slip, slip)]
    assert any(f"{sign}3" in doubt for doubt in doubts) and any(f"{sign}12" in doubt for doubt in doubts)
    assert not [doubt for doubt in doubts if any(other in doubt for other in others)]
    inputs = {"question": question, "reference_solution": solution, "reference_answer": "20"}
    for seed in range(40):
        reply = ask("injection", {**inputs, "error_type": "calculation_error"}, seed)
        assert not any(other in reply.text for other in others)


def test_a_loss_of_money_is_written_with_its_sign():
    read = read_solution("He ends at -\u00a35 - \u00a32 = -\u00a37. The answer is -7.", "Ben owes 5 and spends 2.")
    assert read.equations[0].plain == "-\u00a35 - \u00a32 = -\u00a37"
    assert read.rewritten({0: Fraction(-6)}, {}) is not None
    assert read.rewritten({0: Fraction(-6)}, {})[0] == "He ends at -\u00a36 - \u00a32 = -\u00a37."


ANOTHER = re.compile(r"another|different|anew|fresh start")


def test_another_way_is_promised_only_where_another_way_is_gone():
    chain = "Start with 5. 5 + 6 = 11. 11 - 4 = 7. The answer is 7."
    question = "Ben has 5 nuts. Ben gets 6 more. Ben gives away 4. How many nuts does Ben have now?"
    replies = told(question, chain, "7", "fresh_and_restart", "Start with 5. 5 + 6 = 12.", "5 + 6 = 12.")
    assert any(ANOTHER.search(reply["reflection"]) for reply in replies)
    assert all("11 - 4 = 7" not in reply["continuation"].split(". ")[:3] for reply in replies)
    solution = f"{SOLUTION}\nThe answer is 22."
    wrong = "The bags hold 3 * 4 = 14 figs."
    for reply in told(QUESTION, solution, "22", "fresh_and_restart", wrong, wrong):
        # "I will do the whole thing anew" promises no other way.
        assert not re.search(r"another|different", reply["reflection"]), reply


def test_a_sum_in_another_order_is_no_mistake():
    question = "Ben has 33 euros. Ben spends 98. Ben spends 27. What is the balance now?"
    right = read_solution("Start with 33. 33 - 98 = -65. -65 - 27 = -92. The answer is -92.", question)

    def fault(*steps):
        return fault_in(read_steps(steps, question), len(steps) - 1, right)

    assert fault("Start with 33.", "33 - 27 = 6.") is None
    assert fault("Start with 33.", "98 + 27 = 125.") is None
    assert fault("Start with 33.", "33 - 27 = 6.", "6 - 98 = -92.") is None
    for wrong in ("33 + 27 = 60.", "33 - 33 = 0.", "33 - 27 = 7.", "98 - 27 = 71."):
        assert fault("Start with 33.", wrong) is not None
    assert fault("Start with 33.", "33 - 27 = 6.", "6 - 27 = -21.") is not None
    assert fault("Start with 33.", "33 - 98 = -65.", "33 - 27 = 6.") is not None


def test_no_step_is_left_out_that_the_next_one_needs():
    question = "Ada picks 12 figs a day for 3 days and eats 6. How many figs are left?"
    solution = "{} 3 * 12 = 36 figs.\n{} 36 - 6 = 30 figs are left.\nThe answer is 30."
    for first, second in (("First Ada picks", "Then"), ("Ada picks", "This leaves"), ("Ada picks", "After that,")):
        for seed in range(10):
            wrong = inject(question, solution.format(first, second), "30", "missing_step", random.Random(seed))
            assert wrong is None or wrong.steps[0].startswith(first)
    assert inject(question, solution.format("Ada picks", "She eats some:"), "30", "missing_step", random.Random(0))


def test_numbers_that_cannot_be_read_are_let_be():
    solution = "She has 9, 240 ounces, because 7 + 1,320 = 1,327.\nThe answer is 1,327."
    assert (
        inject(
            "Of 9,240 ounces she takes 7 and 1,320. How many?", solution, "1,327", "calculation_error", random.Random(0)
        )
        is None
    )
    assert inject(
        "Of 9,240 ounces she takes 7 and 1,320. How many?",
        solution.replace("9, 240", "9,240"),
        "1,327",
        "calculation_error",
        random.Random(0),
    )


def test_an_answer_is_not_stated_twice_where_words_stand_between():
    text = "She pays 2 * 1.57 = 3.14.\nThe answer rounded to cents is 3.14."
    told = read_solution(text, "How much are 2 figs at 1.57 each?")
    assert as_one_answer(told, "3.14") is told
    assert told.final == len(told.numbers) - 1


def test_a_number_that_was_found_is_not_said_to_be_in_the_question():
    question = "Ada peels 9 figs a minute and fries 40 figs in 20 minutes. How long do 360 figs take?"
    solution = (
        "Peeling: 360 / 9 = 40 minutes.\n360 / 40 = 9 pans.\nFrying: 9 * 20 = 180 minutes.\nIn all 180 + 40 = 220."
    )
    right = as_one_answer(read_solution(solution, question), "220")
    steps = [right.text[a:b] for a, b in right.steps[:3]]
    found = fault_in(read_steps([*steps, "In all 180 + 20 = 200."], question), 3, right)
    assert found is not None and found.needed == "40" and found.kind != "reading"


CHECKED = "Start with 7. 7 + 2 = 9. Check: 9 - 2 = 7. 9 - 4 = 5. Check: 5 + 4 = 9. The answer is 5."


@pytest.mark.parametrize(
    ("task", "rest"),
    [
        ("fix_and_continue", "9 - 4 = 5. Check: 5 + 4 = 9. The answer is 5."),
        ("fresh_and_restart", CHECKED),
    ],
)
def test_who_checks_each_sum_sees_the_wrong_one_by_its_check(task, rest):
    inputs = {"question": "A shop has 7 apples. A van brings 2 more. The shop sells 4. How many has it now?"}
    inputs |= {"prefix": "Start with 7. 7 + 2 = 9. Check: 9 - 2 = 7. 9 - 4 = 6.", "wrong_step": "9 - 4 = 6."}
    inputs |= {"reference_solution": CHECKED, "right_solution": CHECKED, "reference_answer": "5"}
    reply = fields(ask(task, {**inputs, "error_type": "calculation_error"}))
    start_over = " Let me start over." if task == "fresh_and_restart" else ""
    assert reply["reflection"] == f"Check: 6 + 4 = 10. Wait, 10 is not 9, so 6 is wrong.{start_over}"
    assert reply["continuation"] == rest
    # A wrong sign passes its own check: such a doubt is put into words as ever.
    inputs |= {"prefix": "Start with 7. 7 - 2 = 5.", "wrong_step": "7 - 2 = 5."}
    assert "Check" not in fields(ask(task, {**inputs, "error_type": "operator_error"}))["reflection"]


def test_nothing_goes_on_from_the_result_of_a_check():
    """The 4 that comes last is the question's, though a check had 4 before."""
    solution = "Start with 4. 4 + 2 = 6. Check: 6 - 2 = 4. 6 + 4 = 10. Check: 10 - 4 = 6. The answer is 10."
    question = "Ada has 4 figs. She gets 2 more. She gets 4 more. How many has she?"
    assert read_solution(solution, question).checks_its_sums
    found = [inject(question, solution, "10", "calculation_error", random.Random(seed)) for seed in range(20)]
    wrong = [one for one in found if one is not None and one.steps[one.wrong].startswith("4 + 2 = ")]
    assert wrong and not any("Check" in one.steps[one.wrong] for one in found if one is not None)
    for one in wrong:
        carried = one.steps[1].removeprefix("4 + 2 = ").rstrip(".")
        assert one.steps[3].startswith(f"{carried} + 4 = "), one.steps
