"""The offline teacher and student on whole sets of problems: mistakes carried through, found again, and put right."""

import asyncio
import json
import re
from collections import Counter
from itertools import islice

import pytest
from word_sum_truth import is_right

from lemma_train.collection.filters import fault_of
from lemma_train.collection.records import Draft
from lemma_train.collection.steps import split_steps
from lemma_train.llm.offline.engine import OfflineModel
from lemma_train.llm.offline.equations import equations_of
from lemma_train.llm.offline.mistakes import MAKERS
from lemma_train.llm.offline.worked_solution import as_one_answer, read_solution, read_steps, without_annotations
from lemma_train.llm.protocol import Request
from lemma_train.problem_generators import generate

COMMON = ("calculation_error", "operator_error", "referencing_context_value_error")
TYPES = [*MAKERS, "contradictory_step", "nonsense_output_error"]
MODEL = OfflineModel(mistake_share=1.0)


def ask(task, inputs, seed=0, model=MODEL):
    return asyncio.run(model.generate(Request(task, inputs, seed=seed)))


def fields(reply):
    assert reply.finish_reason == "stop", reply.text
    return json.loads(reply.text)


SETS = [(kind, size) for size in (40, 150) for kind in ("word_sums", "gsm_symbolic", "gsm8k")]


@pytest.fixture(
    scope="module",
    params=[pytest.param(s, marks=[pytest.mark.slow] if s[1] == 150 else [], id=f"{s[0]}-{s[1]}") for s in SETS],
)
def worked(request):
    """Problems of one kind, as (question, worked solution, answer)."""
    kind, size = request.param
    if kind != "gsm8k":
        return [(p.question, p.solution, p.answer) for p in generate(kind, size, seed=11)]
    path = request.getfixturevalue("shared_data") / "gsm8k_train.jsonl"
    with path.open() as lines:
        rows = [json.loads(line) for line in islice(lines, size)]
    return [(row["question"], row["answer"], row["answer"].rpartition("####")[2].strip()) for row in rows]


def injection_inputs(problem, error_type, number=0):
    question, solution, answer = problem
    return {
        "question": question,
        "reference_solution": solution,
        "reference_answer": answer,
        "error_type": error_type,
        "error_type_meaning": "",
        "number": number,
    }


@pytest.fixture(scope="module")
def injected(worked):
    """(problem, error type, fields of the reply) for every kind that fits."""
    found = []
    for problem in worked:
        for error_type in MAKERS:
            reply = ask("injection", injection_inputs(problem, error_type))
            if reply.finish_reason == "stop":
                found.append((problem, error_type, json.loads(reply.text)))
    return found


def final_value(text, question):
    read = read_solution(text, question)
    return None if read.final is None else read.numbers[read.final].value


def prefix_inputs(problem, error_type, wrong):
    glue = "\n" if "\n" in problem[1] else " "
    return {
        "question": problem[0],
        "prefix": glue.join(wrong["steps"][: wrong["wrong_step"]]),
        "wrong_step": wrong["steps"][wrong["wrong_step"] - 1],
        "error_type": error_type,
        "error_type_meaning": "",
        "explanation": wrong["explanation"],
    }


def test_most_problems_can_take_a_common_mistake(worked, injected):
    served = {problem[0] for problem, error_type, _ in injected if error_type in COMMON}
    assert len(served) >= 0.85 * len(worked)
    kinds = Counter(error_type for _, error_type, _ in injected)
    assert sum(kinds.values()) >= 5 * len(worked)


def test_an_injected_mistake_is_carried_to_a_wrong_end(injected):
    for (question, solution, answer), error_type, wrong in injected:
        right = as_one_answer(read_solution(solution, question), answer)
        steps = [right.text[start:end] for start, end in right.steps]
        at = wrong["wrong_step"] - 1
        assert wrong["steps"][at] not in steps, (error_type, wrong)
        assert all(step in steps for step in wrong["steps"][:at])
        text = "\n".join(wrong["steps"])
        assert final_value(text, question) not in (None, final_value(right.text, question))
        after = "\n".join(wrong["steps"][at + 1 :])
        assert all(equation.holds for equation in equations_of(after)), (error_type, wrong)
        wrong_sums = equations_of(wrong["steps"][at])
        if error_type == "calculation_error":
            assert not all(equation.holds for equation in wrong_sums)
        elif wrong_sums:
            assert all(equation.holds for equation in wrong_sums)
        assert wrong["explanation"] and "{" not in wrong["explanation"]


def test_injected_numbers_stay_possible(injected):
    for (question, solution, _), _, wrong in injected:
        right = read_solution(solution, question)
        new = read_steps(wrong["steps"], question)
        if all(number.value.denominator == 1 for number in right.numbers):
            assert all(number.value.denominator == 1 for number in new.numbers), wrong
        if all(number.value >= 0 for number in right.numbers):
            assert all(number.value >= 0 for number in new.numbers), wrong


def test_analysis_finds_the_step_where_the_mistake_was_put(injected):
    hits = Counter()
    for (question, solution, answer), error_type, wrong in injected:
        inputs = {
            "question": question,
            "reference_solution": solution,
            "reference_answer": answer,
            "solution": "\n".join(wrong["steps"]),
            "steps": wrong["steps"],
            "extracted": None,
            "error_types": [{"name": name, "meaning": ""} for name in TYPES],
        }
        found = fields(ask("analysis", inputs))
        assert found["error_type"] in TYPES
        hits[error_type, found["verdict"] == "wrong" and found["first_wrong_step"] == wrong["wrong_step"]] += 1
        if error_type == "calculation_error":
            assert found["error_type"] == "calculation_error"
    for error_type in {error_type for error_type, _ in hits}:
        exact, asked = hits[error_type, True], hits[error_type, True] + hits[error_type, False]
        assert exact >= 0.9 * asked or asked - exact == 1, (error_type, hits)


