"""The answer among plain words: "18 dollars a week for her", "B because it is larger", "it takes 2 hours 30 minutes".

Enters: a sentence that states an answer, or a text that states none. Leaves: the number, amount, list or words that
are the answer, as they are written, or None. It does not look for statements (`extraction`) and judges nothing.
"""

import re
from collections import deque
from collections.abc import Collection

from lemma_train.grading.notation import SCALES, clean, read_number
from lemma_train.grading.units import UNIT_WORDS

BEFORE_AMOUNT = re.compile(r"\.?[0-9]")  # a dollar sign before it closes no formula: "$5 + $7 = $12"
FORMULA = re.compile(
    rf"(?<!\\)\$([^$\n]{{1,300}})(?<!\\)\$(?!{BEFORE_AMOUNT.pattern})"
    r"|\\\(([^\n]{1,300}?)\\\)|\\\[(.{1,300}?)\\\]",
    re.DOTALL,
)
AFTERTHOUGHT = re.compile(
    r"(?:,? (?:because|since|as(?! well)|so|which|where|when|for|per|from|on|at|after|of the|in total|in all"
    r"|altogether)\b"
    r"|,? (?:(?:and|but) )?(?:not|rather than|instead of|unlike)\b|,? (?:but|though|although|however|while)\b"
    r"|,? \\?[$€£]?[0-9][0-9.,]* (?:[a-z]+ )?(?:more|less|fewer) than\b).*"
)
_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z][a-z]{2,}(?![A-Za-z])")
GOES_ON = re.compile(r"\s*(?:,|\b(?:and|or) (?=[-+$\\(\[0-9])|\\%|%|[-+=*/^:])")

