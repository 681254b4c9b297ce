r"""Are two expressions equal by algebra? math-verify's LaTeX parser and its comparison, behind a gate.

Enters: two cleaned expressions (`notation.clean`) of at most 2,000 characters. Leaves: True, False, or None where the
second cannot be read. It bounds neither time nor memory: `9^{9^{9}}` is computed. It belongs into a worker.

Nothing is evaluated as Python. math-verify's own `parse` would read plain expressions with sympy's `parse_expr`, which
is Python's `eval`; here only its LaTeX parser (latex2sympy2-extended, an ANTLR grammar) is called, and only with text
that the gate lets through: digits, operators, letters that stand alone or in short products, and the commands of
`_COMMANDS`. Words, quotes, dots outside numbers, `\operatorname` and sums are not among them, so that no name of
anything in Python can come out of the parser.
"""

import re
from fractions import Fraction
from functools import lru_cache
from typing import Any

from lemma_train.grading.notation import read_number

_COMMANDS = (
    *("frac", "sqrt", "binom", "pi", "infty", "cdot", "times", "le", "ge", "lt", "gt", "ne", "cup", "mathbb"),
    *(
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "arcsin",
        "arccos",
        "arctan",
        "sinh",
        "cosh",
        "tanh",
        "log",
        "ln",
        "exp",
    ),
    *("lfloor", "rfloor", "lceil", "rceil", "alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta"),
    *("theta", "kappa", "lambda", "mu", "nu", "xi", "rho", "sigma", "tau", "phi", "varphi", "chi", "psi", "omega"),
    *("Gamma", "Delta", "Theta", "Lambda", "Sigma", "Phi", "Psi", "Omega"),
)
_READABLE = re.compile(rf"(?:\\(?:{'|'.join(_COMMANDS)})(?![A-Za-z])|\\[{{}}]|[0-9A-Za-z+\-/^_=<>()\[\]{{}}|!,. ])+")
_REFUSED = re.compile(
    r"(?<![A-Za-z\\])[A-Za-z]{4,}"  # a word, not a product
    r"|[0-9] +[0-9]|[0-9] *_"  # the parser adds "2 3" up and drops the base of 101_2
    r"|\.(?![0-9])|[-+]{4}"
)
_COMMAND = re.compile(r"\\[A-Za-z]+")
_DECIMAL = re.compile(r"([0-9]*)\.([0-9]+)")
# The parser takes "2(3)" for the mixed number 2 + 3. Exponents and bases keep their arguments.
_IMPLIED_PRODUCT = re.compile(r"(?<![\^_0-9.])([0-9]+|\)) ?(?=\()")
_ROUNDING_DIGITS = 30
_MAX_DEPTH = 40
_NEXT_TO_NOTHING = 1e-60  # below, sympy's digits may be noise


def same_expression(answer: str, reference: str) -> bool | None:
    r"""Equality of two expressions, equations or inequalities, or of an inequality and an interval.

    Example:
        >>> same_expression("\\sqrt{12}", "2\\sqrt{3}"), same_expression("x+1", "x")    # doctest: +SKIP
        (True, False)
    """
    import sympy
    from math_verify.grader import verify

    wanted = _parsed(reference)
    if wanted is None:
        return None
    given = _parsed(answer)
    if given is None:
        return False
    number = read_number(reference)
    if number and number.decimals is not None and number.decimals >= 2 and not _DECIMAL.search(answer):
        return _rounds_to(given, number.value, number.decimals)
    if isinstance(given, sympy.Expr) and isinstance(wanted, sympy.Expr):
        # Quick decisions save `verify` most of its simplifying.
        if not given.free_symbols | wanted.free_symbols and (same := _same_digits(given, wanted)) is not None:
            return same
        if _differ_at_a_point(given, wanted):
            return False
        if _is_zero(given - wanted):
            return True
    return bool(verify(wanted, given, timeout_seconds=None, allow_set_relation_comp=True))


