"""`OfflineModel`: answers requests by rules, as a teacher and as a student, without network or weights.

Enters: a `Request`; only its task, inputs and seed are read. Leaves: the JSON text that a good teacher would send, or a
refusal in plain words where the rules do not reach: they know sums in words, not algebra or geometry. The same request
gets the same reply on every machine.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from lemma_train.collection.working import states_answer
from lemma_train.llm.offline.arithmetic import MAX_TEXT
from lemma_train.llm.offline.correction import holds_throughout, restarted, steps_left
from lemma_train.llm.offline.diagnosis import Finding, fault_in, first_fault
from lemma_train.llm.offline.injection import inject
from lemma_train.llm.offline.mistakes import MAKERS
from lemma_train.llm.offline.student import answer
from lemma_train.llm.offline.wording import after, can_follow, explanation, failed_check, reflection
from lemma_train.llm.offline.worked_solution import WorkedSolution, as_one_answer, read_solution, read_steps
from lemma_train.llm.protocol import Reply, Request

# Goes into the key of stored replies: raise it by hand when replies change.
VERSION = "5"

# What an error is called where its own type is not on the list, nearest first.
_NEAREST = {
    "operator_error": ("confusing_formula_error", "question_misinterpretation"),
    "counting_error": ("missing_step", "calculation_error"),
    "unit_conversion_error": ("confusing_formula_error", "calculation_error"),
    "referencing_context_value_error": ("question_misinterpretation",),
    "referencing_previous_step_value_error": ("confusing_concept_error", "question_misinterpretation"),
    "adding_irrelevant_information": ("question_misinterpretation",),
    "contradictory_step": ("confusing_concept_error", "calculation_error"),
    "confusing_formula_error": ("confusing_concept_error",),
}


class _Refusal(Exception):
    """The rules cannot do what is asked; its text says why."""


class OfflineModel:
    """A language model made of rules; see `lemma_train.llm.protocol`.

    Args:
        mistake_share: how many of the student's answers get a mistake, 0 to 1. Our choice of 0.6 gives both right and
            wrong samples for most questions at four samples each.

    Example:
        >>> import asyncio
        >>> inputs = {"question": "Ada has 3 pens and gets 4. How many has she?", "reference_answer": "7", "sample": 0,
        ...           "reference_solution": "Ada has 3 + 4 = 7 pens. The answer is 7."}
        >>> reply = asyncio.run(OfflineModel(mistake_share=0.0).generate(Request("sampling", inputs)))
        >>> reply.text.endswith("answer is 7.")
        True
    """

    def __init__(self, mistake_share: float = 0.6):
        self.mistake_share = mistake_share

    async def generate(self, request: Request) -> Reply:
        """One reply; `finish_reason` is `refusal` where the rules do not reach."""
        inputs = request.inputs
        asked = " ".join(str(message.get("content", "")) for message in request.messages or ()) or request.prompt or ""
        read = len(asked.split())
        try:
            _check_size(inputs)
            if request.task == "sampling":
                text = self._sampling(inputs, _draw(request))
            elif request.task in _TASKS:
                text = json.dumps(_TASKS[request.task](inputs, _draw(request)), ensure_ascii=False)
            else:
                raise _Refusal(f"There is no rule for the task {request.task!r}.")
        except _Refusal as refusal:
            return Reply(str(refusal), "refusal", read, len(str(refusal).split()))
        return Reply(text, "stop", read, len(text.split()))

    async def close(self) -> None:
        """Nothing to close."""

    def _sampling(self, inputs: Mapping[str, Any], draw: Random) -> str:
        question, solution = _text(inputs, "question"), _text(inputs, "reference_solution")
        return answer(question, solution, _text(inputs, "reference_answer"), self.mistake_share, draw)


def _draw(request: Request) -> Random:
    told = json.dumps([request.task, dict(request.inputs), request.seed], sort_keys=True, default=str)
    return Random(hashlib.sha256(told.encode()).digest())


def _check_size(inputs: Mapping[str, Any]) -> None:
    size = sum(len(value) for value in inputs.values() if isinstance(value, str))
    size += sum(len(step) for step in inputs.get("steps") or () if isinstance(step, str))
    if size > 4 * MAX_TEXT or any(isinstance(value, str) and len(value) > MAX_TEXT for value in inputs.values()):
        raise _Refusal(f"The texts are too long: I read at most {MAX_TEXT} characters of each.")


def _text(inputs: Mapping[str, Any], name: str) -> str:
    value = inputs.get(name)
    if not isinstance(value, str) or not value.strip():
        raise _Refusal(f"I cannot do this without {name.replace('_', ' ')}.")
    return value.strip()


def _worked(inputs: Mapping[str, Any], name: str, stated: str) -> WorkedSolution:
    right = as_one_answer(read_solution(_text(inputs, name), _text(inputs, "question")), stated)
    if not holds_throughout(right):
        raise _Refusal("The worked solution holds a sum that I cannot follow.")
    return right


def _analysis(inputs: Mapping[str, Any], draw: Random) -> dict[str, Any]:
    question, stated = _text(inputs, "question"), _text(inputs, "reference_answer")
    steps = [step for step in inputs.get("steps") or () if isinstance(step, str)]
    if not steps:
        raise _Refusal("There are no steps to look at.")
    shown = inputs.get("reference_solution")
    right = as_one_answer(read_solution(shown, question), stated) if isinstance(shown, str) and shown.strip() else None
    finding = first_fault(read_steps(steps, question), right, stated)
    names = [known["name"] for known in inputs.get("error_types") or ()]
    if finding is None:
        agrees = inputs.get("extracted") in (None, stated) or right is None
        if not agrees:
            finding = Finding(len(steps) - 1, "contradictory_step", "unclear")
    if finding is None:
        told = "Every step agrees with the worked solution." if right is not None else "Every sum is true."
        return {"verdict": "correct", "error_type": "none", "first_wrong_step": 0, "explanation": told}
    return {
        "verdict": "wrong",
        "error_type": _allowed(finding.error_type, names),
        "first_wrong_step": finding.step + 1,
        "explanation": explanation(finding, draw),
    }


def _allowed(error_type: str, names: Sequence[str]) -> str:
    wanted = (error_type, *_NEAREST.get(error_type, ()), "question_misinterpretation")
    return next((name for name in wanted if not names or name in names), names[0] if names else error_type)


def _injection(inputs: Mapping[str, Any], draw: Random) -> dict[str, Any]:
    question, stated = _text(inputs, "question"), _text(inputs, "reference_answer")
    error_type = _text(inputs, "error_type")
    right = _worked(inputs, "reference_solution", stated)
    wrong = inject(question, right.text, stated, error_type, draw)
    if wrong is None:
        reach = "" if error_type in MAKERS else "; it is not among those that rules can write"
        raise _Refusal(f"A mistake of the kind {error_type} does not fit this solution{reach}.")
    finding = fault_in(read_steps(wrong.steps, question), wrong.wrong, right)
    finding = finding or Finding(wrong.wrong, error_type, "unclear")
    return {"steps": list(wrong.steps), "wrong_step": wrong.wrong + 1, "explanation": explanation(finding, draw)}


def _noticed(inputs: Mapping[str, Any], right: WorkedSolution) -> tuple[Finding, WorkedSolution]:
    """What is wrong with the last step of the prefix, and the beginning before it."""
    question, prefix, wrong_step = _text(inputs, "question"), _text(inputs, "prefix"), _text(inputs, "wrong_step")
    cut = prefix.rfind(wrong_step)
    before = read_solution(prefix[:cut] if cut > 0 else "", question)
    steps = [*(before.text[start:end] for start, end in before.steps), wrong_step]
    finding = fault_in(read_steps(steps, question), len(steps) - 1, right)
    return finding or Finding(len(steps) - 1, str(inputs.get("error_type", "")), "unclear"), before


def _fix(inputs: Mapping[str, Any], draw: Random) -> dict[str, Any]:
    right = _worked(inputs, "reference_solution", _text(inputs, "reference_answer"))
    finding, before = _noticed(inputs, right)
    steps = steps_left(right, before)
    if not steps:
        raise _Refusal("Nothing is left to do after this step.")
    doubt = _failed_check(finding, right) or reflection(finding, draw)
    return {"reflection": doubt, "continuation": _joined(steps, inputs, right)}


def _restart(inputs: Mapping[str, Any], draw: Random) -> dict[str, Any]:
    right = read_solution(_text(inputs, "right_solution"), _text(inputs, "question"))
    if not states_answer(right.text):
        raise _Refusal("The right solution states no final answer.")
    if not holds_throughout(right):
        raise _Refusal("The right solution holds a sum that I cannot follow.")
    finding, _ = _noticed(inputs, right)
    steps, another_way = restarted(right, draw)
    doubt = _failed_check(finding, right, restarts=True)
    doubt = doubt or reflection(finding, draw, "another way" if another_way else "once more")
    return {"reflection": doubt, "continuation": _joined(steps, inputs, right)}


def _failed_check(finding: Finding, right: WorkedSolution, restarts: bool = False) -> str | None:
    """Where the worked solution checks its sums, so does who made a mistake, and sees it."""
    return failed_check(finding, restarts) if right.checks_its_sums else None


def _joined(steps: Sequence[str], inputs: Mapping[str, Any], right: WorkedSolution) -> str:
    lines = "\n" in right.text or "\n" in str(inputs.get("prefix", ""))
    return ("\n" if lines else " ").join(steps)


_JOINTS = ("", "", "So, ", "Now, ", "All right. ", "OK. ", "Here goes. ")


def _smoothing(inputs: Mapping[str, Any], draw: Random) -> dict[str, Any]:
    """Only a joint between the parts; numbers and steps stay as they are."""
    prefix, doubt, rest = (_text(inputs, name) for name in ("prefix", "reflection", "continuation"))
    joint = draw.choice(_JOINTS)
    if not joint.endswith(", "):
        rest = joint + rest
    elif can_follow(rest):
        rest = after(joint.strip(), rest)
    return {"prefix": prefix, "reflection": doubt, "continuation": rest}


_TASKS: dict[str, Callable[[Mapping[str, Any], Random], dict[str, Any]]] = {
    "analysis": _analysis,
    "injection": _injection,
    "fix_and_continue": _fix,
    "fresh_and_restart": _restart,
    "smoothing": _smoothing,
}
