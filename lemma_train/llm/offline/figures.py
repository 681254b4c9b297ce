"""The numbers that a question gives, in figures and in words, and how a number is written.

Enters: a question. Leaves: whether it holds a value, or one that is made from it without a sum (a percentage as
a decimal, the rest to a whole). Numbers that everybody knows, such as the hours of a day, are constants.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from lemma_train.llm.offline.arithmetic import MAX_TEXT, Token, tokens_of

_TABLE = """
one=1 two=2 three=3 four=4 five=5 six=6 seven=7 eight=8 nine=9 ten=10 eleven=11 twelve=12 thirteen=13 fourteen=14
fifteen=15 sixteen=16 seventeen=17 eighteen=18 nineteen=19 twenty=20 thirty=30 forty=40 fifty=50 sixty=60 seventy=70
eighty=80 ninety=90 hundred=100 thousand=1000 half=1/2,2 halves=1/2,2 twice=2 double=2 doubles=2 doubled=2 couple=2
pair=2 twins=2 both=2 thrice=3 triple=3 triples=3 tripled=3 quadruple=4 third=1/3,3,2/3 thirds=1/3,3,2/3
quarter=1/4,4,3/4,25,0.25 quarters=1/4,4,3/4,25,0.25 fourth=1/4,4,3/4 fourths=1/4,4,3/4
fifth=1/5,5 fifths=1/5,5 sixth=1/6,6
eighth=1/8,8 tenth=1/10,10 dozen=12 dozens=12 nickel=5,0.05 nickels=5,0.05 dime=10,0.1 dimes=10,0.1
"""
_WORDS = {word: values.split(",") for word, _, values in (entry.partition("=") for entry in _TABLE.split())}
_SPELLED_TENS = re.compile("[2-9]0")
_SPELLED_ONES = re.compile("[1-9]")
_CONSTANTS = frozenset(
    Fraction(n)
    for n in ("1", "2", "4", "5", "7", "10", "12", "24", "30", "52", "60", "100", "365", "1000", "0.5", "16", "3")
)
_WORD = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True)
class Figures:
    """given: values in figures, in order and once each. worded: values in words. made: values that follow from them."""

    given: tuple[Fraction, ...]
    worded: frozenset[Fraction]
    made: frozenset[Fraction]

    @classmethod
    def of(cls, question: str) -> "Figures":
        question = question[:MAX_TEXT]
        tokens = tokens_of(question)
        given = tuple(dict.fromkeys(token.value for token in tokens if token.kind == "num"))
        words = _WORD.findall(question.lower())
        worded = {Fraction(n) for word in words for n in _WORDS.get(word, ())}
        worded |= {
            Fraction(tens) + Fraction(ones)
            for a, b in pairwise(words)
            for tens in _WORDS.get(a, ())[:1]
            for ones in _WORDS.get(b, ())[:1]
            if _SPELLED_TENS.fullmatch(tens) and _SPELLED_ONES.fullmatch(ones)
        }
        made: set[Fraction] = set()
        for i, token in enumerate(tokens):
            if token.kind != "num":
                continue
            part = token.value if token.percent or token.value < 1 else token.value / 100
            made |= {part, part * 100, 1 - part, 1 + part, 100 - part * 100, 100 + part * 100}
            if tokens[i + 1 : i + 3] and tokens[i + 1].text == "/" and len(tokens) > i + 2 and tokens[i + 2].value:
                whole = tokens[i + 2].value
                made |= {token.value / whole, 1 - token.value / whole, whole - token.value, whole + token.value}
        return cls(given, frozenset(worded), frozenset(made))

    def has(self, value: Fraction) -> bool:
        return abs(value) in self.worded or value in self.given or abs(value) in self.given

    def derives(self, value: Fraction) -> bool:
        return abs(value) in self.made

    def is_constant(self, value: Fraction) -> bool:
        return value in _CONSTANTS


def written_like(number: Token, value: Fraction) -> str | None:
    """A value written as the number was: thousands separators, cents, percent. None where that takes endless decimals.

    Example:
        >>> written_like(tokens_of("1,500")[0], Fraction(12000))
        '12,000'
    """
    if number.percent:
        value *= 100
    whole, sign = abs(value), "-" if value < 0 else ""
    currency = re.match(r"-(\\?[$£€] ?)", number.text)  # "-$5" is one piece, "$5" is not
    sign += currency[1] if currency else ""
    places = len(number.text.partition(".")[2])
    if whole.denominator == 1 and not (places and number.money):
        digits = str(whole.numerator)
        comma = re.search(r",|\{,\}|,\\!", number.text)
        if comma or (whole >= 10_000 and len(number.text) < 4):
            digits = f"{whole.numerator:,}".replace(",", comma.group() if comma else ",")
        return sign + digits
    least = places or (2 if number.money else 1)
    for digits_after in range(least, 5):
        if (whole * 10**digits_after).denominator == 1:
            digits = str((whole * 10**digits_after).numerator).zfill(digits_after + 1)
            return f"{sign}{digits[:-digits_after]}.{digits[-digits_after:]}"
    return None
