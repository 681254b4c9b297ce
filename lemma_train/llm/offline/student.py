"""The offline student: works a problem through, and in a share of cases makes a mistake on the way.

Enters: a question with its worked solution and answer. Leaves: an answer as a beginner would write it. The kinds of
mistakes are drawn with the shares that LEMMA found for LLaMA-3-8B on GSM8K (arXiv 2503.17439); the rarer kinds have
small weights beside them, by our choice. What comes out differs: a kind that does not fit a question is drawn again.
"""

from random import Random

from lemma_train.llm.offline.injection import inject
from lemma_train.llm.offline.wording import after, can_follow
from lemma_train.llm.offline.worked_solution import as_one_answer, read_solution

_WEIGHTS = {
    "question_misinterpretation": 41.6,
    "calculation_error": 24.5,
    "confusing_concept_error": 20.9,
    "missing_step": 6.8,
    "confusing_formula_error": 6.3,
    "operator_error": 3.0,
    "counting_error": 2.0,
    "referencing_context_value_error": 2.0,
    "referencing_previous_step_value_error": 2.0,
    "unit_conversion_error": 2.0,
}
_OPENERS = ("Let's work it out.", "Let's see.", "I take it step by step.", "We look at what is given.")
_LINKS = (("First,", "Then,"), ("To start,", "Next,"), ("", "So,"))


def answer(question: str, solution: str, reference_answer: str, mistake_share: float, draw: Random) -> str:
    """The student's text; right where no mistake fits."""
    right = as_one_answer(read_solution(solution, question), reference_answer)
    steps = [right.text[start:end] for start, end in right.steps]
    if draw.random() < mistake_share:
        steps = _mistaken(question, solution, reference_answer, draw) or steps
    if draw.random() < 0.5:
        steps = _reworded(steps, draw)
    return ("\n" if "\n" in right.text else " ").join(steps)


def _mistaken(question: str, solution: str, reference_answer: str, draw: Random) -> list[str] | None:
    weights = dict(_WEIGHTS)
    while weights:
        (kind,) = draw.choices(list(weights), list(weights.values()))
        wrong = inject(question, solution, reference_answer, kind, draw)
        if wrong is not None:
            return list(wrong.steps)
        del weights[kind]
    return None


def _reworded(steps: list[str], draw: Random) -> list[str]:
    links = draw.choice(_LINKS)
    told = []
    for i, step in enumerate(steps[:-1]):
        link = links[0] if i == 0 else links[1] if draw.random() < 0.4 else ""
        told.append(after(link, step) if link and can_follow(step) else step)
    last = steps[-1]
    if last.startswith("The answer is"):
        last = draw.choice(["The answer is", "So the answer is", "Therefore, the answer is"]) + last[13:]
    opener = [draw.choice(_OPENERS)] if draw.random() < 0.4 else []
    return [*opener, *told, last]