_SPACE = "[ \N{NO-BREAK SPACE}\N{THIN SPACE}\N{NARROW NO-BREAK SPACE}]"
_GROUP = rf"(?:,|\{{,\}}|\\,|['\N{{RIGHT SINGLE QUOTATION MARK}}]|{_SPACE})[0-9]{{3}}(?![0-9])"
_DIGITS = (
    rf"(?:[0-9]{{1,3}}(?:{_GROUP})+(?:\.[0-9]+)?(?![0-9]|,[0-9])"
    r"|[0-9]+(?:\.[0-9]+)?(?![.,]?[0-9]))"
)
_MIXED = (
    rf"[0-9]{{1,4}}(?:{_SPACE}?\\[dt]?frac\{{-?[0-9]+\}}\{{[0-9]+\}}|{_SPACE}?[½¼¾⅓⅔]"
    rf"|{_SPACE}[0-9]{{1,3}}/[0-9]{{1,3}}(?![0-9/])|(?: and |-)[0-9]{{1,2}}/[0-9]{{1,2}} [a-z]{{3,20}}"
    r"| and (?:a|one) (?:half|quarter)(?![a-z]))"
)
_POWER = r"(?: ?(?:x|\*|\N{MULTIPLICATION SIGN}|\\times|\\cdot) ?10\^(?:\{-?[0-9]+\}|-?[0-9]+))"
_CLOCK = r"[0-9]{1,2}(?::[0-9]{2}){1,2}(?![0-9])(?: ?[aApP]\.?[mM]\b\.?)?"
_SCALE = rf"(?: (?:{'|'.join(SCALES)})(?![A-Za-z]))"
# Atomic: plain digits can be read in three of these ways, which would be tried for every number of a long list anew.
_PLAIN = rf"(?>{_DIGITS}(?:{_POWER}|{_SCALE})?|[0-9]+(?:[.,][0-9]+)+|[0-9]+)"
_VALUE = (
    rf"(?:{_MIXED}|\\[dt]?frac\{{-?[0-9]+\}}\{{[0-9]+\}}|[½¼¾⅓⅔]|{_CLOCK}"
    rf"|[0-9]+/[0-9]+|{_PLAIN}|\.[0-9]+)(?:\s?\\?%)?"
)
# A number may begin only where no other number or name goes on, which also keeps the search linear.
NUMBER = re.compile(rf"(?<![0-9A-Za-z.)])(?<![0-9],)(?:[-\u2212\u00b1]|\\pm ?|negative )?(?:\\?[$€£]\s?)?{_VALUE}")
_UNITS = rf"(?:{'|'.join(UNIT_WORDS)}|h)\b\.?"
_AMOUNT = re.compile(
    rf"(?<![0-9A-Za-z.,)])[0-9][0-9.,]{{0,20}} ?{_UNITS}(?:,? (?:and )?[0-9][0-9.,]{{0,20}} ?{_UNITS})+", re.IGNORECASE
)
_NEXT_NUMBER = re.compile(
    r"\s*(?:(?:[A-Za-z]+\.? ?){0,3}?(?:,|\b(?:and|or|to|by|plus|minus|through|nor)\b)|[A-Za-z]+\.?) ?"
    r"(?=[-+$€£\\(\[]{0,2}[0-9])"
)
# "24 hours / 2 = 12 hours", "5 pens plus 7 pens = 12": the number before it is a part of a sum.
_RECKONED_ON = re.compile(
    r"(?:(?: [A-Za-z]+){1,3}? ?[-+*/\u00d7\u00f7]"
    r"|(?: [A-Za-z]+){0,3}? (?:x|plus|minus|times|(?:divided|multiplied) by)) ?\\?[$€£]?[.0-9]"
)
_LIST = re.compile(rf"{NUMBER.pattern}(?:(?:, ?{NUMBER.pattern})+,)? (?:and|or) {NUMBER.pattern}")
_RANGE = re.compile(
    rf"(?<!from )(?<![0-9A-Za-z.,)$€£])(?P<low>[$€£]?{_VALUE})(?: to | ?\u2013 ?|-)(?P<high>[$€£]?{_VALUE})"
)
_RATIO = re.compile(r"(?<![0-9:])[0-9]+(?: ?: ?[0-9]+)+")
_MONTH = (
    "(?:January|February|March|April|May|June|July|August|September|October|November|December"
    r"|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\.?)"
)
_DATE = re.compile(
    rf"(?:{_MONTH} [0-9]{{1,2}}(?:st|nd|rd|th)?|\b[0-9]{{1,2}}(?:st|nd|rd|th)? {_MONTH})(?![0-9A-Za-z])"
    r"(?:,? [0-9]{4}(?![0-9]))?"
)
_TUPLE = re.compile(r"[(\[] ?-?[0-9./]+(?:, ?-?[0-9./]+)+ ?[)\]]")
_TOKEN = re.compile(r"\S+")
_FORMULA_TOKEN = re.compile(r"\\(?!\$|[dt]?frac\{-?[0-9]+\}\{[0-9]+\}|text|%|,|boxed)|[0-9A-Za-z)}]\^")
_WINDOW = 120  # characters before the last number that may belong to it
_CHOICE = re.compile(r"\(?[A-Z](?:[).:]+ .*|\))?")
_VERDICT_WORD = re.compile(
    r"(?:yes|no|true|false|none|never|always|undefined|impossible|even|odd|prime|composite|positive|negative)",
    re.IGNORECASE,
)
_NAMED = re.compile(r"[A-Z][A-Za-z.'-]*(?: [A-Za-z.'-]+){0,2}")
# "between 5 and 6", "neither 5 nor 6", "half of 10", "more than 5": their numbers are not the answer.
_NO_VALUE = re.compile(
    r"(?:(?:somewhere |anywhere )?(?:between|from|within)|neither|half|twice|double|triple|(?:a|one) (?:third|quarter)"
    r"|(?:more|less|greater|fewer|larger|smaller|higher|lower) than)(?: of)?(?: the)? \\?[-$€£]{0,2}"
    rf"{_VALUE}(?:(?:,| to| and| nor) [-$€£]{{0,2}}{_VALUE})*[^0-9=]*",
    re.IGNORECASE,
)
_WORDS = re.compile(r"(?!(?:sqrt|pi|sin|cos|tan|log|ln)\b)(?<![A-Za-z\\])[A-Za-z]{2,}")
_MINUS = re.compile(r"^(?:minus|negative) (?=[$€£]?[0-9])", re.IGNORECASE)
_OUT_OF = re.compile(r"(?<![0-9.,])[0-9]+ (?:in|out of)(?: every)? [0-9]+(?![0-9])")
# What stands before the last number where that is the end of a formula such as "4x + 3".
_TERMS = re.compile(r"(?<![A-Za-z0-9.^])(?:[0-9.]*[A-Za-z]?(?:\^\{?[0-9]+\}?)? ?[-+*/] ?)+$")
_EACH = re.compile(
    r"[-$€£]{0,2}[0-9][^=]*? (?P<joint>for|on|at|from|after)\b[^0-9]*\band [-$€£]{0,2}[0-9][^=]* (?P=joint)\b[^=]*"
)  # "5 for A and 6 for B"
_UNIT_POWER = re.compile(rf"(?:{'|'.join(UNIT_WORDS)}|m|units?)\^\{{?[0-9]\}}?[.,;:!?]*")
_REFUSED = re.compile(
    r"(?:\b(?:not|never|cannot)|n['\u2019]t|rather than|instead of|unlike)(?: (?:be|equal|just|only|have|get))?"
    r"\s[-$€£]{0,2}$"
)
_TRIES = 50  # numbers that are looked at from the end of a text; bounds the work on hostile text
_TRAIL = re.compile(r"(?:[.,;:!?$&]|\\\\|\\end\{[a-z*]+\}|\\[\])])+$")


