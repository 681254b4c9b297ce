"""A teacher and a student behind HTTP that read the prompts they are sent, as any model would.

Enters: a request's body. Leaves: the text of a reply, from the offline rules. What the rules are told is read back out
of the prompt's sections, so that a value missing from a prompt is missing here as well.
"""

import html
import re
from typing import Any

from lemma_train.llm.offline.engine import OfflineModel
from lemma_train.llm.protocol import Request
from lemma_train.problems import Problem, load_problems

_SECTION = re.compile(r"<(\w+)>\n?(.*?)\n?</\1>", re.DOTALL)


class ReadingTeacher:
    """Answers completions (as the student) and chat completions (as the teacher) about the problems of a recipe."""

    def __init__(self, problems: list[Any], seed: int, mistake_share: float = 0.6) -> None:
        self._problems: dict[str, Problem] = {p.question: p for p in load_problems(problems, seed).problems}
        self._model = OfflineModel(mistake_share)

    def __call__(self, body: dict[str, Any]) -> str:
        task, inputs = self._sampling(body) if "prompt" in body else _teaching(body)
        # The server asks from within its own event loop. The rules wait for nothing: one step is all there is.
        try:
            self._model.generate(Request(task, inputs, prompt="", seed=body["seed"])).send(None)
        except StopIteration as done:
            return done.value.text
        raise AssertionError("the offline rules waited for something")

    def _sampling(self, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        question = body["prompt"].split("### Instruction:\n")[1].split("\n\n### Response:")[0]
        problem = self._problems[question]
        told = {"question": question, "reference_solution": problem.solution, "reference_answer": problem.answer}
        return "sampling", {**told, "sample": 0}


def _teaching(body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    task = body["response_format"]["json_schema"]["name"]
    asked = next(turn["content"] for turn in body["messages"] if turn["role"] == "user")
    read = {name: html.unescape(text) for name, text in _SECTION.findall(asked)}
    meaning, _, explanation = read.get("what_is_wrong", "").partition(" Here: ")
    kind, _, kind_meaning = read.get("kind_of_mistake", "").partition(": ")
    steps = re.findall(r"^\[\d+\] (.*?)(?=\n\[\d+\] |\Z)", read.get("student_steps", ""), re.DOTALL | re.MULTILINE)
    types = body["response_format"]["json_schema"]["schema"]["properties"].get("error_type", {}).get("enum", [])
    values = {
        "question": read["question"],
        "reference_solution": read.get("right_solution"),
        "right_solution": read.get("right_solution"),
        "reference_answer": read.get("right_answer"),
        "solution": "\n".join(steps),
        "steps": steps,
        "extracted": read.get("student_answer"),
        "error_types": [{"name": name, "meaning": ""} for name in types if name != "none"],
        "error_type": kind,
        "error_type_meaning": kind_meaning or meaning,
        "number": int(read.get("version", 0)),
        "prefix": read.get("written_so_far", read.get("prefix")),
        "wrong_step": read.get("wrong_step"),
        "explanation": explanation,
        "strategy": "fix_and_continue",
        "reflection": read.get("reflection"),
        "continuation": read.get("continuation"),
    }
    return task, values
