"""Whether the steps before a reflection are right: its sums, and its steps beside the worked solution.

Enters: a response cut at its reflection, and the worked solution where one can be followed. Leaves: a verdict, or none
where the text is no plain arithmetic. It looks for no reflection and grades no answer.
"""

import re

from lemma_train.evaluation.transitions import Transition
from lemma_train.llm.offline.diagnosis import fault_in
from lemma_train.llm.offline.equations import Equation
from lemma_train.llm.offline.worked_solution import WorkedSolution, read_solution

_LONGEST_CHECKED = 20_000  # characters; what is longer runs in circles and is no worked solution
_REMAINDER = re.compile(r"\bremainders?\b|\d R ?\d", re.IGNORECASE)
# A sum that begins behind these is the rest of something: "f(3) = 10", "1 1/2 * 4 = 6", "8:00 + 45 minutes = 8:45".
_RUNS_ON_FROM = re.compile(r"(?:[\w:.]|\d |\b(?:half|third|quarter) of |\b(?:twice|double) )\Z", re.IGNORECASE)
# And so is one that goes on with a letter: "20 + 10 = 2 * n", "3 + 4 = 2 mod 5".
_RUNS_ON_TO = re.compile(r"\s*(?:[-+*/^\u00d7\u00b7]\s*[A-Za-z(]|\(?mod\b)")
_LAST_WORD = re.compile(r"([A-Za-z]{2,})\W*$")


def steps_right(
    found: Transition, question: str, right: WorkedSolution | None, ends_right: bool
) -> tuple[bool | None, str | None]:
    """Whether the text before a reflection is right as far as it goes, and the type of its first wrong step.

    Args:
        right: the worked solution, if it can be followed; without one only a sum that is not true decides.
        ends_right: whether the response's final answer is right.

    Returns:
        None in place of a verdict where none can be given.

    Example:
        >>> found = find_reflection("5 + 6 = 12. Wait, that is not right. 5 + 6 = 11.")  # doctest: +SKIP
        >>> steps_right(found, "How much is 5 + 6?", None, ends_right=True)              # doctest: +SKIP
        (False, 'calculation_error')
    """
    before = read_plain(found.before, question)
    whole = None if before is None else read_plain(f"{before.text}\n{found.after}", question)
    if before is None or whole is None:
        return None, None
    led_there = _led_to_the_answer(whole, len(before.text)) if ends_right else frozenset()
    for step in range(len(before.steps)):
        fault = fault_in(before, step, right)
        if fault is None:
            continue
        places = [k for k, equation in enumerate(before.equations) if equation.plain == fault.said]
        if fault.kind == "slip" and not all(_is_whole(before.text, before.equations[k]) for k in places):
            return None, None
        if fault.kind == "slip" or not led_there.intersection(places):
            return False, fault.error_type
        value = before.equations[places[0]].right.value
        if before.figures.has(value) or sum(equation.right.value == value for equation in whole.equations) > 1:
            return None, None  # which of the equal numbers the ending goes on with cannot be told
    return (True if right is not None and before.equations else None), None


def _led_to_the_answer(whole: WorkedSolution, before: int) -> frozenset[int]:
    """The equations, by index, from which the answer follows that is stated after the first `before` characters."""
    if whole.final is None or whole.numbers[whole.final].start < before:
        return frozenset()
    led: set[int] = set()
    waiting = [whole.final]
    while waiting:
        number = waiting.pop()
        k = whole.results.get(number)
        if k is not None and k not in led:
            led.add(k)
            waiting += [whole.index[n.start] for n in whole.equations[k].left.numbers if n.start in whole.index]
        elif k is None and whole.sources[number].kind == "result":
            waiting.append(whole.sources[number].number)
    return frozenset(led)


def _is_whole(text: str, equation: Equation) -> bool:
    """Whether an equation is all that stands there, and adds like to like: not "3 hours + 30 minutes = 3.5 hours"."""
    start, end = equation.left.start, equation.right.end
    if _RUNS_ON_FROM.search(text[:start].rstrip("$")) or _RUNS_ON_TO.match(text, end):
        return False
    if not any(sign.text in "+-" for sign in equation.left.operators):
        return True
    edges = [*(sign.start for sign in equation.left.operators), text.index("=", equation.left.end)]
    told, at = set(), start
    for edge in edges:
        unit = _LAST_WORD.search(text[at:edge])
        told.add(unit[1].lower().rstrip("s") if unit else "%" if "%" in text[at:edge] else "")
        at = edge
    return len(told) == 1


def read_plain(text: str, question: str) -> WorkedSolution | None:
    """A text's steps and sums; None where sums could be misread."""
    # In LaTeX an equals sign may follow a root, a function or a power, of which only the last number would be read;
    # and what is left of a division belongs to its result.
    strange = "\\" in text or _REMAINDER.search(text) is not None
    return None if strange or len(text) > _LONGEST_CHECKED else read_solution(text, question)