def is_prose(text: str) -> bool:
    """Whether words stand in it, other than the "and" of a list.

    Example:
        >>> is_prose("18 dollars"), is_prose("2 and 3")
        (True, False)
    """
    return _PROSE.search(re.sub(r"\band\b", "", text)) is not None


def answer_in(sentence: str) -> str | None:
    """The answer that a sentence begins with or comes to; None where it gives none.

    Example:
        >>> answer_in("18 dollars a week for her"), answer_in("2 apples and 3 pears"), answer_in("B because 5 > 3")
        ('18 dollars a week', '2 apples and 3 pears', 'B')
    """
    if _NO_VALUE.fullmatch(sentence) or _EACH.fullmatch(sentence):
        return sentence
    if date := _DATE.match(sentence):
        return date[0]
    sentence = _MINUS.sub("-", sentence)
    told = AFTERTHOUGHT.sub("", sentence).strip()
    if told and not _WORDS.search(told) and not _CHOICE.fullmatch(told):
        return told
    head, _, remark = told.partition(", ")
    if len(remark.split()) > 4 or "=" in remark:
        head = told
    if _CHOICE.fullmatch(told) or _CHOICE.fullmatch(head) or _VERDICT_WORD.fullmatch(head):
        return told if _CHOICE.fullmatch(told) else head
    number = NUMBER.match(sentence)
    if number:
        return _with_what_belongs(number, sentence, told)
    if _NAMED.fullmatch(head) and "=" not in sentence:
        return head
    if NUMBER.search(sentence):
        return last_number(sentence)
    return told if told and len(told.split()) <= 3 else None


def _with_what_belongs(number: re.Match[str], sentence: str, told: str) -> str:
    """The number at the beginning of a sentence, with its unit, or with the other numbers that are told with it."""
    if "=" in sentence and _RECKONED_ON.match(sentence, number.end()):
        head = sentence.partition(", ")[0]
        result = AFTERTHOUGHT.sub("", right_side(head if "=" in head else sentence) or "").strip()
        if NUMBER.match(result):
            return result
    if told.startswith(number[0]):
        rest = told[number.end() :]
        if _NEXT_NUMBER.match(rest) or GOES_ON.match(rest):
            return told
        if len(rest.split()) <= 3 and not re.search("[0-9]", rest):
            return (number[0] + rest).strip()
    return number[0].strip()