def _is_nested_well(text: str) -> bool:
    """Whether brackets open and close, and not too deep for a grammar that recurses; their kinds may be mixed."""
    depth = 0
    for bracket in re.findall(r"[()\[\]{}]", text):
        depth += 1 if bracket in "([{" else -1
        if not 0 <= depth <= _MAX_DEPTH:
            return False
    return depth == 0


def _differ_at_a_point(given: Any, wanted: Any) -> bool:
    """Whether two expressions have clearly different values at one point, which proves them unequal.

    It also tells tiny numbers apart, which `verify` takes for 0. Where one of the values is undefined, or the
    difference next to nothing, the point proves nothing.
    """
    import sympy

    symbols = sorted(given.free_symbols | wanted.free_symbols, key=str)
    point = {symbol: sympy.Rational(137 + 71 * i, 100) for i, symbol in enumerate(symbols)}
    try:
        one, other = (expression.evalf(20, subs=point) for expression in (given, wanted))
        gap, size = abs(one - other).evalf(), (abs(one) + abs(other)).evalf()
    except (ArithmeticError, AttributeError, NotImplementedError, TypeError, ValueError):
        return False
    if not (gap.is_Float and size.is_Float and gap.is_finite and size.is_finite):
        return False
    return bool(gap > size * 1e-10) and bool(gap > _NEXT_TO_NOTHING)


def _same_digits(given: Any, wanted: Any) -> bool | None:
    r"""Whether two real constants agree in their first 50 digits (`verify` asks for six); None where that says nothing.

    e^{\pi\sqrt{163}} agrees with a whole number in its first 30.
    """
    import sympy

    try:
        one, other = given.evalf(60), wanted.evalf(60)
    except (ArithmeticError, AttributeError, NotImplementedError, TypeError, ValueError):
        return None
    if not (one.is_Float and other.is_Float and one.is_finite and other.is_finite and abs(other) > _NEXT_TO_NOTHING):
        return None
    return bool(abs(one - other) < abs(other) * sympy.Float(10) ** -50)


def _is_zero(difference: Any) -> bool:
    """Whether a difference vanishes by expansion, or as a fraction of polynomials."""
    import sympy

    if sympy.expand(difference) == 0:
        return True
    return bool(difference.free_symbols and difference.is_rational_function()) and sympy.cancel(difference) == 0


def _rounds_to(given: Any, wanted: Fraction, decimals: int) -> bool:
    import sympy

    if not isinstance(given, sympy.Expr) or given.free_symbols:
        return False
    difference = sympy.N(given - sympy.Rational(wanted.numerator, wanted.denominator), _ROUNDING_DIGITS)
    return bool(difference.is_real) and bool(abs(difference) <= sympy.Rational(1, 2 * 10**decimals))


@lru_cache(maxsize=256)
def _parsed(text: str) -> Any:
    """The sympy object of an expression; None where the gate or the parser refuses it."""
    import sympy
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy

    if not _READABLE.fullmatch(text) or _REFUSED.search(_COMMAND.sub("|", text)) or not _is_nested_well(text):
        return None
    # Decimals as fractions: the comparison rounds floats. In parentheses: a lone `{...}` is a set to the parser.
    text = _DECIMAL.sub(lambda found: rf"(\frac{{{found[1]}{found[2]}}}{{1{'0' * len(found[2])}}})", text)
    text = _IMPLIED_PRODUCT.sub(r"\1\\cdot ", text)
    try:
        parsed = latex2sympy(
            text,
            is_real=True,
            normalization_config=None,
            conversion_config=ConversionConfig(lowercase_symbols=False),
        )
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  the grammar's own errors are plain Exceptions, and sympy raises of every kind
        return None
    if not isinstance(parsed, sympy.Basic | sympy.MatrixBase):
        return None
    unit = sympy.Symbol("i", real=True)
    return parsed.xreplace({unit: sympy.I}) if unit in parsed.free_symbols else parsed
