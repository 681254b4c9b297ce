"""Arithmetic worked by hand: an expression or a linear equation becomes its steps, one equation a sentence.

Enters: text of this project's own generators, whole numbers only. Leaves: the steps and the result, exact. It reads no
text of models or data sets, and words no question.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

_TOKEN = re.compile(r"\d+|[-+*/()]")
_LINEAR = re.compile(
    r"(?:(?P<first>\d+) - )?(?:(?P<times>\d+)\*)?[a-z](?: (?P<sign>[+-]) (?P<last>\d+))? = (?P<right>\d+)"
)


@dataclass(frozen=True)
class Step:
    """One operation: `left operator right = result`, and whether it stands inside parentheses."""

    left: Fraction
    operator: str
    right: Fraction
    result: Fraction
    inside: bool

    @property
    def is_plain(self) -> bool:
        """Only whole numbers, none below zero except the result: what is written without brackets at school."""
        numbers = (self.left, self.right, self.result)
        return all(number.denominator == 1 for number in numbers) and min(self.left, self.right) >= 0

    def __str__(self) -> str:
        equation = f"{self.left} {self.operator} {self.right} = {self.result}."
        return f"In the parentheses, {equation}" if self.inside else equation


def steps_of(expression: str) -> list[Step]:
    """The operations of an expression in the order in which they are done: brackets, then * and /, left to right.

    Raises:
        ValueError: it is no expression of whole numbers, + - * / and parentheses.
        ZeroDivisionError: it divides by zero.

    Example:
        >>> [str(step) for step in steps_of("( 2 + 3 ) * 4 - 6")]
        ['In the parentheses, 2 + 3 = 5.', '5 * 4 = 20.', '20 - 6 = 14.']
    """
    tokens = _TOKEN.findall(expression)
    if "".join(tokens) != re.sub(r"\s", "", expression):
        raise ValueError(f"{expression!r} holds something else than whole numbers, + - * / and parentheses")
    steps: list[Step] = []
    _chain(tokens, steps, depth=0)
    if tokens:
        raise ValueError(f"{expression!r} goes on where it should end: {tokens[0]!r}")
    return steps


def _chain(tokens: list[str], steps: list[Step], depth: int, operators: str = "+-") -> Fraction:
    """Reads operands joined by operators of one rank; takes them off the front of `tokens`."""

    def operand() -> Fraction:
        return _chain(tokens, steps, depth, "*/") if operators == "+-" else _number_or_brackets(tokens, steps, depth)

    left = operand()
    while tokens and tokens[0] in operators:
        operator = tokens.pop(0)
        right = operand()
        result = {
            "+": lambda a, b: a + b,
            "-": lambda a, b: a - b,
            "*": lambda a, b: a * b,
            "/": lambda a, b: a / b,
        }[operator](left, right)
        steps.append(Step(left, operator, right, result, inside=depth > 0))
        left = result
    return left


def _number_or_brackets(tokens: list[str], steps: list[Step], depth: int) -> Fraction:
    token = tokens.pop(0) if tokens else "the end"
    if token == "(":
        value = _chain(tokens, steps, depth + 1)
        if not tokens or tokens.pop(0) != ")":
            raise ValueError("a bracket is not closed")
        return value
    if not token.isdigit():
        raise ValueError(f"a number was expected, not {token!r}")
    return Fraction(token)


def solve_linear(equation: str) -> tuple[list[str], int] | None:
    """The steps and the solution of `a*x + b = c`, `a*x - b = c` or `b - a*x = c`.

    Returns:
        None where the equation has another form or needs fractions or numbers below zero.

    Example:
        >>> solve_linear("3*p + 10 = 25")
        (['Subtract 10 from both sides: 25 - 10 = 15, so 3 * p = 15.', 'Divide both sides by 3: 15 / 3 = 5.'], 5)
    """
    form = _LINEAR.fullmatch(equation)
    if form is None or (form["first"] is None) == (form["last"] is None):
        return None
    right, times = int(form["right"]), int(form["times"] or 1)
    if form["first"] is not None:
        first = int(form["first"])
        lead, product = f"Take {right} from {first}: {first} - {right}", first - right
    else:
        last = int(form["last"])
        if form["sign"] == "+":
            lead, product = f"Subtract {last} from both sides: {right} - {last}", right - last
        else:
            lead, product = f"Add {last} to both sides: {right} + {last}", right + last
    if product < 0 or product % times:
        return None
    variable = re.sub(r"[^a-z]", "", equation)
    steps = [f"{lead} = {product}, so {f'{times} * {variable}' if times > 1 else variable} = {product}."]
    if times > 1:
        steps.append(f"Divide both sides by {times}: {product} / {times} = {product // times}.")
    return steps, product // times
