"""Find the first wrong step of a solution, and say what is wrong with it.

Enters: a student's steps, the question, and the worked solution where there is one. Leaves: a `Finding`. A step is
wrong where its sum is not true, or where its numbers or signs are not those of the worked solution where it stands.
Another
right way is not told from a wrong one for certain, but for sums in another order; it is looked for only once the answer
is wrong.
"""

import re
from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction

from lemma_train.collection.working import states_answer
from lemma_train.llm.offline.arithmetic import Expression, Token
from lemma_train.llm.offline.chains import right_in_another_order
from lemma_train.llm.offline.equations import CONVERSIONS, Equation
from lemma_train.llm.offline.figures import written_like
from lemma_train.llm.offline.worked_solution import WorkedSolution

# Conditions that are easily read the wrong way round, by the signs that they turn into.
_TURNED = {
    "+-": re.compile(
        r"\b(?:more|fewer|less|older|younger|taller|shorter|longer|heavier|lighter) than\b", re.IGNORECASE
    ),
    "*/": re.compile(r"\b(?:twice|half|third|quarter|times) as\b|\bhalf (?:of|the)\b", re.IGNORECASE),
}
_WORD = re.compile(r"[A-Za-z]{3,}")
_FIGURE = re.compile(r"-?\d[\d,.]*")


@dataclass(frozen=True)
class Finding:
    """What is wrong with a step.

    kind: `slip` (the sum is not true), `operator`, `order` (the operands change places), `reading` (the question has
    another number), `carried` (an earlier step has another result), `operand` (another number is needed for another
    reason), `lacking` and `extra` (of the terms of a sum), `missing` (an earlier step was left out), `number` (a number
    from nowhere), `statement` (another answer than what was found), `nonsense`, or `unclear`.
    said, should: equations without units. used, needed: the wrong number and the right one. "" where not known.
    """

    step: int
    error_type: str
    kind: str
    said: str = ""
    should: str = ""
    used: str = ""
    needed: str = ""


def first_fault(student: WorkedSolution, right: WorkedSolution | None, answer: str) -> Finding | None:
    """The first wrong step, or None where every step agrees and the answer is right."""
    if not student.numbers:
        return Finding(0, "nonsense_output_error", "nonsense")
    for step in range(len(student.steps)):
        finding = fault_in(student, step, right)
        if finding is not None:
            return finding
    stated = student.numbers[student.final].text if student.final is not None else None
    if stated is not None and right is not None and right.final is None and stated.replace(",", "") == answer:
        return None
    if student.final is not None and right is not None and right.final is not None:
        return None  # fault_in has compared them
    return Finding(len(student.steps) - 1, "missing_step", "unclear")


def fault_in(student: WorkedSolution, step: int, right: WorkedSolution | None) -> Finding | None:
    """What is wrong with one step, given those before it."""
    start, end = student.steps[step]
    said = student.text[start:end]
    if right is not None and said in {right.text[a:b] for a, b in right.steps}:
        return None
    inside = [equation for equation in student.equations if start <= equation.left.start < end]
    for equation in inside:
        finding = _fault_of_equation(student, step, equation, right)
        if finding is not None:
            return finding
    if states_answer(said):
        return _fault_of_statement(student, step, right)
    if inside or right is None:
        return None
    return _fault_of_words(student, step, right) or _number_from_nowhere(student, step, right)


def _fault_of_equation(
    student: WorkedSolution, step: int, equation: Equation, right: WorkedSolution | None
) -> Finding | None:
    if right is not None and any(equation.repeats(other) for other in _told_alike(student, step, right)):
        return None
    if not equation.holds:
        value = _value_text(equation)
        should = f"{equation.left.plain} = {value}" if value else ""
        wrong = equation.right.plain
        return Finding(step, "calculation_error", "slip", equation.plain, should, wrong, value)
    if right is None or right_in_another_order(student, equation, right):
        return None
    values = {number.value for number in right.numbers}
    strange = [n for n in equation.left.numbers if _from_nowhere(student, n) and n.value not in values]
    results = {other.right.value for other in right.equations}
    results |= {n.value for i, n in enumerate(right.numbers) if right.sources[i].kind in ("unknown", "derived")}
    reached = equation.right.value in results and not strange
    model = _counterpart(student, step, equation, right)
    finding = None if model is None else _compared(student, step, equation, model, right)
    if finding is not None and not (reached and finding.kind in ("lacking", "extra")):
        return finding
    if reached:
        return None  # worked out in fewer or more sums
    if strange:
        return Finding(step, "referencing_context_value_error", "number", equation.plain, used=strange[0].shown)
    should = "" if model is None else model.plain
    return Finding(step, "question_misinterpretation", "unclear", equation.plain, should)


