"""Whether what follows a wrong step is work: sums that hold, and an answer that comes out of them.

Enters: the parts of a draft, and its question. Leaves: the reason why they are no work, or None. Only plain arithmetic
is reckoned after; formulas with letters are taken as written. Whether the answer is right is for grading.
"""

import re
from collections.abc import Iterator
from fractions import Fraction

from lemma_train.collection.records import Draft
from lemma_train.collection.reflections import objects
from lemma_train.collection.steps import split_steps
from lemma_train.llm.offline.arithmetic import is_latex, tokens_of
from lemma_train.llm.offline.equations import CONVERSIONS, Equation, equations_of
from lemma_train.llm.offline.figures import Figures

# Where an answer is stated, for filters and the offline teacher. The grader's own reader tells no places and knows
# fewer forms: of "the answer rounded to cents is 3.14" it takes the last number. "To answer this" states nothing.
FINAL_ANSWER = re.compile(
    r"\\(?:boxed|fbox)\b|(?<!\bto )\banswers?\b[^.?!\n]{0,80}?(?:\b(?:is|are|equals)\b|=|:)|####", re.IGNORECASE
)
# A number with at most a currency and a unit beside it; "2 hours 30 minutes" and "25\pi" are other answers.
_BARE_NUMBER = re.compile(r"[\s*:$\u00a3\u20ac{(\\]*(-?[0-9][0-9,]*(?:\.[0-9]+)?)[^0-9\\=+*/^\u00d7\u00f7]*")
_FIGURE = re.compile(
    r"[0-9]+(?:[, ][0-9]{3}(?![0-9]))*(?:\.[0-9]+)?"
)  # "80 000", and "130miles", which tokens leave out
_SUM = re.compile(
    r"[=\u2248\u2261\u2264\u2265<>]|\\(?:d?frac|cdot|times|div|sqrt|d?binom|equiv|leq?|geq?|approx|implies|sum|to)(?![a-z])"
    r"|[0-9]!|[0-9)]\s*(?:[-+*/x\u00d7\u00f7\u00b7\u2212^]\s*[$\u00a3\u20ac(\\]*\s*[0-9]"
    r"|%?\s*(?:plus|minus|times|divided by|over|of)\b)"
    r"|\b(?:half|twice|double|triple|third|quarter)\b",
    re.IGNORECASE,
)
_ENOUGH_PROSE, _ENOUGH_FOR_A_WORD = 10, 7  # words; a thought without a sum takes about as many
# By what a sum may differ from the answer in another unit; to halve or to double is a step of its own.
_UNITS = frozenset(factor for factor in CONVERSIONS if factor >= 7)
_PLAIN = re.compile(r"[-\d\s.,$\u00a3\u20ac+*/x\u00d7\u00f7\u2212=]+")
_RUNS_ON_BEFORE = re.compile(r"[A-Za-z_]$|(?:[0-9)}%^+*/,.\u00d7\u00f7\u2212-]|\band)[\s$\u00a3\u20ac\\]*$")
_RUNS_ON_AFTER = re.compile(r"[\s\\]*(?:and\s+)?(?:[$\u00a3\u20ac]?[0-9(+*/^\u00d7\u00f7\u2212{\\-]|,[0-9])")
_COMES_TO = re.compile(r"(?<=[0-9])\s+(?:is|gives|makes|equals|comes to|leaves)(?=\s+[$\u00a3\u20ac]?[0-9])")
_DENIAL = re.compile(r"\bno\b|\?|\bnot\b", re.IGNORECASE)


def states_answer(text: str) -> bool:
    r"""Whether a text states a final answer: "answer is X", "answer: X", \boxed{X} or "#### X"."""
    return FINAL_ANSWER.search(text) is not None


def fault_of_working(draft: Draft, question: str) -> tuple[str, str] | None:
    """Why a continuation is no work, as `(reason, sentence)`, or None where it is; it must state an answer.

    - `no_working`: it names the answer with neither a sum nor a thought of ten words in it (seven where the answer is
      no number). Going on with the
      same line of reasoning may do so where the answer was worked out before.
    - `untrue_sum`: it holds a plain sum that is not true and is not denied.
    - `answer_from_nowhere`: it ends in sums, and the number that it names is none of theirs, nor of the question or of
      the other parts; a number rounded or in another unit is theirs.

    Example:
        >>> draft = Draft("a/fix", "p", "a", "fix_and_continue", "student", "calculation_error", "8 - 5 = 4.", (0, 10),
        ...               "Wait, 8 - 5 is 3.", "So 3 * 2 = 6. The answer is 7.")
        >>> fault_of_working(draft, "Ben has 8 nuts, eats 5 and then finds as many as he has. How many has he?")[0]
        'answer_from_nowhere'
    """
    work, stated = _parts(draft.continuation)
    told = FINAL_ANSWER.sub(" ", draft.continuation)
    enough = _ENOUGH_PROSE if re.search("[0-9]", stated) else _ENOUGH_FOR_A_WORD
    if not _SUM.search(told) and len(told.split()) < enough and not _found_before(draft, stated):
        return "no_working", "The continuation must show the work that leads to the answer, not the answer alone."
    if is_latex(draft.continuation):
        return None  # between formulas numbers come from more than sums
    for start, end in split_steps(draft.continuation):
        step = draft.continuation[start:end]
        untrue = next(_untrue(step), None)
        if untrue is not None and not _DENIAL.search(step) and not objects(step):
            return "untrue_sum", f"The sum {untrue.plain} is not true."
    number = _BARE_NUMBER.fullmatch(stated)
    last = next((sum_ for sum_ in reversed(equations_of(work)) if sum_.result is not None), None)
    if number is not None and last is not None:
        value = Fraction(number[1].replace(",", ""))
        others = (work, draft.reflection, question, draft.prefix)
        if not _comes_from(last.right.value, value) and not any(abs(value) in _values(text) for text in others):
            said = f"the last sum is {last.plain}"
            return "answer_from_nowhere", f"Nothing before the answer gives {number[1]}; {said}."
    return None


