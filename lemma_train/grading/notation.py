r"""One spelling for many: what LaTeX, units and separators leave of an answer, and the plain numbers among the answers.

Enters: an answer as it was written. Leaves: its cleaned text, or the exact number, time or number in a base that it is.
It compares nothing and evaluates nothing but decimal digits.

Rules:

- thin spaces, `$`, `\left` and `\right`, text commands and styles are dropped, `\dfrac` is `\frac`, `\frac12` is
  `\frac{1}{2}`, `≤` is `\le`; currency signs are dropped;
- thousands separators (`1,000`, `1{,}000`, `1 000`) are dropped, other commas separate answers;
- a percent sign is a unit like others: `18%` is 18, and never 0.18;
- a unit is dropped behind a number or a formula: known short ones ("5 cm", "18kg"), words of three letters or more
  ("3 apples", "5 square feet"), a single letter only inside `\text` or `\mathrm` ("5\text{ m}"): a bare letter may be
  the answer's variable;
- numbers are exact fractions; `0.50` remembers its two decimals.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_DIGITS = 1_000  # longer numbers are compared as text

_SIGNS = {
    "\N{MINUS SIGN}": "-",
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{MULTIPLICATION SIGN}": r"\times ",
    "\N{MIDDLE DOT}": r"\cdot ",
    "\N{DIVISION SIGN}": "/",
    "\N{PLUS-MINUS SIGN}": r"\pm ",
    "\N{LESS-THAN OR EQUAL TO}": r"\le ",
    "\N{GREATER-THAN OR EQUAL TO}": r"\ge ",
    "\N{NOT EQUAL TO}": r"\ne ",
    "\N{ALMOST EQUAL TO}": r"\approx ",
    "\N{UNION}": r"\cup ",
    "\N{ELEMENT OF}": r"\in ",
    "\N{INFINITY}": r"\infty ",
    "\N{SUPERSCRIPT TWO}": "^2",
    "\N{SUPERSCRIPT THREE}": "^3",
    "\N{SQUARE ROOT}": r"\sqrt ",
    "\N{VULGAR FRACTION ONE HALF}": r"\frac{1}{2}",
    "\N{GREEK SMALL LETTER PI}": r"\pi ",
    "\N{GREEK SMALL LETTER THETA}": r"\theta ",
    "\N{DEGREE SIGN}": " ",
    "\N{NO-BREAK SPACE}": " ",
    "\N{EURO SIGN}": "",
    "\N{POUND SIGN}": "",
    "\N{YEN SIGN}": "",
    "\N{INDIAN RUPEE SIGN}": "",
}
_TRANSLATION = str.maketrans(_SIGNS)
_TEXT = r"(?:text|mbox|textbf|textrm|textit|textnormal|mathrm|mathbf|mathit|operatorname)"

# In order. `(?<!\\)` keeps the `\\` of a matrix row from being taken for the beginning of the next command.
_SPELLINGS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\s+", " "),
        (r"(?<!\\)\\[()\[\]]|\\?\$", ""),
        (r"\{,\}", ","),
        (r"(?<!\\)\\!", ""),
        *((r"(?<=\{)([0-9]+),([0-9]{3})(?=\}|,[0-9]{3})", r"\1\2") for _ in range(3)),  # to a trillion
        (r"(?<!\\)\\(?:[,;: ]|quad|qquad)(?![A-Za-z])|~", " "),
        (r"\\(?:left|right|[bB]igg?[lr]?)(?![A-Za-z])\.?", ""),
        (r"\\(?:displaystyle|textstyle|limits|rm|bf|phantom\{[^{}]*\})(?![A-Za-z])", " "),
        # "x \approx 2.4" names its value; of "\sqrt{6} \approx 2.4" the exact side stays.
        (r"(?<![0-9A-Za-z_})\\])([A-Za-z]) ?\\approx(?![A-Za-z])", r"\1 = "),
        (r"^ ?\\approx(?![A-Za-z])|(?<=[^,; =]) ?\\approx(?![A-Za-z])[^,;]*", ""),
        # Degrees are a unit, except of an angle whose function is taken.
        (
            r"(\\(?:sin|cos|tan|cot|sec|csc)(?: ?\^ ?\{?[0-9]\}?)?) ?\(? ?([0-9]+(?:\.[0-9]+)?) ?\^ ?"
            r"(?:\\circ|\{ ?\\circ ?\}) ?\)?",
            r"\1(\\frac{\2\\pi}{180})",
        ),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\[dt]binom(?![A-Za-z])", r"\\binom"),
        (r"\\(le|ge|ne)q(?:slant)?(?![A-Za-z])", r"\\\1 "),
        (r"\\lbrace(?![A-Za-z])", r"\\{"),
        (r"\\rbrace(?![A-Za-z])", r"\\}"),
        (r"\^\s?(?:\\circ(?![A-Za-z])|\{\s?\\circ\s?\})|\\degree(?![A-Za-z])", " "),
        # A single letter in upright type behind a number or a formula is a unit.
        (rf"(?<=[0-9}}\s])\\{_TEXT}\{{\s?[A-Za-z]\s?\}}(?:\^\{{?[0-9]\}}?)?\s*$", " "),
        (rf"\\{_TEXT}\s?\{{([^{{}}]*)\}}", r" \1 "),
        (r"\\frac\s?(\\pi\s?|[0-9A-Za-z])\s?([0-9A-Za-z])", r"\\frac{\1}{\2}"),
        (r"\\frac\s?([0-9])\s?(?=\{)", r"\\frac{\1}"),
        (r"\\frac\s?(\{[^{}]*\})\s?([0-9A-Za-z])", r"\\frac\1{\2}"),
        (r"\\sqrt\s?([0-9A-Za-z])", r"\\sqrt{\1}"),
        (r"(?<![A-Za-z\\])sqrt ?\(([^()]*)\)", r"\\sqrt{\1}"),
        (r"(?<![A-Za-z\\])pi(?![A-Za-z])", r"\\pi "),
        (r"\\log_ ?([0-9])", r"\\log_{\1}"),
        (r"\*\*", "^"),
        (r"\*", r"\\cdot "),
        (r"\s*\\?%|\s+(?:percent|pct)\b", " "),
        (r"\s+", " "),
    )
]


def clean(answer: str) -> str:
    r"""The answer in one spelling; see the rules above.

    Example:
        >>> clean("$\\dfrac12\\,\\text{ of it}.$"), clean("\\$1{,}800.00")
        ('\\frac{1}{2} of it', '1,800.00')
    """
    text = answer.translate(_TRANSLATION)
    for pattern, replacement in _SPELLINGS:
        text = pattern.sub(replacement, text)
    return text.strip().rstrip(".,;:").rstrip()


# Canonical name of each unit that is told apart: both sides must agree where both name one of these.
_UNITS = {
    alias: aliases[0]
    for aliases in (
        *(
            ("dollar", "dollars", "usd"),
            ("cent", "cents"),
            ("euro", "euros"),
            ("degree", "degrees"),
            ("rad", "radians"),
        ),
        *(("second", "seconds", "sec"), ("minute", "minutes", "min"), ("hour", "hours", "hr", "hrs"), ("day", "days")),
        *(
            ("week", "weeks"),
            ("month", "months"),
            ("year", "years", "yr"),
            ("mm", "millimeters"),
            ("cm", "centimeters"),
        ),
        *(
            ("meter", "meters", "metre", "metres"),
            ("km", "kilometers"),
            ("inch", "inches", "in"),
            ("foot", "feet", "ft"),
        ),
        *(("yard", "yards", "yd"), ("mile", "miles", "mi"), ("gram", "grams"), ("kg", "kilograms"), ("oz", "ounces")),
        *(("pound", "pounds", "lb", "lbs"), ("ml", "milliliters"), ("liter", "liters"), ("gallon", "gallons", "gal")),
        *(("mph",), ("kph", "kmh")),
    )
    for alias in aliases
}
_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
# Words that carry meaning, and runs of letters that look like words but are products.
_NO_UNITS = {
    *("sin", "cos", "tan", "cot", "sec", "csc", "log", "exp", "pow", "sqrt", "mod", "and", "plus", "minus", "times"),
    *("over", "choose", "root", "infinity", "alpha", "beta", "gamma", "theta", "lambda", "base", "dozen", "half"),
    *("abc", "abcd", "ace", "third", "quarter", *_SCALES),
}
_UNIT = re.compile(r"(?<=[^A-Za-z\\]) ?([A-Za-z]+(?:[ ./]{1,2}[A-Za-z]+)*)[. ]{0,2}(\^ ?\{?[0-9]\}?)?$")


def split_unit(text: str) -> tuple[str, str | None]:
    r"""A cleaned answer and the unit it was given in, where it is one that is told apart ("" for any other unit).

    Example:
        >>> split_unit("18 dollars"), split_unit("3 apples"), split_unit("5 x")
        (('18', 'dollar'), ('3', ''), ('5 x', None))
    """
    found = _UNIT.search(text)
    if not found or not re.search(r"[0-9]|\\(?:pi|frac|sqrt)", text[: found.start()]):
        return text, None
    words = re.findall("[A-Za-z]+", found[1].lower())
    spaced = " " in text[found.start() - 1 : found.start() + 1]
    if not all(_is_unit(word, spaced or i > 0) for i, word in enumerate(words)):
        return text, None
    return text[: found.start()].rstrip(), _UNITS.get(words[0], "") if len(words) == 1 and not found[2] else ""


def _is_unit(word: str, spaced: bool) -> bool:
    if word in _UNITS or word in ("sq", "cu", "of", "am", "pm"):
        return True
    return spaced and len(word) >= 3 and word not in _NO_UNITS and re.search("[aeiou]", word) is not None


@dataclass(frozen=True)
class PlainNumber:
    """decimals: how many digits were written behind the point; None where it was written as a fraction."""

    value: Fraction
    decimals: int | None


_DIGITS = r"(?:[0-9]{1,3}(?:[, ][0-9]{3})+(?![0-9])|[0-9]+)"
_PLAIN = re.compile(
    rf"(?P<sign>[-+]? ?)(?:(?:(?P<whole>{_DIGITS}) ?)?"
    r"(?:\\frac ?\{ ?(?P<top>[-+]?[0-9]+) ?\} ?\{ ?(?P<bottom>-?[0-9]+) ?\}"
    r"|(?<![0-9.])(?P<over>[0-9]+) ?/ ?(?P<under>[0-9]+))"
    rf"|(?P<digits>{_DIGITS})?(?:\.(?P<decimals>[0-9]*))?"
    r"(?: ?(?:\\times|\\cdot) ?10 ?\^ ?\{? ?(?P<power>-?[0-9]{1,3}) ?\}?|[eE](?P<exponent>[-+]?[0-9]{1,3}))?"
    r"(?P<scale> (?:hundred|thousand|million|billion|trillion))?)"
)


def read_number(text: str) -> PlainNumber | None:
    r"""The exact value of a cleaned answer that is a plain number, else None.

    Plain: whole numbers, decimals, `a/b`, `\frac{a}{b}`, mixed numbers, `1.5 \times 10^3`, `2 million`.

    Example:
        >>> read_number("1 1/2").value, read_number("1,000.50").decimals, read_number("x")
        (Fraction(3, 2), 2, None)
    """
    if len(text) > MAX_DIGITS:
        return None
    found = _PLAIN.fullmatch(text)
    if not found:
        return None
    part = found.groupdict()
    sign = -1 if part["sign"].strip() == "-" else 1
    if part["bottom"] or part["under"]:
        top, bottom = int(part["top"] or part["over"]), int(part["bottom"] or part["under"])
        whole = int(re.sub("[, ]", "", part["whole"] or "0"))
        if bottom == 0 or (part["whole"] and (top < 0 or bottom < 0)):
            return None
        return PlainNumber(sign * (whole + Fraction(top, bottom)), None)
    digits, decimals = re.sub("[, ]", "", part["digits"] or ""), part["decimals"] or ""
    if not digits + decimals:
        return None
    value = Fraction(int(digits + decimals), 10 ** len(decimals)) * _SCALES.get((part["scale"] or "").strip(), 1)
    value *= Fraction(10) ** int(part["power"] or part["exponent"] or 0)
    return PlainNumber(sign * value, len(decimals))


_BASED = re.compile(r"(-?[0-9A-Z]+) ?_ ?\{? ?([0-9]{1,2}) ?\}?")
_TIME = re.compile(
    r"0?([0-9]{1,2})(?::([0-9]{2}(?::[0-9]{2})?)(?: ?([ap])\.? ?m\.?)?| ?([ap])\.? ?m\.?)", re.IGNORECASE
)


def read_based(text: str) -> tuple[str, str] | None:
    """Digits and base of a number such as `1101_2`; None for anything else."""
    found = _BASED.fullmatch(text)
    return (found[1], found[2]) if found and re.search("[0-9]", found[1]) else None


def read_time(text: str) -> tuple[str, str, str] | None:
    """Hour, minutes (and seconds) and "a", "p" or "" of a time such as `3:45 p.m.` or `9 am`; None for all else."""
    found = _TIME.fullmatch(text)
    return (found[1], found[2] or "00", (found[3] or found[4] or "").lower()) if found else None
