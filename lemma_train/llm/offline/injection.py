"""Write a wrong solution: one mistake of a given kind, carried through to a wrong final answer.

Enters: a worked solution, its answer, the kind of mistake and a seed. Leaves: the steps of the wrong solution and the
first wrong one, checked: sums after it are true, steps before it untouched, counts stay counts. None where no mistake
of that kind fits.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from random import Random

from lemma_train.llm.offline.arithmetic import Token, is_latex, tokens_of
from lemma_train.llm.offline.diagnosis import fault_in
from lemma_train.llm.offline.mistakes import MAKERS, Mistake
from lemma_train.llm.offline.worked_solution import WorkedSolution, as_one_answer, read_solution, read_steps

_MOST_CANDIDATES = 60
# In formulas a number is as often an index or a coefficient: only what stays within one sum is safe there.
_IN_FORMULAS = ("calculation_error", "operator_error")
_COMPARISON = re.compile(r"[<>]")
_SPACED_THOUSANDS = re.compile(r"(?<![\d,.])\d{1,3}, \d{3}(?![\d.]\d)")  # "9, 240 ounces": read as two numbers
# A step that opens so cannot be the first one, or speaks of the one before it.
_FOLLOWS = re.compile(
    r"(?:then|next|now|so|after|therefore|thus|hence|finally|also|second|third|from (?:there|here))\b", re.IGNORECASE
)
_REFERS_BACK = re.compile(r"(?:this|that|these|those|which)\b", re.IGNORECASE)


@dataclass(frozen=True)
class WrongSolution:
    """steps in order. wrong: index of the first wrong one."""

    steps: tuple[str, ...]
    wrong: int


def inject(question: str, solution: str, answer: str, error_type: str, draw: Random) -> WrongSolution | None:
    """One wrong solution, or None where this kind of mistake does not fit."""
    if error_type not in MAKERS:
        return None
    right = as_one_answer(read_solution(solution, question), answer)
    if right.final is None or not right.equations or _COMPARISON.search(right.text):
        return None
    if _SPACED_THOUSANDS.search(right.text):
        return None
    if is_latex(right.text) and error_type not in _IN_FORMULAS:
        return None
    for mistake in islice(MAKERS[error_type](right, draw), _MOST_CANDIDATES):
        wrong = _applied(right, mistake)
        if wrong is not None and fault_in(read_steps(wrong.steps, question), wrong.wrong, right) is not None:
            return wrong  # else the changed step is true after all, as a sum in another order is
    return None


def _applied(right: WorkedSolution, mistake: Mistake) -> WrongSolution | None:
    dropped = frozenset() if mistake.dropped is None else frozenset({mistake.dropped})
    if mistake.dropped is not None and _needed_by_the_next(right, mistake.dropped):
        return None
    lefts = _edited_lefts(right, mistake)
    new = right.carried(mistake.changes, lefts, dropped)
    if new is None or right.final not in new:
        return None
    shown = {i for i in new if right.step_at(right.numbers[i].start) not in dropped}
    if not all(_plausible(right, i, new[i]) for i in shown):
        return None
    steps = right.rewritten(new, mistake.edits)
    if steps is None:
        return None
    changed = [
        i for i, (start, end) in enumerate(right.steps) if steps[i] != right.text[start:end] and i not in dropped
    ]
    if not changed or (mistake.step is not None and changed[0] != mistake.step):
        return None
    first = changed[0]
    if dropped and first < min(dropped):
        return None
    kept = tuple(step for i, step in enumerate(steps) if i not in dropped)
    wrong = first - sum(i < first for i in dropped)
    if kept[wrong] in {right.text[start:end] for start, end in right.steps}:
        return None
    untrue = not dropped and any(i in right.results for i in mistake.changes)
    return WrongSolution(kept, wrong) if _reads_true(right, kept, wrong, len(dropped), untrue) else None


def _needed_by_the_next(right: WorkedSolution, step: int) -> bool:
    """Whether a step cannot be left out without a trace: the next one says "Then" as the first of all, or "This"."""
    following = right.text[right.steps[step + 1][0] :] if step + 1 < len(right.steps) else ""
    return bool(_REFERS_BACK.match(following)) or (step == 0 and bool(_FOLLOWS.match(following)))


def _edited_lefts(right: WorkedSolution, mistake: Mistake) -> dict[int, str]:
    lefts = {}
    for k, equation in enumerate(right.equations):
        inside = sorted(
            (span, text)
            for span, text in mistake.edits.items()
            if equation.left.start <= span[0] and span[1] <= equation.left.end
        )
        if inside:
            written, at = "", equation.left.start
            for (start, end), text in inside:
                written, at = written + right.text[at:start] + text, end
            lefts[k] = written + right.text[at : equation.left.end]
    return lefts


def _plausible(right: WorkedSolution, i: int, value: Fraction) -> bool:
    """Whether the story could hold the new number in place of the old one."""
    number = right.numbers[i]
    old = number.value
    if (old > 0 >= value or old >= 0 > value) and not any(n.value < 0 for n in right.numbers):
        return False
    if old.denominator == 1 and value.denominator != 1:
        return False
    if (value * 100).denominator != 1 and (old * 100).denominator == 1:
        return False
    if (abs(value) == 1) != (abs(old) == 1) and _counts_things(right.text, number):
        return False
    if number.percent and abs(value) > 1 >= abs(old):
        return False
    return not old or not value or Fraction(1, 60) <= abs(value / old) <= 60


def _counts_things(text: str, number: Token) -> bool:
    """Whether a noun follows: with 1 it would need another form."""
    return re.match(r"\s?(?:[a-z]+ ){0,2}[a-z]{2,}", text[number.end : number.end + 30]) is not None


def _reads_true(right: WorkedSolution, steps: tuple[str, ...], wrong: int, dropped: int, untrue: bool) -> bool:
    """Read again what was written: a wrong end, as many sums as before, and true ones from the wrong step on, but for
    that step itself where it is meant to be `untrue`."""
    text = "\n".join(steps)
    again = read_solution(text, right.question)
    lost = len(right.equations) - len(again.equations)
    if again.final is None or right.final is None or lost > dropped or lost < 0:
        return False
    if again.numbers[again.final].value == right.numbers[right.final].value:
        return False
    begins = sum(len(step) + 1 for step in steps[: wrong + untrue])
    later = [equation for equation in again.equations if equation.left.start >= begins]
    return all(equation.holds for equation in later) and bool(tokens_of(steps[wrong]))
