r"""The units of answers: taken off, converted, and amounts in two units such as `2 hours 30 minutes`.

Enters: a cleaned answer (`notation.clean`). Leaves: the answer without its unit, or the exact amount that it is. It
compares nothing; `equivalence` does.

A unit is dropped behind a number or a formula: known short ones ("5 cm", "18kg"), words of three letters or more
("3 apples", "5 square feet"). A single letter stays: it may be the answer's variable. "million" and its like belong to
the number: of "2 million people" only the people are the unit.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from lemma_train.grading.notation import SCALES, read_number

# What is measured: each unit's names, the canonical one first, and how many of the smallest one it is.
_MEASURES: dict[str, tuple[tuple[str, Fraction], ...]] = {
    "money": (("dollar dollars usd", Fraction(100)), ("cent cents", Fraction(1))),
    "euro": (("euro euros eur", Fraction(1)),),
    "rupee": (("rupee rupees", Fraction(1)),),
    "yen": (("yen", Fraction(1)),),
    "angle": (("degree degrees", Fraction(1)),),
    "radian": (("rad radian radians", Fraction(1)),),
    "time": (
        ("week weeks", Fraction(7 * 24 * 3600)),
        ("day days", Fraction(24 * 3600)),
        ("hour hours hr hrs", Fraction(3600)),
        ("minute minutes min mins", Fraction(60)),
        ("second seconds sec secs", Fraction(1)),
    ),
    "calendar": (("year years yr yrs", Fraction(12)), ("month months", Fraction(1))),
    "length": (
        ("km kilometer kilometers kilometre kilometres", Fraction(1000)),
        ("meter meters metre metres", Fraction(1)),
        ("cm centimeter centimeters centimetre centimetres", Fraction(1, 100)),
        ("mm millimeter millimeters", Fraction(1, 1000)),
    ),
    "imperial length": (
        ("mile miles mi", Fraction(63360)),
        ("yard yards yd yds", Fraction(36)),
        ("foot feet ft", Fraction(12)),
        ("inch inches in", Fraction(1)),
    ),
    "mass": (("kg kilogram kilograms", Fraction(1000)), ("gram grams", Fraction(1)), ("mg", Fraction(1, 1000))),
    "imperial weight": (("pound pounds lb lbs", Fraction(16)), ("oz ounce ounces", Fraction(1))),
    "volume": (("liter liters litre litres", Fraction(1000)), ("ml milliliter milliliters", Fraction(1))),
    "imperial volume": (
        ("gallon gallons gal", Fraction(16)),
        ("quart quarts", Fraction(4)),
        ("pint pints", Fraction(2)),
        ("cup cups", Fraction(1)),
    ),
    "speed": (("mph", Fraction(1)),),
    "metric speed": (("kph kmh", Fraction(1)),),
}
_NAMES = {
    name: (names.split()[0], measure, size)
    for measure, units in _MEASURES.items()
    for names, size in units
    for name in names.split()
}
_SIZES = {canonical: (measure, size) for canonical, measure, size in _NAMES.values()}

UNIT_WORDS = tuple(sorted((name for name in _NAMES if _NAMES[name][1] != "angle"), key=len, reverse=True))
"""Every name of a unit, longest first, for patterns."""

# Words that carry meaning, and runs of letters that look like words but are products.
_NO_UNITS = {
    *("sin", "cos", "tan", "cot", "sec", "csc", "log", "exp", "pow", "sqrt", "mod", "and", "plus", "minus", "times"),
    *("over", "choose", "root", "infinity", "alpha", "beta", "gamma", "theta", "lambda", "base", "dozen", "half"),
    *("abc", "abcd", "ace", "third", "thirds", "quarter", "not", "nor", "but", "squared", "cubed", "factorial"),
    *SCALES,
}
_SHORT = {"sq", "cu", "of", "am", "pm"}
_OF_RATIOS = {"m", "s", "h", "g", "l", "ft"}  # "5 m/s"
_UNIT = re.compile(r"(?<=[^A-Za-z\\]) ?([A-Za-z]+(?:[ ./]{1,2}[A-Za-z]+)*)[. ]{0,2}(\^ ?\{?[0-9]\}?)?$")


def split_unit(text: str) -> tuple[str, str | None]:
    r"""A cleaned answer and the unit it was given in, where it is one that is told apart ("" for any other unit).

    Example:
        >>> split_unit("18 dollars"), split_unit("2 million people"), split_unit("5 x")
        (('18', 'dollar'), ('2 million', ''), ('5 x', None))
    """
    found = _UNIT.search(text)
    if not found or not re.search(r"[0-9]|\\(?:pi|frac|sqrt)", text[: found.start()]):
        return text, None
    words = re.findall("[A-Za-z]+", found[1].lower())
    number_ends = found.start()
    if len(words) > 1 and words[0] in SCALES:
        number_ends = found.start(1) + len(words[0])
        words = words[1:]
    spaced = " " in text[number_ends - 1 : number_ends + 1]
    ratio = spaced and "/" in found[1] and all(word in _NAMES or word in _OF_RATIOS for word in words)
    if not ratio and not all(_is_unit(word, spaced or i > 0, i > 0) for i, word in enumerate(words)):
        return text, None
    name = _NAMES[words[0]][0] if len(words) == 1 and not found[2] and words[0] in _NAMES else ""
    return text[:number_ends].rstrip(), name


def _is_unit(word: str, spaced: bool, follows: bool) -> bool:
    if word in _NAMES or word in _SHORT or (follows and word in ("a", "an", "each")):
        return True
    return spaced and len(word) >= 3 and word not in _NO_UNITS and re.search("[aeiou]", word) is not None


def conversion(unit: str, other: str) -> Fraction | None:
    """How many of `other` one `unit` is, both named as `split_unit` does; None where that cannot be said.

    Example:
        >>> conversion("hour", "minute"), conversion("hour", "mile")
        (Fraction(60, 1), None)
    """
    if unit not in _SIZES or other not in _SIZES:
        return None
    (measure, size), (other_measure, other_size) = _SIZES[unit], _SIZES[other]
    return size / other_size if measure == other_measure else None


@dataclass(frozen=True)
class Amount:
    """What is measured, how many of its smallest unit it is, and the sizes of the units that it was given in."""

    measure: str
    value: Fraction
    sizes: tuple[Fraction, ...]

    def sizes_of(self, unit: str) -> tuple[Fraction, ...]:
        """The size of a unit of the same kind; all of its own for the unit "", and none for one of another kind."""
        if not unit:
            return self.sizes
        measure, size = _SIZES[unit]
        return (size,) if measure == self.measure else ()


_ABBREVIATED = {"h": "hour"}
_PART = re.compile(r"(?P<number>[0-9][0-9,]*(?:\.[0-9]+)?(?: [0-9]+/[0-9]+)?) ?(?P<unit>[A-Za-z]+)\.?")
_JOINT = re.compile(r"(?: ?[,;])?(?: ?and)? ?")


def read_amount(text: str) -> Amount | None:
    """An amount in two or more units of one kind, the larger ones first; None for anything else.

    Example:
        >>> read_amount("2 hours and 30 minutes").value, read_amount("2 hours"), read_amount("30 minutes, 2 hours")
        (Fraction(9000, 1), None, None)
    """
    parts: list[tuple[str, Fraction, Fraction]] = []
    place = 0
    while place < len(text):
        part = _PART.match(text, place)
        name = part["unit"].lower() if part else ""
        unit = _NAMES.get(_ABBREVIATED.get(name, name))
        number = read_number(part["number"]) if part else None
        if part is None or unit is None or number is None:
            return None
        _, measure, size = unit
        if parts and (measure != parts[-1][0] or size >= parts[-1][1]):
            return None
        parts.append((measure, size, number.value))
        joint = _JOINT.match(text, part.end())
        assert joint is not None  # it may be empty
        place = joint.end()
    if len(parts) < 2:
        return None
    return Amount(parts[0][0], sum((size * n for _, size, n in parts), Fraction(0)), tuple(part[1] for part in parts))
