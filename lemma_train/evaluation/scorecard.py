"""Self-correction of a model: does it doubt, is the doubt called for, and does it end well?

Enters: responses with their questions and references; a response's first reflection comes from `transitions`. Leaves:
for each response a verdict on both sides of the reflection, and the counts over many. It runs no model.

Before the reflection there is mostly no answer yet: a trajectory is cut at its first wrong step. "Right before" is
therefore decided by the first of these rules that can (`decided_by`):

- `statement`: the text before states a final answer; it is graded against the reference.
- `step_check`: a sum in it is not true (wrong), or its steps are held against the worked solution by
  `llm.offline.diagnosis`. Wrong: a step disagrees, and no right answer follows from it in the end (a step from which
  one follows is another right way, not an error). Right as far as it goes: it holds sums, and no step is wrong.
  Only for plain sums that were read whole: a text with LaTeX is not decided by it, nor is "f(3) = 10", and a worked
  solution counts only where its sums are understood from the question to the answer.
- `last_number`: the result of the last sum before is the reference answer already, and the reflection only wants to
  look again: right. Another number decides nothing.

Outcomes, of responses that reflect: `repaired` (wrong before, right at the end), `spoiled` (right before, wrong at the
end), `wrong_both`, `idle_doubt` (right on both sides); None where one side is undecided.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lemma_train.evaluation.intervals import clustered_proportion
from lemma_train.evaluation.step_check import read_plain, steps_right
from lemma_train.evaluation.transitions import Transition, admits_fault, find_reflection
from lemma_train.grading.extraction import extract_answer, extract_reference, states_answer
from lemma_train.grading.grader import UNDECIDED, Grader
from lemma_train.llm.offline.diagnosis import first_fault
from lemma_train.llm.offline.worked_solution import WorkedSolution, as_one_answer

# Raise it where the verdicts on some response may change: here, in step_check or in transitions.
SCORECARD_VERSION = "2"
# Of a sample's record, what `scorecard` reads.
CARD_KEYS = ("question_id", "reflects", "outcome", "error_type", "decided_by")
OUTCOMES = ("repaired", "spoiled", "wrong_both", "idle_doubt")

_ENDS_IN_A_RESULT = re.compile(r"=[^=\n.]*\d[^=\n]*$")
_OUTCOME = {
    (False, True): "repaired",
    (True, False): "spoiled",
    (False, False): "wrong_both",
    (True, True): "idle_doubt",
}


def judge(
    response: str,
    question: str,
    reference: str,
    reference_solution: str | None,
    grader: Grader,
    correct: bool | None = None,
) -> dict[str, Any]:
    """What a sample's record says about self-correction.

    Args:
        reference: the final answer, as the grader takes it.
        reference_solution: a worked solution, or None.
        correct: the verdict on the whole response where it is known; None: it is graded here.

    Returns:
        `reflects`, `reflection_span` ([start, end) or None), `answer_before` (the last answer stated before, else the
        last number), `correct_before`, `decided_by`, `outcome`, and `error_type`: of the first wrong step before the
        reflection, else of the whole response where its end is wrong; None where none is found.

    Example:
        >>> with Grader() as grader:
        ...     told = judge("3 + 4 = 8. Wait, 3 + 4 is 7. The answer is 7.", "What is 3 + 4?", "7", None, grader)
        >>> told["outcome"], told["decided_by"], told["error_type"]
        ('repaired', 'step_check', 'calculation_error')
    """
    if correct is None:
        correct = grader.grade(response, reference).correct
    right = _followed(reference_solution, question, reference)
    found = find_reflection(response, question)
    if found is None:
        told = {"reflects": False, "reflection_span": None, "answer_before": None, "correct_before": None}
        error_type = _error_type(response, question, right, reference) if correct is False else None
        return {**told, "decided_by": None, "outcome": None, "error_type": error_type}
    before, decided_by, error_type = _before(found, question, reference, right, grader, correct)
    if error_type is None and correct is False:
        error_type = _error_type(response, question, right, reference)
    return {
        "reflects": True,
        "reflection_span": [found.start, found.end],
        "answer_before": extract_answer(found.before),
        "correct_before": before,
        "decided_by": decided_by,
        "outcome": None if before is None or correct is None else _OUTCOME[before, correct],
        "error_type": error_type,
    }


def scorecard(samples: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The rates of self-correction over the records of `judge`.

    Args:
        samples: those with the same `question_id` are of one question; one without is of a question of its own.

    Returns:
        Proportions `{"value", "low", "high", "n", "k"}` of samples, with 95% intervals (`clustered_proportion`):
        `reflects` of all samples; `undecided` of those that reflect; `repaired`, `spoiled`, `wrong_both` and
        `idle_doubt` of those that reflect and are decided; `repair_rate`, repaired of wrong before; `spoil_rate`,
        spoiled of right before. `decided_by`: counts of the rules. `by_error_type`: for each type that was found
        `reflects`, of the samples with that error, and `repair_rate`.

    Example:
        >>> told = scorecard([{"reflects": True, "outcome": "repaired", "error_type": "calculation_error"},
        ...                   {"reflects": False, "outcome": None, "error_type": "calculation_error"}])
        >>> told["repair_rate"]["value"], told["by_error_type"]["calculation_error"]["reflects"]["value"]
        (1.0, 0.5)
    """
    every = list(samples)
    reflecting = [sample for sample in every if sample["reflects"]]
    decided = [sample for sample in reflecting if sample["outcome"] is not None]
    types = Counter(sample["error_type"] for sample in every if sample["error_type"] is not None)
    told: dict[str, Any] = {
        "reflects": _share(every, "reflects", True),
        "undecided": _share(reflecting, "outcome", None),
        **{outcome: _share(decided, "outcome", outcome) for outcome in OUTCOMES},
        "repair_rate": _rate(decided, "repaired", "wrong_both"),
        "spoil_rate": _rate(decided, "spoiled", "idle_doubt"),
        "decided_by": dict(Counter(sample["decided_by"] for sample in reflecting if sample.get("decided_by"))),
        "by_error_type": {},
    }
    for error_type, _ in types.most_common():
        erring = [sample for sample in every if sample["error_type"] == error_type]
        told["by_error_type"][error_type] = {
            "reflects": _share(erring, "reflects", True),
            "repair_rate": _rate([sample for sample in erring if sample["reflects"]], "repaired", "wrong_both"),
        }
    return told