def repeats_the_mistake(reflection: str, wrong_step: str) -> bool:
    """Whether all that a reflection finds is the sum of the wrong step once more: "Let me verify: 84 - 50 = 44."

    Example:
        >>> repeats_the_mistake("Let me verify: 8 - 5 is 4.", "He has 8 - 5 = 4 left.")
        True
        >>> repeats_the_mistake("Wait, 8 - 5 is 3.", "He has 8 - 5 = 4 left.")
        False
    """
    found = equations_of(_COMES_TO.sub(" = ", reflection))
    wrong = equations_of(_COMES_TO.sub(" = ", wrong_step))
    again = bool(found) and all(any(one.repeats(other) for other in wrong) for one in found)
    return again and "?" not in reflection and not objects(reflection)


def answer_known_beforehand(draft: Draft, question: str) -> str | None:
    """What a reflection says where it names a number as the answer that nothing before it gives, or None.

    A wrong step that itself states the answer may be answered with the right one.
    """
    if states_answer(draft.prefix[slice(*draft.wrong_span)]):
        return None
    for start, end in split_steps(draft.reflection):
        found = FINAL_ANSWER.search(draft.reflection, start, end)
        if found is None:
            continue
        named = re.match(r"[\s*:$\u00a3\u20ac{(\\]*([0-9][0-9,]*(?:\.[0-9]+)?)", draft.reflection[found.end() : end])
        known = _values(draft.prefix) | _values(question) | _values(draft.reflection[: found.start()])
        if named is not None and Fraction(named[1].replace(",", "").rstrip(".")) not in known:
            return draft.reflection[found.start() : found.end()] + named.group().rstrip(",.")
    return None


def _parts(continuation: str) -> tuple[str, str]:
    """The work, and what is stated as the answer: the rest of the last step that states one."""
    for start, end in reversed(split_steps(continuation)):
        statements = list(FINAL_ANSWER.finditer(continuation, start, end))
        if statements:
            return continuation[: statements[0].start()], continuation[statements[-1].end() : end]
    return continuation, ""


def _found_before(draft: Draft, stated: str) -> bool:
    """Whether the answer was worked out in the reflection, or stands in the prefix before the wrong step."""
    if draft.strategy != "fix_and_continue":
        return False
    before = draft.prefix[: draft.wrong_span[0]]
    number = _BARE_NUMBER.fullmatch(stated)
    if number is None:
        sought = " ".join(stated.casefold().split()).strip(" .{}*$")
        told = " ".join(f"{before} {draft.reflection}".casefold().split())
        return states_answer(draft.prefix[slice(*draft.wrong_span)]) or (bool(sought) and sought in told)
    value = abs(Fraction(number[1].replace(",", "")))
    return value in _values(before) or (value in _values(draft.reflection) and bool(_SUM.search(draft.reflection)))


def _values(text: str) -> set[Fraction]:
    """The sizes of the numbers of a text, in figures and in words; 20% is both 1/5 and 20."""
    found: set[Fraction] = set(Figures.of(text).worded)
    found |= {Fraction(re.sub("[, ]", "", figure)) for figure in _FIGURE.findall(text)}
    for token in tokens_of(text):
        if token.kind == "num":
            found |= {abs(token.value), abs(token.value) * 100} if token.percent else {abs(token.value)}
    return found


def _comes_from(result: Fraction, value: Fraction) -> bool:
    """Whether a number is a result, as it is or rounded, or the same in another unit."""
    if result == value:
        return True
    if abs(abs(result) - abs(value)) < 1 and (result.denominator != 1 or value.denominator != 1):
        return True
    return bool(result) and bool(value) and bool({abs(value / result), abs(result / value)} & _UNITS)


def _untrue(step: str) -> Iterator[Equation]:
    """Plain sums of two numbers that do not hold: figures and signs only, for units may explain a difference; whole
    ones, for "1 1/2 = 3" may be the end of a longer one; not off by a power of ten, as cents and thousands are; and no
    division cut off ("13 / 6 = 2 full boxes")."""
    for sum_ in equations_of(step):
        if [token.kind for token in sum_.left.tokens] != ["num", "op", "num"] or sum_.result is None or sum_.holds:
            continue
        numbers = (*sum_.left.numbers, sum_.result)
        start, end = sum_.left.start, sum_.right.end
        written, before, after = step[start:end], step[max(0, start - 12) : start], step[end : end + 12]
        whole = not _RUNS_ON_BEFORE.search(before) and not _RUNS_ON_AFTER.match(after)
        odd = any(number.percent or re.match(r"0[0-9]", number.text) for number in numbers)
        rounded = sum_.left.operators[0].text == "/" and abs(sum_.left.value - sum_.right.value) < 1
        if (
            whole
            and not odd
            and not rounded
            and _PLAIN.fullmatch(written)
            and not _is_power_of_ten(sum_.left.value, sum_.right.value)
        ):
            yield sum_


def _is_power_of_ten(one: Fraction, other: Fraction) -> bool:
    return bool(one and other) and any(one == other * Fraction(10) ** power for power in range(-6, 7))
