"""Where a worked solution could go wrong, and how: candidates for each kind of mistake.

Enters: a worked solution and a random generator. Leaves: candidates, likelier ones first; each says which numbers and
words of one step change. Whether a candidate can be carried to a wrong final answer is found out in injection.py.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from random import Random

from lemma_train.llm.offline.arithmetic import Token
from lemma_train.llm.offline.equations import Equation
from lemma_train.llm.offline.slips import misreadings, slips
from lemma_train.llm.offline.worked_solution import WorkedSolution

_UNITS: dict[int, tuple[str, tuple[int, ...]]] = {  # factor: what it converts, and what people take instead
    60: (r"minute|hour|second", (100, 24, 30)),
    12: (r"month|year|dozen|inch|foot|feet", (10, 24)),
    7: (r"week|day", (5, 6)),
    24: (r"hour|day", (12, 60)),
    52: (r"week|year", (12, 50)),
    365: (r"day|year", (360, 52)),
    30: (r"day|month", (7, 28)),
    100: (r"cent|centimeter|cm|dollar", (10, 1000)),
    1000: (r"gram|kg|kilo|meter|liter|ml|pound|ton", (100,)),
    16: (r"ounce|pound", (12, 10)),
    3: (r"yard|feet|foot", (12,)),
    4: (r"quart|gallon|week|month", (2, 8)),
}
_COMPARED = re.compile(r"\b(?:more|fewer|less|older|younger|taller|shorter|longer|extra|additional)\b", re.IGNORECASE)
_EACH = re.compile(r"\b(?:each|per|every|apiece|a piece)\b|/", re.IGNORECASE)
_RATE = re.compile(r"\b(?:per|each|every|speed|rate|mph|average|hour|minute|area|perimeter|percent)\b|%", re.IGNORECASE)
_FLIPPED = {"more": "fewer", "fewer": "more", "less": "more", "older": "younger", "younger": "older"}
_FLIPPED |= {"taller": "shorter", "shorter": "taller", "longer": "shorter"}


@dataclass(frozen=True)
class Mistake:
    """changes: new values by number index. edits: new text by span. dropped: index of a step that is left out, and
    whose result `changes` replaces. step: index of the first wrong step, None for the first that shows a change."""

    step: int | None
    changes: Mapping[int, Fraction] = field(default_factory=dict)
    edits: Mapping[tuple[int, int], str] = field(default_factory=dict)
    dropped: int | None = None


def _shuffled(solution: WorkedSolution, draw: Random) -> list[tuple[int, Equation, int]]:
    """Equations that can go wrong, as (index, equation, step): those of small sums late, as nobody slips there."""
    found = [
        (k, equation, solution.step_at(equation.left.start))
        for k, equation in enumerate(solution.equations)
        if equation.result is not None and equation.factor is not None and equation.left.operators
    ]

    def lateness(entry: tuple[int, Equation, int]) -> float:
        numbers = [abs(number.value) for number in entry[1].left.numbers]
        return draw.random() + (2 if min(numbers) <= 1 and entry[1].left.operators[0].text in "*/" else 0)

    return sorted(found, key=lateness)


def _operand_sites(solution: WorkedSolution, draw: Random, kinds: set[str]) -> list[tuple[int, int]]:
    """Operands whose source is of these kinds, as (number index, equation index)."""
    sites = []
    for k, equation, _ in _shuffled(solution, draw):
        found = [solution.index[number.start] for number in equation.left.numbers if number.start in solution.index]
        found = [i for i in found if i not in solution.results and solution.sources[i].kind in kinds]
        sites += [(i, k) for i in draw.sample(found, len(found))]
    return sites


def _everywhere_in_step(solution: WorkedSolution, i: int, value: Fraction) -> dict[int, Fraction]:
    """The change of a number, and of what repeats it in the same step."""
    step, old, source = solution.step_at(solution.numbers[i].start), solution.numbers[i].value, solution.sources[i]
    return {
        j: value
        for j, number in enumerate(solution.numbers)
        if number.value == old
        and solution.step_at(number.start) == step
        and (solution.sources[j] == source and j not in solution.results)
    }


def _miscalculated(solution: WorkedSolution, draw: Random) -> Iterator[Mistake]:
    for _, equation, step in _shuffled(solution, draw):
        assert equation.result is not None
        for value in slips(equation, draw)[:3]:
            yield Mistake(step, {solution.index[equation.result.start]: value})


def _operator_edits(solution: WorkedSolution, equation: Equation) -> Iterator[tuple[Token, str]]:
    """Each sign of the left side that can be replaced, and the other sign as it would be written here."""
    text = solution.text
    for place, sign in enumerate(equation.left.tokens):
        if sign.kind != "op" or place == 0:
            continue
        written, after = text[sign.start : sign.end], text[sign.end : sign.end + 1]
        before, behind = equation.left.tokens[place - 1], equation.left.tokens[place + 1 : place + 2]
        if sign.text == "^" or written.lower() == "of" or not written or (written[0] in "\\}" and sign.text == "/"):
            continue
        is_fraction = sign.text == "/" and before.end == sign.start and not after.isspace()
        if is_fraction and behind and before.value < behind[0].value:
            continue  # "2/3 of" is one number to the reader
        if sign.text in "+-":
            yield sign, "-" if sign.text == "+" else "+"
        elif sign.text == "*":
            yield sign, "+" if written.startswith("\\") else "/"
            yield sign, "+"
        else:
            yield sign, "x" if re.search(r"\d\s+x\s", text) and not is_fraction else "*"


def _wrong_operator(solution: WorkedSolution, draw: Random) -> Iterator[Mistake]:
    for _, equation, step in _shuffled(solution, draw):
        for sign, instead in _operator_edits(solution, equation):
            yield Mistake(step, edits={(sign.start, sign.end): instead})


def _skipped(solution: WorkedSolution, draw: Random) -> Iterator[Mistake]:
    for k, equation, step in _shuffled(solution, draw):
        assert equation.result is not None
        start, end = solution.steps[step]
        alone = sum(start <= other.left.start < end for other in solution.equations) == 1
        result = solution.index[equation.result.start]
        operands = [solution.index[number.start] for number in equation.left.numbers if number.start in solution.index]
        if not alone or not operands or (k == len(solution.equations) - 1 and len(solution.equations) == 1):
            continue
        earlier = [i for i in operands if solution.sources[i].kind == "result"]
        stands_in = (earlier or sorted(operands, key=lambda i: -solution.numbers[i].value))[0]
        yield Mistake(None, {result: solution.numbers[stands_in].value}, dropped=step)


def _misread_number(solution: WorkedSolution, draw: Random) -> Iterator[Mistake]:
    for i, k in _operand_sites(solution, draw, {"question"}):
        number = solution.numbers[i]
        others = [n.value for n in solution.equations[k].left.numbers]
        for value in misreadings(number, solution.figures.given, draw):
            if value not in others:
                yield Mistake(solution.step_at(number.start), _everywhere_in_step(solution, i, value))


def _wrong_earlier_value(solution: WorkedSolution, draw: Random) -> Iterator[Mistake]:
    for i, k in _operand_sites(solution, draw, {"result"}):
        source = solution.sources[i].number
        made_by = solution.equations[solution.results[source]]
        values = [solution.numbers[j].value for j in solution.results if j < i]
        values += [number.value for number in made_by.left.numbers]
        used = [number.value for number in solution.equations[k].left.numbers]
        for value in draw.sample(values, len(values)):
            if value not in used and value != solution.numbers[i].value:
                yield Mistake(solution.step_at(solution.numbers[i].start), _everywhere_in_step(solution, i, value))


def _wrong_concept(solution: WorkedSolution, draw: Random) -> Iterator[Mistake]:
    """The part for the whole, what went for what is left."""
    sites = [i for i, _ in _operand_sites(solution, draw, {"result"})]
    if solution.final is not None and solution.sources[solution.final].kind == "result":
        sites.insert(draw.randrange(len(sites) + 1), solution.final)
    for i in sites:
        made_by = solution.equations[solution.results[solution.sources[i].number]].left
        numbers = made_by.numbers
        if len(numbers) != 2 or len(made_by.operators) != 1:
            continue
        sign = made_by.operators[0].text
        instead = [numbers[1].value] if sign == "-" else [numbers[0].value, numbers[1].value] if sign == "+" else []
        if sign == "*" and any(0 < number.value < 1 for number in numbers):
            instead = [max(numbers[0].value, numbers[1].value) - made_by.value]
        for value in instead:
            yield Mistake(solution.step_at(solution.numbers[i].start), _everywhere_in_step(solution, i, value))


def _wrong_unit(solution: WorkedSolution, draw: Random) -> Iterator[Mistake]:
    near = f"{solution.question} {solution.text}".lower()
    for i, _ in _operand_sites(solution, draw, {"constant", "question"}):
        value = solution.numbers[i].value
        if value in solution.figures.given or value.denominator != 1 or value.numerator not in _UNITS:
            continue
        names, instead = _UNITS[value.numerator]
        if len(set(re.findall(names, near))) > (1 if value != 12 else 0):
            for wrong in instead:
                yield Mistake(
                    solution.step_at(solution.numbers[i].start), _everywhere_in_step(solution, i, Fraction(wrong))
                )
    for equation in solution.equations:
        if len(equation.left.tokens) == 1 and equation.result is not None and equation.factor in _UNITS:
            for wrong in _UNITS[int(equation.factor)][1]:
                result = solution.index[equation.result.start]
                yield Mistake(solution.step_at(equation.left.start), {result: equation.left.value * wrong})


def _wrong_formula(solution: WorkedSolution, draw: Random) -> Iterator[Mistake]:
    for k, equation, step in _shuffled(solution, draw):
        numbers, signs = equation.left.numbers, equation.left.operators
        share = [n for n in numbers if n.percent or 0 < n.value < 1]
        bases = [n for n in numbers if n.value > 1 and n.start in solution.index]
        if share and len(bases) == 1:
            earlier = [solution.numbers[j].value for j in solution.results if solution.results[j] < k]
            for value in [*earlier, *solution.figures.given]:
                if value > 1 and value not in [n.value for n in numbers] and value != equation.right.value:
                    changes = _everywhere_in_step(solution, solution.index[bases[0].start], value)
                    yield Mistake(step, changes)
        if len(numbers) == 2 and len(signs) == 1 and re.search(r"\barea|perimeter|fence|rectang", solution.question):
            a, b = (solution.text[n.start : n.end] for n in numbers)
            if signs[0].text == "*":
                yield Mistake(step, edits={(equation.left.start, equation.left.end): f"2 * ({a} + {b})"})
        if len(numbers) == 2 and len(signs) == 1 and signs[0].text == "/":
            a, b = (solution.text[n.start : n.end] for n in numbers)
            spans = [(n.start, n.end) for n in numbers]
            yield Mistake(step, edits={spans[0]: b, spans[1]: a})
        if _RATE.search(f"{solution.question} {solution.text[slice(*solution.steps[step])]}"):
            for sign, instead in _operator_edits(solution, equation):
                if sign.text in "*/" and instead != "+":
                    yield Mistake(step, edits={(sign.start, sign.end): instead})


def _misunderstood(solution: WorkedSolution, draw: Random) -> Iterator[Mistake]:
    for _, equation, step in _shuffled(solution, draw):
        start, end = solution.steps[step]
        said = solution.text[start:end]
        for sign, instead in _operator_edits(solution, equation):
            factors = [number.value for number in equation.left.numbers]
            if (sign.text in "+-" and _COMPARED.search(solution.question)) or (
                sign.text in "*/" and instead in "*/x" and 2 in factors
            ):
                edits = {(sign.start, sign.end): instead}
                for word in re.finditer(r"\b(" + "|".join(_FLIPPED) + r")\b(?= than)", said):
                    edits[start + word.start(), start + word.end()] = _FLIPPED[word[1]]
                yield Mistake(step, edits=edits)
        one_product = [sign.text for sign in equation.left.operators] == ["*"] and equation.result is not None
        only = sum(start <= other.left.start < end for other in solution.equations) == 1
        if one_product and only and _EACH.search(solution.question):
            assert equation.result is not None
            # The price or the largest number is taken for the total.
            priced = [n for n in equation.left.numbers if n.money]
            taken = priced[0] if priced else max(equation.left.numbers, key=lambda n: n.value)
            yield Mistake(None, {solution.index[equation.result.start]: taken.value}, dropped=step)
    given = solution.figures.given
    yield from (mistake for mistake in _misread_number(solution, draw) if set(mistake.changes.values()) <= set(given))


def _miscounted(solution: WorkedSolution, draw: Random) -> Iterator[Mistake]:
    for _, equation, step in _shuffled(solution, draw):
        signs = equation.left.operators
        if (
            len(signs) >= 2
            and all(sign.text == "+" for sign in signs)
            and "(" not in solution.text[equation.left.start :]
        ):
            place = draw.randrange(len(signs) - 1)
            yield Mistake(step, edits={(signs[place].start, signs[place + 1].start): ""})
        for number in equation.left.numbers:
            i = solution.index.get(number.start)
            small = number.value.denominator == 1 and 3 <= number.value <= 12 and not number.money
            if i is None or not small or signs[0].text != "*" or solution.sources[i].kind != "question":
                continue
            for value in draw.sample([number.value - 1, number.value + 1], 2):
                yield Mistake(step, _everywhere_in_step(solution, i, value))


def _irrelevant(solution: WorkedSolution, draw: Random) -> Iterator[Mistake]:
    used = {number.value for number in solution.numbers}
    spare = [value for value in solution.figures.given if value not in used and value.denominator == 1 and value > 1]
    for _, equation, step in _shuffled(solution, draw):
        last = equation.left.tokens[-1]
        if equation.left.operators and all(sign.text in "+-" for sign in equation.left.operators):
            for value in spare:
                written = f" + {last.money}{value}"
                yield Mistake(step, edits={(last.end, last.end): written})


# contradictory_step and nonsense_output_error are no slips of one step: they are left to a real model.
MAKERS: dict[str, Callable[[WorkedSolution, Random], Iterator[Mistake]]] = {
    "calculation_error": _miscalculated,
    "operator_error": _wrong_operator,
    "missing_step": _skipped,
    "referencing_context_value_error": _misread_number,
    "referencing_previous_step_value_error": _wrong_earlier_value,
    "unit_conversion_error": _wrong_unit,
    "confusing_formula_error": _wrong_formula,
    "question_misinterpretation": _misunderstood,
    "confusing_concept_error": _wrong_concept,
    "counting_error": _miscounted,
    "adding_irrelevant_information": _irrelevant,
}