def last_number(text: str, denied: Collection[str] = ()) -> str | None:
    """The last number of a text, with the amount, list, range or formula that it is a part of.

    Args:
        denied: numbers that it cannot be, as `bare` returns them.

    Example:
        >>> last_number("It takes 2 hours and 30 minutes."), last_number("That leaves 5", {"5"})
        ('2 hours and 30 minutes', None)
    """
    formulas = [found for found in FORMULA.finditer(text) if inside_of(found)]
    for number in reversed(deque(NUMBER.finditer(text), maxlen=_TRIES)):
        if _REFUSED.search(text[max(0, number.start() - 30) : number.start()]):
            continue
        whole = _whole(text, number, formulas)
        if whole and bare(whole) not in denied:
            return whole
    return None


def bare(answer: str) -> str:
    """The first number of an answer, or the answer itself, in a spelling that can be looked up.

    Example:
        >>> bare("$1,250.00 in all"), bare("x + y")
        ('1250', 'x+y')
    """
    found = NUMBER.match(answer.strip("$ "))
    value = read_number(clean(found[0])) if found and len(found[0]) <= _WINDOW else None
    return str(value.value) if value else "".join(answer.strip("$").split())


def _whole(text: str, number: re.Match[str], formulas: list[re.Match[str]]) -> str | None:
    around = next((i for i, one in enumerate(formulas) if one.start() <= number.start() < one.end()), None)
    if around is not None:
        return right_side(inside_of(formulas[around]) or "")
    if len(number[0]) > _WINDOW:
        return number[0].strip()
    start = max(0, number.start() - _WINDOW)
    window, place = text[start : number.end() + _WINDOW], number.start() - start
    for pattern in (_DATE, _AMOUNT, _TUPLE, _LIST, _RANGE, _RATIO, _OUT_OF):
        for found in pattern.finditer(window):
            if found.start() <= place < found.end() and _is_one(pattern, found, window):
                return found[0].strip().rstrip(".")
    token = _TOKEN.match(window, max(window.rfind(" ", 0, place), window.rfind("\n", 0, place)) + 1)
    if token and token.start() < place and _UNIT_POWER.fullmatch(token[0]):
        return None  # the 2 of "12 cm^2"
    if token and token[0].count("{") == token[0].count("}") and _FORMULA_TOKEN.search(token[0]):
        return right_side(_TRAIL.sub("", token[0].strip("$")))
    terms = _TERMS.search(window[:place])
    if terms and re.search("[A-Za-z]", terms[0]):
        return (terms[0] + number[0]).strip()
    return number[0].strip()


def _is_one(pattern: re.Pattern[str], found: re.Match[str], text: str) -> bool:
    """Whether what looks like a list, a range or a ratio is one, and no part of a calculation or a mere colon."""
    if pattern is _RATIO or (pattern is _RANGE and " to " in found[0] and "ratio" in text):
        return "ratio" in text
    if pattern is _LIST:  # "= 5 / 5 or 20 = A" says one thing twice
        return not re.search(r"[-=+*/] ?[$€£]?$", text[: found.start()]) and text[found.end() :].lstrip()[:1] != "="
    if pattern is _RANGE:  # "5-6 hours" is one, "20-15" a difference
        low, high = (read_number(clean(found[side])) for side in ("low", "high"))
        return bool(low and high and low.value < high.value)
    return True


def inside_of(formula: re.Match[str]) -> str | None:
    """What stands between the signs, unless these are the dollars of "pays $5 and keeps $3"."""
    inside = str(formula[formula.lastindex or 0]).strip()
    dollars = (_PROSE.search(inside) and "\\" not in inside) or inside[-1:] in ("-", "+", "*", "/", "=", "(")
    return None if dollars else inside.rstrip(".,").strip()


def right_side(formula: str) -> str | None:
    r"""Of "x = 5" the 5.

    Example:
        >>> right_side("x = 2 + 3 = 5"), right_side("x \\ge 5")
        ('5', 'x \\ge 5')
    """
    return re.split(r"(?<![<>!\\])=", formula)[-1].strip() or None
