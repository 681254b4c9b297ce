"""Find the equations of a text and say whether they hold.

Enters: text. Leaves: equations with both sides read to the end and evaluated. An equation with a letter or a bare
word in place of a number is left out; no algebra is solved.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from lemma_train.llm.offline.arithmetic import Expression, Token, evaluate, tokens_of

_MAX_UNIT_WORDS = 7  # "6 skeins per pair of leg warmers + ..."
_CLOSE = Fraction(1, 10**9)
# How many of one unit make another; a bare "2 hours = 120 minutes" is a conversion only by one of these.
CONVERSIONS = frozenset(
    Fraction(n) for n in (2, 3, 4, 5, 7, 8, 10, 12, 16, 20, 24, 25, 30, 31, 36, 52, 60, 100, 365, 1000, 3600, 5280)
)


@dataclass(frozen=True)
class Equation:
    """`left = right`, each side as written.

    result: the number on the right where it is a single one, else None.
    factor: right / left where the two differ by a unit ("25 * 4 = $1", "2 hours = 120 minutes"), 1 where they are
        equal, None where the equation does not hold or only after rounding.
    """

    left: Expression
    right: Expression
    factor: Fraction | None

    @property
    def result(self) -> Token | None:
        return self.right.tokens[0] if len(self.right.tokens) == 1 else None

    @property
    def numbers(self) -> tuple[Token, ...]:
        return (*self.left.numbers, *self.right.numbers)

    @property
    def holds(self) -> bool:
        return self.factor is not None or rounds_to(self.left.value, self.right)

    def repeats(self, other: "Equation") -> bool:
        """Whether both join the same numbers, in whatever order and by whatever signs, to the same result."""
        mine, theirs = (sorted(number.value for number in side.left.numbers) for side in (self, other))
        return self.right.value == other.right.value and mine == theirs

    @property
    def plain(self) -> str:
        """Without units: "16 * $11 = $176"."""
        return f"{self.left.plain} = {self.right.plain}"


def rounds_to(value: Fraction, side: Expression) -> bool:
    """Whether a side written with decimals is the value rounded or cut at its last place."""
    if len(side.tokens) != 1:
        return abs(value - side.value) <= _CLOSE * max(Fraction(1), abs(value))
    number = side.tokens[0]
    places = len(number.text.partition(".")[2]) + (2 if number.percent else 0)
    last_place = Fraction(1, 10**places)
    rounded, cut = abs(value - number.value) <= last_place / 2, 0 <= abs(value) - abs(number.value) < last_place
    return bool(places) and value * number.value > 0 and (rounded or cut)


def equations_of(text: str, tokens: Sequence[Token] | None = None) -> list[Equation]:
    """The equations of a text in order. "2 + 3 = 5 + 1 = 6" gives 2 + 3 = 5 and 5 + 1 = 6.

    Example:
        >>> [equation.plain for equation in equations_of("Tom pays 3 boxes x $4/box = $12 and 2 + 2 = 5.")]
        ['3 x $4 = $12', '2 + 2 = 5']
    """
    tokens = tokens_of(text) if tokens is None else tokens
    found: list[Equation] = []
    for i, token in enumerate(tokens):
        if token.kind != "=":
            continue
        left, right = _left_side(tokens, i), _right_side(tokens, i)
        if left is None or right is None:
            continue
        factor = _factor(left, right, text)
        first = Expression(right.tokens[:1], right.tokens[0].value)
        runs_on = len(right.tokens) > 1 and first.tokens[0].kind == "num"
        if runs_on and factor is None and not rounds_to(left.value, right):
            run_on_factor = _factor(left, first, text)
            if run_on_factor is not None or len(left.tokens) > 1:
                right, factor = first, run_on_factor
        if len(left.tokens) == 1 and (factor is None or factor == 1):
            continue  # "Day 2 = 50 + 3": a name, not a sum
        found.append(Equation(left, right, factor))
    return found


_UNDOING = {"+": "-", "-": "+", "*": "/", "/": "*"}


def undoing(equation: Equation) -> tuple[str, Fraction] | None:
    """The left side that undoes a sum or product of two whole numbers, and what it comes to; None for any other.

    Example:
        >>> undoing(equations_of("7 + 6 = 15")[0])
        ('15 - 6', Fraction(9, 1))
    """
    if equation.result is None or len(equation.left.tokens) != 3 or equation.left.tokens[1].text not in _UNDOING:
        return None
    if any(n.percent or n.value < 0 or n.value.denominator != 1 for n in equation.numbers):
        return None
    left = f"{equation.result.text} {_UNDOING[equation.left.tokens[1].text]} {equation.left.tokens[2].text}"
    value = evaluate(tokens_of(left))
    return None if value is None else (left, value)


def _factor(left: Expression, right: Expression, text: str) -> Fraction | None:
    if abs(left.value - right.value) <= _CLOSE * max(Fraction(1), abs(left.value)):
        return Fraction(1)
    if not left.value or not right.value:
        return None
    ratio = right.value / left.value
    if len(left.tokens) == 1:
        inverse = 1 / ratio
        named = re.match(r"\s?[A-Za-z]{2,}", text[right.end :]) is not None
        return ratio if named and (ratio in CONVERSIONS or inverse in CONVERSIONS) else None
    if ratio == Fraction(1, 100) and (right.numbers[0].percent or "cent" in text[left.start : right.end + 12].lower()):
        return ratio
    if ratio == 100 and "cent" in text[right.end : right.end + 12].lower():
        return ratio
    return None


def _expression(tokens: list[Token]) -> Expression | None:
    value = evaluate(tokens)
    return None if value is None else Expression(tuple(tokens), value)


def _left_side(tokens: Sequence[Token], equals: int) -> Expression | None:
    """The expression that ends before the sign, read backwards over unit words."""
    kept: list[Token] = []
    at, depth, wanted = equals - 1, 0, True
    while at >= 0:
        token = tokens[at]
        if wanted:
            words = 0
            while at >= 0 and tokens[at].kind == "word" and words < _MAX_UNIT_WORDS:
                at, words = at - 1, words + 1
            if at < 0:
                return None
            token = tokens[at]
            if token.kind == ")":
                depth += 1
            elif token.kind == "num":
                wanted = False
            else:
                return None
            kept.append(token)
        elif token.kind == "op":
            kept.append(token)
            wanted = True
        elif token.kind == "(" and depth:
            depth -= 1
            kept.append(token)
            before = tokens[at - 1] if at else None
            if before is not None and before.end == token.start and before.kind in ("num", ")"):
                kept.append(Token("op", token.start, token.start, "*"))  # "2(3 + 4)"
                wanted = True
        else:
            break
        at -= 1
    return None if depth or wanted else _expression(kept[::-1])


def _right_side(tokens: Sequence[Token], equals: int) -> Expression | None:
    """The expression that begins after the sign; unit words inside it only where another "=" ends it."""
    kept: list[Token] = []
    whole = 0  # how many of the kept tokens make an expression without unit words
    at, depth, wanted, units = equals + 1, 0, True, False
    while at < len(tokens):
        token = tokens[at]
        if wanted:
            if token.kind == "(":
                depth += 1
            elif token.kind == "num":
                wanted = False
            else:
                break
            kept.append(token)
        elif token.kind == "word":
            units = True
        elif token.kind == "op" or (token.kind == ")" and depth):
            kept.append(token)
            wanted = token.kind == "op"
            depth -= token.kind == ")"
        else:
            break
        if not wanted and not depth and not units and token.kind in ("num", ")"):
            whole = len(kept)
        at += 1
    ended = at < len(tokens) and tokens[at].kind == "="
    while kept and not (ended and not wanted and not depth) and len(kept) > whole:
        kept.pop()
    while kept and kept[0].kind == "(" and kept[-1].kind == ")" and len(kept) == 3:
        kept = kept[1:-1]
    return _expression(kept)