def test_both_corrections_are_true_and_end_right(injected):
    spoken = []
    for (question, solution, answer), error_type, wrong in injected:
        inputs = prefix_inputs((question, solution, answer), error_type, wrong)
        plain = without_annotations(solution)
        fixed = ask("fix_and_continue", {**inputs, "reference_solution": plain, "reference_answer": answer})
        again = ask("fresh_and_restart", {**inputs, "right_solution": plain})
        wanted = final_value(plain, question)
        for strategy, reply in (("fix_and_continue", fixed), ("fresh_and_restart", again)):
            written = fields(reply)
            assert all(equation.holds for equation in equations_of(written["continuation"])), written
            assert final_value(written["continuation"], question) == wanted, written
            spoken.append(written["reflection"])
            span = (len(inputs["prefix"]) - len(inputs["wrong_step"]), len(inputs["prefix"]))
            parts = (inputs["prefix"], span, written["reflection"], written["continuation"])
            draft = Draft("a/fix", "p", "a", strategy, "injected", error_type, *parts)
            assert fault_of(draft, question, plain) is None, draft
        right_steps = [step for step in wrong["steps"][: wrong["wrong_step"] - 1] if equations_of(step)]
        begun = fields(fixed)["continuation"]
        assert not any(step in begun.split("\n") for step in right_steps), begun
    assert len(set(spoken)) >= 0.6 * min(len(spoken), 2000)


def test_the_student_is_wrong_about_as_often_as_asked(worked):
    def wrong_share(model):
        wrong = 0
        for i, (question, solution, answer) in enumerate(worked):
            inputs = {"question": question, "reference_solution": solution, "reference_answer": answer, "sample": i}
            text = ask("sampling", inputs, model=model).text
            wrong += final_value(text, question) != final_value(without_annotations(solution), question)
        return wrong / len(worked)

    assert wrong_share(OfflineModel(mistake_share=0.0)) <= 0.01
    assert 0.4 <= wrong_share(OfflineModel(mistake_share=0.6)) <= 0.7


def test_student_answers_go_through_the_whole_chain(worked):
    kept = 0
    for i, (question, solution, answer) in enumerate(worked[:100]):
        plain = without_annotations(solution)
        shown = {"question": question, "reference_solution": plain, "reference_answer": answer}
        text = ask("sampling", {**shown, "sample": i}).text
        spans = split_steps(text)
        steps = [text[start:end] for start, end in spans]
        types = [{"name": name, "meaning": ""} for name in TYPES]
        found = ask("analysis", {**shown, "solution": text, "steps": steps, "extracted": None, "error_types": types})
        if fields(found)["verdict"] == "correct":
            continue
        at = fields(found)["first_wrong_step"] - 1
        inputs = {"question": question, "prefix": text[: spans[at][1]], "wrong_step": steps[at], "explanation": ""}
        fixed = ask("fix_and_continue", {**inputs, **shown, "error_type": fields(found)["error_type"]})
        if fixed.finish_reason == "refusal":
            continue
        smooth = fields(ask("smoothing", {**inputs, "strategy": "fix_and_continue", **fields(fixed)}))
        assert smooth["prefix"].endswith(steps[at])
        assert re.findall(r"\d+", smooth["continuation"]) == re.findall(r"\d+", fields(fixed)["continuation"])
        assert final_value(smooth["continuation"], question) == final_value(plain, question)
        kept += 1
    assert kept >= 0.75 * len(worked[:100])


def test_a_restart_that_promises_another_way_has_other_sums(worked):
    kept = 0
    for question, solution, _ in worked:
        plain = without_annotations(solution)
        step = next((plain[a:b] for a, b in split_steps(plain) if equations_of(plain[a:b])), plain)
        inputs = {"question": question, "prefix": step, "wrong_step": step, "right_solution": plain, "error_type": ""}
        reply = ask("fresh_and_restart", inputs)
        if reply.finish_reason == "refusal":
            continue
        said, sums = json.loads(reply.text), {equation.plain for equation in equations_of(plain)}
        again = {equation.plain for equation in equations_of(said["continuation"])}
        promised = re.search(r"another|different", said["reflection"])
        assert not promised or (worked[0][1].startswith("Start") and again - sums), said
        kept += 1
    assert kept > 0.8 * len(worked)


@pytest.mark.parametrize("worked", [s for s in SETS if s[0] == "word_sums"], indirect=True)
def test_no_marked_step_of_a_word_sum_is_right_in_truth(worked, injected):
    """Only the steps of word_sums can be judged by themselves."""
    for (question, _, _), _, wrong in injected:
        at = wrong["wrong_step"] - 1
        assert not is_right(question, " ".join(wrong["steps"][:at]), wrong["steps"][at]), (question, wrong)
    judged = 0
    for number, (question, solution, answer) in enumerate(worked):
        shown = {"question": question, "reference_solution": solution, "reference_answer": answer}
        text = ask("sampling", {**shown, "sample": number}).text
        steps = [text[start:end] for start, end in split_steps(text)]
        types = [{"name": name, "meaning": ""} for name in TYPES]
        found = fields(ask("analysis", {**shown, "solution": text, "steps": steps, "error_types": types}))
        at = found["first_wrong_step"] - 1
        if found["verdict"] == "wrong":
            assert not is_right(question, " ".join(steps[:at]), steps[at]), (question, text, found)
            judged += 1
    assert judged > len(worked) / 2
