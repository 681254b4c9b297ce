"""Wrong numbers that people do write: slips of reckoning, and numbers of a question misread.

Enters: an equation or a number. Leaves: other values, likely ones first. Whether they suit the story is not its matter.
"""

from collections.abc import Sequence
from fractions import Fraction
from random import Random

from lemma_train.llm.offline.arithmetic import Token
from lemma_train.llm.offline.equations import Equation

_SOUND_ALIKE = {13: 30, 14: 40, 15: 50, 16: 60, 17: 70, 18: 80, 19: 90}


def slips(equation: Equation, draw: Random) -> list[Fraction]:
    """Results that a slip in this sum could give: a carry lost, two digits swapped, a neighbour in the times table."""
    result = equation.right.value
    scale = 1
    while (result * scale).denominator != 1 and scale < 10_000:
        scale *= 10
    mantissa = int(result * scale)
    signs = [sign.text for sign in equation.left.operators]
    numbers = [number.value for number in equation.left.numbers]
    size = abs(mantissa)
    likely: list[Fraction] = []
    if len(numbers) == 2 and signs == ["*"] and size < 200:
        likely += [result + step for a in numbers for step in (a, -a) if a.denominator == 1 and 2 <= abs(a) <= 12]
    if size >= 20:
        likely += [Fraction(mantissa + step, scale) for step in (10, -10)]
    if size >= 200:
        likely += [Fraction(mantissa + step, scale) for step in (100, -100)]
    if 20 < size < 100_000 and size % 10:
        likely += [Fraction(swapped if mantissa > 0 else -swapped, scale) for swapped in _swaps(size)]
    if size < 200:
        likely += [Fraction(mantissa + step, scale) for step in ((1, -1) if size < 10 else (1, -1, 2, -2))]
    fair = [value for value in dict.fromkeys(likely) if value != result and abs(value) > 0]
    fair = [value for value in fair if value not in numbers] or fair
    return draw.sample(fair, len(fair))


def _swaps(size: int) -> list[int]:
    digits = str(size)
    swapped = [digits[:i] + digits[i + 1] + digits[i] + digits[i + 2 :] for i in range(len(digits) - 1)]
    return [int(text) for text in swapped if text[0] != "0" and text != digits]


def misreadings(number: Token, given: Sequence[Fraction], draw: Random) -> list[Fraction]:
    """Values that a number of the question could be misread as: other numbers of it, or the like-sounding one."""
    value = number.value
    others = [other for other in given if other != value and (other < 1) == (value < 1) and other > 0]
    others = [other for other in others if value < 1 or Fraction(1, 8) <= other / value <= 8]
    likely = draw.sample(others, len(others))
    alike = {**_SOUND_ALIKE, **{b: a for a, b in _SOUND_ALIKE.items()}}
    if value.denominator == 1 and value.numerator in alike:
        likely.insert(draw.randrange(len(likely) + 1), Fraction(alike[value.numerator]))
    if value.denominator == 1 and 10 < value < 10_000 and value % 10:
        likely += [Fraction(swapped) for swapped in _swaps(value.numerator)[:1]]
    if value.denominator == 1 and 3 <= value <= 30:
        likely += [value + 1, value - 1]
    return likely