def _rate(samples: Sequence[Mapping[str, Any]], outcome: str, other: str) -> dict[str, Any]:
    """One outcome of two that share what was before the reflection."""
    either = [sample for sample in samples if sample["outcome"] in (outcome, other)]
    return _share(either, "outcome", outcome)


def _share(samples: Sequence[Mapping[str, Any]], key: str, value: Any) -> dict[str, Any]:
    """The share of samples with this value, and an interval that knows which of them are of one question."""
    groups: dict[Any, list[int]] = {}
    for number, sample in enumerate(samples):
        group = groups.setdefault(sample.get("question_id", number), [0, 0])
        group[0] += sample[key] == value
        group[1] += 1
    return clustered_proportion((successes, trials) for successes, trials in groups.values())


def _before(
    found: Transition, question: str, reference: str, right: WorkedSolution | None, grader: Grader, correct: bool | None
) -> tuple[bool | None, str | None, str | None]:
    """Whether the text before the reflection is right, the rule that decided, and the type of its first wrong step."""
    checked, error_type = steps_right(found, question, right, correct is True)
    if states_answer(found.before):
        grade = grader.grade(found.before, reference)
        stated = None if grade.reason in UNDECIDED else grade.correct
        if stated is not None:
            return stated, "statement", None if stated else error_type
    if checked is not None:
        return checked, "step_check", error_type
    answer = extract_answer(found.before)
    is_result = answer is not None and _ENDS_IN_A_RESULT.search(found.before) is not None
    if is_result and not admits_fault(found.reflection) and grader.grade(found.before, reference).correct:
        return True, "last_number", None
    return None, None, None


def _followed(solution: str | None, question: str, reference: str) -> WorkedSolution | None:
    """The worked solution where its sums are read from the question to the answer; else None."""
    read = None if solution is None else read_plain(solution, question)
    if read is None:
        return None
    right = as_one_answer(read, extract_reference(reference) or reference)
    reached = right.final is not None and right.sources[right.final].kind == "result"
    return right if reached and all(equation.holds for equation in right.equations) else None


def _error_type(response: str, question: str, right: WorkedSolution | None, reference: str) -> str | None:
    """The type of the first wrong step of a response whose end is wrong; None where no worked solution tells it."""
    read = None if right is None else read_plain(response, question)
    found = None if read is None else first_fault(read, right, extract_reference(reference) or reference)
    return None if found is None else found.error_type