def _told_alike(student: WorkedSolution, step: int, right: WorkedSolution) -> list[Equation]:
    """The equations of the steps that say the same in words; all equations where there are no such steps."""
    said = _skeleton(student.text[slice(*student.steps[step])])
    if len(_WORD.findall(said)) < 3:
        return list(right.equations)
    alike = [span for span in right.steps if _skeleton(right.text[slice(*span)]) == said]
    found = [other for other in right.equations for a, b in alike if a <= other.left.start < b]
    return found or list(right.equations)


def _values(side: Expression) -> Counter[Fraction]:
    return Counter(number.value for number in side.numbers)


def _signs(side: Expression) -> list[str]:
    return [sign.text for sign in side.operators]


def _value_text(equation: Equation) -> str:
    """The true value of the left side, written as the result was."""
    result = equation.right.tokens[0]
    if result.kind != "num":
        return ""
    text = written_like(result, equation.left.value)
    return "" if text is None else replace(result, text=text, value=equation.left.value).shown


def _from_nowhere(student: WorkedSolution, number: Token) -> bool:
    i = student.index.get(number.start)
    return i is not None and student.sources[i].kind == "unknown"


def _counterpart(student: WorkedSolution, step: int, equation: Equation, right: WorkedSolution) -> Equation | None:
    """The equation of the worked solution that this one stands for: numbers, signs and words shared, not done yet."""
    before = [other for other in student.equations if other.left.start < equation.left.start]
    mine = student.text[slice(*student.steps[step])]
    words = set(_WORD.findall(mine.lower()))
    best, most = None, 0.9
    for other in right.equations:
        if any(other.repeats(done) for done in before):
            continue
        shared = sum((_values(other.left) & _values(equation.left)).values())
        theirs = right.text[slice(*right.steps[right.step_at(other.left.start)])]
        said = set(_WORD.findall(theirs.lower()))
        likeness = len(words & said) / max(1, len(words | said))
        score = shared + 2 * likeness + (0.5 if _signs(other.left) == _signs(equation.left) else 0)
        if words and _skeleton(mine) == _skeleton(theirs):
            score += 2
        if score > most:
            best, most = other, score
    return best


def _compared(
    student: WorkedSolution, step: int, equation: Equation, model: Equation, right: WorkedSolution
) -> Finding | None:
    said, should = equation.plain, model.plain
    mine, theirs = _values(equation.left), _values(model.left)
    if mine == theirs:
        if _signs(equation.left) != _signs(model.left):
            turned = _TURNED["+-" if set(_signs(equation.left)) <= set("+-") else "*/"].search(student.question)
            kind = "question_misinterpretation" if turned else "operator_error"
            return Finding(step, kind, "operator", said, should)
        return Finding(step, "confusing_formula_error", "order", said, should)
    extra, lacking = list((mine - theirs).elements()), list((theirs - mine).elements())
    if len(extra) == len(lacking) == 1 and _signs(equation.left) == _signs(model.left):
        used = next(number for number in equation.left.numbers if number.value == extra[0])
        needed = next(number for number in model.left.numbers if number.value == lacking[0])
        return _other_operand(student, step, equation, model, used, needed, right)
    sums = all(sign in "+-" for sign in _signs(equation.left) + _signs(model.left))
    if sums and bool(extra) != bool(lacking):
        kind = "counting_error" if lacking else "adding_irrelevant_information"
        odd: Token = next(
            number for number in (model if lacking else equation).left.numbers if number.value == (lacking or extra)[0]
        )
        there, wanted = ("", odd.shown) if lacking else (odd.shown, "")
        return Finding(step, kind, "lacking" if lacking else "extra", said, should, there, wanted)
    return None


