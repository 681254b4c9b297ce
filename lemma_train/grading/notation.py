r"""One spelling for many: what LaTeX, currency and separators leave of an answer, and which answers are plain numbers.

Enters: an answer as it was written. Leaves: its cleaned text, or the exact number, time or number in a base that it is.
It compares nothing and evaluates nothing but decimal digits.

Rules:

- thin spaces, `$`, `\left` and `\right`, text commands and styles are dropped, `\dfrac` is `\frac`, `\frac12` is
  `\frac{1}{2}`, `≤` is `\le`;
- the sign or code of a currency is its unit where nothing but an amount follows ("$18", "USD 18"), else it is dropped;
- thousands separators (`1,000`, `1{,}000`, `1 000`) are dropped, other commas separate answers;
- a percent sign is a unit like others: `18%` is 18, and never 0.18;
- a single letter in `\text` or `\mathrm` behind a number is a unit ("5\text{ m}") and dropped; other units: `units`;
- a number in words at the beginning is written in digits ("five apples"), up to ninety-nine or so many thousands;
- numbers are exact fractions; `0.50` remembers its two decimals.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

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
    "\N{EMPTY SET}": r"\emptyset ",
    "\N{FRACTION SLASH}": "/",
    "\N{SQUARE ROOT}": r"\sqrt ",
    "\N{VULGAR FRACTION ONE HALF}": r"\frac{1}{2}",
    "\N{VULGAR FRACTION ONE QUARTER}": r"\frac{1}{4}",
    "\N{VULGAR FRACTION THREE QUARTERS}": r"\frac{3}{4}",
    "\N{VULGAR FRACTION ONE THIRD}": r"\frac{1}{3}",
    "\N{VULGAR FRACTION TWO THIRDS}": r"\frac{2}{3}",
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
_RAISED = re.compile(
    "(?<=[0-9A-Za-z)}])([\N{SUPERSCRIPT MINUS}\N{SUPERSCRIPT ZERO}-\N{SUPERSCRIPT NINE}\xb9\xb2\xb3]+)"
)
_LOWERED = str.maketrans("\u207b\u2070\xb9\xb2\xb3\u2074\u2075\u2076\u2077\u2078\u2079", "-0123456789")
_TEXT = r"(?:text|mbox|textbf|textrm|textit|textnormal|mathrm|mathbf|mathit|operatorname)"

SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_UNITS_IN_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS_IN_WORDS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS = {word: n for n, word in enumerate(_UNITS_IN_WORDS)} | {w: 20 + 10 * n for n, w in enumerate(_TENS_IN_WORDS)}
_IN_WORDS = (
    rf"(?i:^\s?(?P<minus>-?)(?:(?P<tens>{'|'.join(_TENS_IN_WORDS)})[- ](?P<ones>{'|'.join(_UNITS_IN_WORDS[1:10])})"
    rf"|(?P<alone>{'|'.join(sorted(_WORDS, key=len, reverse=True))}))(?P<scale> (?:{'|'.join(SCALES)}))?(?![A-Za-z-]))"
)


_PARTS = ("half", "third", "quarter", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_PART_IN_WORDS = (
    rf"(?i:^\s?(?:(?P<top>{'|'.join(_UNITS_IN_WORDS[1:10])})[- ](?P<part>{'|'.join(_PARTS)}|fourth|halve)s?"
    r"|(?:a )?half)(?= of |\s*$))"
)


def _as_fraction(found: re.Match[str]) -> str:
    """ "two-thirds" and "half"."""
    part = {None: "half", "fourth": "quarter", "halve": "half"}.get(found["part"] and found["part"].lower())
    bottom = 2 + _PARTS.index(part or found["part"].lower())
    return f"{_WORDS[(found['top'] or 'one').lower()]}/{bottom}"


def _recurring(found: re.Match[str]) -> str:
    r"""0.1\overline{6} as a fraction."""
    digits, period = found["whole"] + found["digits"], found["period"]
    top = int(digits + period) - int(digits or "0")
    bottom = (10 ** len(period) - 1) * 10 ** len(found["digits"])
    return rf"\frac{{{top}}}{{{bottom}}}"


def _in_digits(found: re.Match[str]) -> str:
    value = sum(_WORDS[found[name].lower()] for name in ("tens", "ones", "alone") if found[name])
    return f"{found['minus']}{value}{(found['scale'] or '').lower()}"


# In order. `(?<!\\)` keeps the `\\` of a matrix row from being taken for the beginning of the next command.
_RULES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"\s+", " "),
    (r"(?<!\\)\\[()\[\]]|\\?\$", ""),
    (r"(?<=[0-9])['\N{RIGHT SINGLE QUOTATION MARK}](?=[0-9]{3}(?![0-9]))", ","),
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
    (rf"(?<=[0-9}}\s])\\{_TEXT}\{{\s?[A-HJ-Za-hj-z]\s?\}}(?:\^\{{?[0-9]\}}?)?\s*$", " "),
    (rf"\\{_TEXT}\s?\{{([^{{}}]*)\}}", r" \1 "),
    (r"\\frac\s?(\\pi\s?|[0-9A-Za-z])\s?([0-9A-Za-z])", r"\\frac{\1}{\2}"),
    (r"\\frac\s?([0-9])\s?(?=\{)", r"\\frac{\1}"),
    (r"\\frac\s?(\{[^{}]*\})\s?([0-9A-Za-z])", r"\\frac\1{\2}"),
    (r"\\sqrt\s?([0-9A-Za-z])", r"\\sqrt{\1}"),
    (r"(?<![A-Za-z\\])sqrt ?\(([^()]*)\)", r"\\sqrt{\1}"),
    (r"(?<![A-Za-z\\])pi(?![A-Za-z])", r"\\pi "),
    (r"\\log_ ?([0-9])", r"\\log_{\1}"),
    (r"\\(?:varnothing|O)(?![A-Za-z])|\\\{ ?\\\}", r"\\emptyset "),
    (r">=", r"\\ge "),
    (r"<=", r"\\le "),
    (r"!=", r"\\ne "),
    (r"(?<=[0-9]) ?[xX] ?(?=10 ?\^)", r"\\times "),
    (r"^\s?(?i:about|approximately|approx\.?|around|roughly)\s", ""),
    (r"^\s?(?i:negative|minus)\s", "-"),
    (r"^\s?(?i:option|choice)\s(?=\(?[A-Z]\)?(?:[.:)]|\s*$))", ""),
    (r"(?<![A-Za-z\\])infinity(?![A-Za-z])", r"\\infty "),
    (r"(?<=[0-9])(?:st|nd|rd|th)(?![A-Za-z])", ""),
    (r"(?<=[0-9]) ?(?:\N{CENT SIGN}|\\cents?(?![A-Za-z]))", " cents"),
    (r"\\langle(?![A-Za-z])", "("),
    (r"\\rangle(?![A-Za-z])", ")"),
    (r"(?P<whole>(?<![0-9.])[0-9]{0,20})\.(?P<digits>[0-9]{0,20})\\overline ?\{(?P<period>[0-9]{1,20})\}", _recurring),
    (_PART_IN_WORDS, _as_fraction),
    (_IN_WORDS, _in_digits),
    # Mixed numbers in words: "2 and a half", "2 and 1/2 cups", "2-1/2 cups"; "2 and 1/2" is a list.
    (r"(?<=[0-9]) and (?:a|one) half(?![A-Za-z])", " 1/2"),
    (r"(?<=[0-9]) and (?:a|one) quarter(?![A-Za-z])", " 1/4"),
    (r"(?<![0-9./)A-Za-z])([0-9]+)(?: and |-)([0-9]{1,2}/[0-9]{1,2})(?= [a-z]{3})", r"\1 \2"),
    (r"\*\*", "^"),
    (r"\*", r"\\cdot "),
    (r"\s*\\?%|\s+(?:percent|pct)\b", " "),
    (r"\s+", " "),
)
_SPELLINGS = [(re.compile(pattern), replacement) for pattern, replacement in _RULES]


_BARE = re.compile(r"-?[0-9]+(?:\.[0-9]*)?")  # most answers; no rule applies
_MONEY = re.compile(
    r"\s*(?P<sign>[-\N{MINUS SIGN}]?)\s*(?P<mark>(?:US ?)?\\?\$|[A-Z]{3}|Rs\.?|[\u20ac\xa3\xa5\u20b9])\s?"
    r"(?P<amount>-?(?=\.?[0-9])(?:[0-9]|\{,\}|,(?=[0-9]))*(?:\.[0-9]+)?"
    rf"(?: (?:{'|'.join(SCALES)}))?)[.\s]*"
)
_CURRENCIES = {
    **dict.fromkeys(("$", "US$", "USD"), "dollars"),
    **dict.fromkeys(("\N{EURO SIGN}", "EUR"), "euros"),
    **dict.fromkeys(("\N{POUND SIGN}", "GBP"), "pounds"),
    **dict.fromkeys(("\N{INDIAN RUPEE SIGN}", "INR", "Rs"), "rupees"),
    **dict.fromkeys(("\N{YEN SIGN}", "JPY"), "yen"),
}


@lru_cache(maxsize=4_096)  # a reference meets many answers
def clean(answer: str) -> str:
    r"""The answer in one spelling; see the rules above.

    Example:
        >>> clean("$\\dfrac12\\,\\text{ of it}.$"), clean("\\$1{,}800.00")
        ('\\frac{1}{2} of it', '1,800.00 dollars')
    """
    if _BARE.fullmatch(answer):
        return answer.rstrip(".")
    text = answer
    money = _MONEY.fullmatch(answer) if len(answer) < 100 else None
    if money and (name := _CURRENCIES.get(re.sub(r"[\\ .]", "", money["mark"]))):
        text = f"{money['sign']}{money['amount']} {name}"
    text = text.translate(_TRANSLATION)
    text = _RAISED.sub(lambda raised: f"^{{{raised[1].translate(_LOWERED)}}}", text)
    for pattern, replacement in _SPELLINGS:
        text = pattern.sub(replacement, text)
    return text.strip().rstrip(".,;:").rstrip()


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
    rf"(?P<scale> (?:{'|'.join(SCALES)}))?)"
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
    value = Fraction(int(digits + decimals), 10 ** len(decimals)) * SCALES.get((part["scale"] or "").strip(), 1)
    value *= Fraction(10) ** int(part["power"] or part["exponent"] or 0)
    return PlainNumber(sign * value, len(decimals))


_BASED = re.compile(r"(-?[0-9A-Z]+) ?_ ?\{? ?([0-9]{1,2}) ?\}?")
_TIME = re.compile(
    r"0?([0-9]{1,2})(?::([0-9]{2}(?::[0-9]{2})?)(?: ?([ap])\.? ?m\.?)?| ?([ap])\.? ?m\.?)", re.IGNORECASE
)


def read_based(text: str) -> tuple[str, str] | None:
    """Digits and base of a number such as `1101_2`; None for anything else.

    Example:
        >>> read_based("1101_2"), read_based("x_2")
        (('1101', '2'), None)
    """
    found = _BASED.fullmatch(text)
    return (found[1], found[2]) if found and re.search("[0-9]", found[1]) else None


def read_time(text: str) -> tuple[str, str, str] | None:
    """Hour, minutes (and seconds) and "a", "p" or "" of a time such as `3:45 p.m.` or `9 am`; None for all else.

    Example:
        >>> read_time("3:45 p.m."), read_time("9 am"), read_time("9")
        (('3', '45', 'p'), ('9', '00', 'a'), None)
    """
    if text.lower() in ("noon", "midnight"):
        return "12", "00", "p" if text.lower() == "noon" else "a"
    found = _TIME.fullmatch(text)
    return (found[1], found[2] or "00", (found[3] or found[4] or "").lower()) if found else None
