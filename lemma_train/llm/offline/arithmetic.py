"""Arithmetic as people write it in text: its numbers and signs with their places, and the value of an expression.

Enters: text such as "16 balls * $11/ball = $176" or "$\\frac{3}{4} \\cdot 8 = 6$". Leaves: tokens with character spans,
and exact values as fractions. A small tokenizer and a precedence parser with bounds on length, digits, depth and
exponents do the work; nothing in the text is executed. What belongs together is found by equations.py.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

MAX_TEXT = 20_000  # characters; longer texts are not worked solutions
_MAX_TERMS = 60  # tokens of one side of an equation
_MAX_DEPTH = 12
_MAX_WORDS_BETWEEN = 8  # a minus within so many words after a number subtracts from it


@dataclass(frozen=True)
class Token:
    """A piece of text. kind: `num`, `op`, `(`, `)`, `=`, `word` or `break`; op is one of + - * / ^.

    value: of a number, with the percent sign worked in. percent: whether that sign follows the numeral.
    money: the currency sign before the numeral, "" where there is none.
    """

    kind: str
    start: int
    end: int
    text: str
    value: Fraction = Fraction(0)
    percent: bool = False
    money: str = ""

    @property
    def shown(self) -> str:
        """The number with what stands beside it: "$7", "-£7", "25%"."""
        digits = self.text.lstrip("-\\$£€ ")
        return ("-" if self.value < 0 else "") + self.money + digits + ("%" if self.percent else "")


@dataclass(frozen=True)
class Expression:
    """One side of an equation: its tokens without the unit words, and its value."""

    tokens: tuple[Token, ...]
    value: Fraction

    @property
    def start(self) -> int:
        return self.tokens[0].start

    @property
    def end(self) -> int:
        return self.tokens[-1].end

    @property
    def numbers(self) -> tuple[Token, ...]:
        return tuple(token for token in self.tokens if token.kind == "num")

    @property
    def operators(self) -> tuple[Token, ...]:
        """Without the sign of a first negative number."""
        return tuple(token for i, token in enumerate(self.tokens) if token.kind == "op" and i)

    @property
    def plain(self) -> str:
        """The side without its units: "16 * 11"."""
        written = ""
        for i, token in enumerate(self.tokens):
            sign = token.kind == "op" and (i == 0 or self.tokens[i - 1].kind in ("op", "("))
            if token.kind == "op" and not sign:
                written += f" {token.text} "
            elif token.kind == "num":
                written += token.shown
            else:
                written += token.text
        return written


_TOKEN = re.compile(
    r"""(?P<fraction>\\[dt]?frac\{(?P<over>\d{1,12})\}\{(?P<under>\d{1,12})\})
    |(?P<number>(?:\d{1,3}(?:(?:,|\{,\}|,\\!)\d{3}(?!\d)){1,4}|\d+)(?:\.\d+)?|\.\d+)
    |(?P<power>\^\{(?P<exponent>\d{1,3})\})
    |(?P<space>\s+)
    |(?P<skip>\\boxed\{|\\left|\\right|\\[,!;\ ]|\\\\|[&}])
    |(?P<aside>\\(?:text|mbox|textbf)\{[^{}]{0,60}\})
    |(?P<money>\\?\$|[£€])
    |(?P<named>\\times|\\cdot|\\div)
    |(?P<unit>/\s?[A-Za-z]{2,}|-[A-Za-z]+)
    |(?P<word>[A-Za-z][A-Za-z'\u2019]*(?:-[A-Za-z]+)*)
    |(?P<op>[-+*/^\u00d7\u00f7\u00b7\u2212\u2013])
    |(?P<paren>[()])
    |(?P<equals>=)
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_SIGNS = {"\u00d7": "*", "\u00f7": "/", "\u00b7": "*", "\u2212": "-", "\u2013": "-"}
_SIGNS |= {"\\times": "*", "\\cdot": "*", "\\div": "/"}
_GLUED_UNITS = re.compile(r"kg|k?g|mg|km|cm|mm|m|mi|ft|in|lbs?|oz|m?l|m?L|hrs?|h|mins?|s|sec|mph|[ap]m|[AP]M|k")
_ORDINALS = {"st", "nd", "rd", "th"}
_LABEL = re.compile(r"(?:^|\n)[ \t]*(?:(?:step|Step)[ \t]+)?(\d{1,2})[.):](?=\s)")


def is_latex(text: str) -> bool:
    """Whether dollar signs in the text stand for mathematics, not for money."""
    return bool(re.search(r"\\(?:boxed|[dt]?frac|cdot|times|sqrt|text|\[|\()|\$[^$\d][^$]{0,80}\$", text))


def tokens_of(text: str) -> list[Token]:
    """The tokens of a text of at most `MAX_TEXT` characters; a longer one has none."""
    if len(text) > MAX_TEXT:
        return []
    latex = is_latex(text)
    labels = {found.start(1) for found in _LABEL.finditer(text)}
    tokens: list[Token] = []
    formula = False
    money, money_ends = "", -1
    for found in _TOKEN.finditer(text):
        kind, piece, start, end = found.lastgroup, found.group(), found.start(), found.end()
        previous = tokens[-1] if tokens else None
        if found["fraction"]:
            tokens += _fraction(found)
        elif found["number"]:
            glued = previous is not None and previous.kind == "word" and previous.end == start and latex
            if start in labels or len(piece) > 24 or glued:
                tokens.append(Token("break", start, end, piece))
                continue
            value = Fraction(re.sub(r"[^\d.]", "", piece))
            sign_before = money if money_ends == start else ""
            percent = re.match(r"\s?\\?%", text[end : end + 3]) is not None
            tokens.append(Token("num", start, end, piece, value / 100 if percent else value, percent, sign_before))
        elif found["power"]:
            tokens.append(Token("op", start, start + 1, "^"))
            tokens.append(Token("num", start + 2, end - 1, found["exponent"], Fraction(found["exponent"])))
        elif found["money"]:
            if piece == "$" and latex:
                formula = not formula
                tokens.append(Token("break", start, end, piece))
            else:
                money, money_ends = piece[-1], end
        elif found["word"] or found["unit"] or found["aside"]:
            tokens += _word(piece, start, end, text, tokens, latex and formula and not found["aside"])
        elif kind in ("op", "named"):
            tokens.append(Token("op", start, end, _SIGNS.get(piece, piece)))
        elif kind == "paren":
            tokens.append(Token(piece, start, end, piece))
        elif kind == "equals":
            tokens.append(Token("=", start, end, piece))
        elif kind == "space":
            if "\n" in piece and not formula:
                tokens.append(Token("break", start, end, piece))
            elif money_ends == start:
                money_ends = end  # "$ 5"
        elif kind == "other" and piece not in "%\\":
            tokens.append(Token("break", start, end, piece))
    return _signed(tokens, text)


def _signed(tokens: list[Token], text: str) -> list[Token]:
    """Minus signs that belong to a number are made part of it: there is nothing before them to subtract from."""
    kept: list[Token] = []
    last_number = -_MAX_WORDS_BETWEEN  # place of the last number or closing bracket with only words after it
    for token in tokens:
        before = kept[-1] if kept else None
        if (
            token.kind == "num"
            and before is not None
            and (before.kind, before.text) == ("op", "-")
            and (before.end == token.start or text[before.end : token.start].strip() in ("$", "\\$", "£", "€"))
            and (len(kept) - 1 - last_number >= _MAX_WORDS_BETWEEN or kept[-2].kind == "op")
        ):
            kept.pop()
            token = replace(token, start=before.start, text=text[before.start : token.end], value=-token.value)
        if token.kind in ("num", ")"):
            last_number = len(kept)
        elif token.kind != "word" and (token.kind, token.text) != ("op", "-"):
            last_number = -_MAX_WORDS_BETWEEN
        kept.append(token)
    return kept


def _fraction(found: re.Match[str]) -> list[Token]:
    over, under = found.span("over"), found.span("under")
    return [
        Token("(", found.start(), found.start() + 1, "("),
        Token("num", *over, found["over"], Fraction(found["over"])),
        Token("op", over[1], under[0], "/"),
        Token("num", *under, found["under"], Fraction(found["under"])),
        Token(")", found.end() - 1, found.end(), ")"),
    ]


def _word(piece: str, start: int, end: int, text: str, tokens: list[Token], variable: bool) -> list[Token]:
    previous = tokens[-1] if tokens else None
    if piece in ("x", "X") and previous is not None and previous.kind in ("num", "word", ")"):
        if re.match(r"\s*[\d$£€(.]", text[end : end + 3]):
            return [Token("op", start, end, "*")]
        return [Token("break", start, end, piece)]
    if previous is not None and previous.kind == "num" and previous.end == start and piece[0].isalpha():
        if piece in _ORDINALS or not _GLUED_UNITS.fullmatch(piece):
            tokens.pop()  # "3rd", "4y", "B12": no quantity
            return [Token("break", previous.start, end, piece)]
        return [Token("word", start, end, piece)]
    if piece.lower() == "of" and previous is not None and previous.kind == "num":
        is_share = previous.percent or previous.value < 1
        is_share = is_share or (len(tokens) > 2 and tokens[-2].text == "/" and tokens[-3].kind == "num")
        if is_share:
            return [Token("op", start, end, "*")]
    return [Token("break" if variable else "word", start, end, piece)]


def evaluate(tokens: Sequence[Token], instead: Mapping[int, Fraction] | None = None) -> Fraction | None:
    """The value of numbers, signs and brackets; None where they make no expression or pass the bounds.

    instead: other values for the numbers that start at these characters.
    """
    if not tokens or len(tokens) > _MAX_TERMS:
        return None
    reader = _Reader(tokens, instead or {})
    try:
        value = reader.total(0)
    except (_Unreadable, ZeroDivisionError):
        return None
    return value if reader.at == len(tokens) else None


class _Unreadable(Exception):
    """The tokens make no expression."""


class _Reader:
    def __init__(self, tokens: Sequence[Token], instead: Mapping[int, Fraction]):
        self.tokens, self.instead, self.at = tokens, instead, 0

    def sign(self, signs: str) -> str | None:
        if self.at < len(self.tokens) and self.tokens[self.at].kind == "op" and self.tokens[self.at].text in signs:
            self.at += 1
            return self.tokens[self.at - 1].text
        return None

    def total(self, depth: int) -> Fraction:
        value = self.product(depth)
        while sign := self.sign("+-"):
            term = self.product(depth)
            value = value + term if sign == "+" else value - term
        return value

    def product(self, depth: int) -> Fraction:
        value = self.power(depth)
        while sign := self.sign("*/"):
            factor = self.power(depth)
            value = value * factor if sign == "*" else value / factor
        return value

    def power(self, depth: int) -> Fraction:
        if self.sign("-"):
            if depth >= _MAX_DEPTH:
                raise _Unreadable
            return -self.power(depth + 1)
        base = self.operand(depth)
        if self.sign("^"):
            exponent = self.operand(depth)
            if exponent.denominator != 1 or not 0 <= exponent <= 20 or abs(base) > 10_000:
                raise _Unreadable
            return base**exponent.numerator
        return base

    def operand(self, depth: int) -> Fraction:
        if self.at >= len(self.tokens) or depth >= _MAX_DEPTH:
            raise _Unreadable
        token = self.tokens[self.at]
        self.at += 1
        if token.kind == "num":
            return self.instead.get(token.start, token.value)
        if token.kind != "(":
            raise _Unreadable
        value = self.total(depth + 1)
        if self.at >= len(self.tokens) or self.tokens[self.at].kind != ")":
            raise _Unreadable
        self.at += 1
        return value