def _other_operand(
    student: WorkedSolution,
    step: int,
    equation: Equation,
    model: Equation,
    used: Token,
    needed: Token,
    right: WorkedSolution,
) -> Finding:
    said, should = equation.plain, model.plain
    source = right.sources[right.index[needed.start]]
    if source.kind == "result":
        return _other_result(student, step, used, needed, right, source.number, said, should)
    error_type = "referencing_context_value_error"
    if source.kind == "constant" and needed.value in CONVERSIONS and needed.value > 2:
        error_type = "unit_conversion_error"
    elif any(number.percent or 0 < number.value < 1 for number in model.left.numbers) and used.value > 1:
        error_type = "confusing_formula_error"
    elif needed.value <= 12 and abs(used.value - needed.value) == 1 and "*" in _signs(model.left):
        error_type = "counting_error"
    found_too = any(other.right.value == needed.value for other in right.equations)
    kind = "reading" if needed.value in student.figures.given and not found_too else "operand"
    return Finding(step, error_type, kind, said, should, used.shown, needed.shown)


def _other_result(
    student: WorkedSolution,
    step: int,
    used: Token,
    needed: Token,
    right: WorkedSolution,
    number: int,
    said: str,
    should: str,
) -> Finding:
    """Another number stands where an earlier result is needed: was that result ever worked out?"""
    made_by = right.equations[right.results[number]]
    found = any(other.value == needed.value and other.start < used.start for other in student.numbers)
    if not found:
        return Finding(step, "missing_step", "missing", said, made_by.plain, used.shown, needed.shown)
    parts = _values(made_by.left)
    two = len(made_by.left.numbers) == 2 and _signs(made_by.left) in (["-"], ["+"])
    kind = "confusing_concept_error" if two and used.value in parts else "referencing_previous_step_value_error"
    return Finding(step, kind, "carried", said, should, used.shown, needed.shown)


def _fault_of_statement(student: WorkedSolution, step: int, right: WorkedSolution | None) -> Finding | None:
    if right is None or right.final is None or student.final is None:
        return None
    given, wanted = student.numbers[student.final], right.numbers[right.final]
    if given.value == wanted.value:
        return None
    source = right.sources[right.final]
    if source.kind == "result" and given.value != wanted.value:
        finding = _other_result(student, step, given, wanted, right, source.number, "", "")
        if finding.kind == "missing":
            return finding
        if finding.error_type == "confusing_concept_error":
            return replace(finding, kind="statement")
    known = any(number.value == given.value for number in student.numbers[: student.final])
    error_type = "confusing_concept_error" if known else "contradictory_step"
    return Finding(step, error_type, "statement", used=given.shown, needed=wanted.shown)


def _fault_of_words(student: WorkedSolution, step: int, right: WorkedSolution) -> Finding | None:
    """A step without a sum that says what the worked solution says, with another number."""
    start, end = student.steps[step]
    mine = [number for number in student.numbers if start <= number.start < end]
    for a, b in right.steps:
        if _skeleton(right.text[a:b]) != _skeleton(student.text[start:end]):
            continue
        theirs = [i for i, number in enumerate(right.numbers) if a <= number.start < b]
        for used, i in zip(mine, theirs, strict=False):
            needed, source = right.numbers[i], right.sources[i]
            if used.value == needed.value:
                continue
            if source.kind == "result":
                return _other_result(student, step, used, needed, right, source.number, "", "")
            error_type = "referencing_context_value_error"
            return Finding(step, error_type, "statement", used=used.shown, needed=needed.shown)
    return None


def _skeleton(step: str) -> str:
    return _FIGURE.sub("#", step)


def _number_from_nowhere(student: WorkedSolution, step: int, right: WorkedSolution) -> Finding | None:
    start, end = student.steps[step]
    values = {number.value for number in right.numbers}
    for i, number in enumerate(student.numbers):
        if start <= number.start < end and student.sources[i].kind == "unknown" and number.value not in values:
            return Finding(step, "referencing_context_value_error", "number", used=number.shown)
    return None
