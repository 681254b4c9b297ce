r"""What the evaluation of LEMMA's authors would have said of a response.

Enters: a response and its reference. Leaves: the answer that their rules extract, and their verdict. No score of this
project rests on it: it stands beside the verdict of `lemma_train.grading`, so that a difference to published figures
can be traced to the answers that are graded otherwise.

The rules (arXiv 2503.17439, section 4.1, and what the public code does), some of which are faults:

- The first of these that is found anywhere in the response is its answer, even where a later statement takes it
  back: "final answer is $X$. I hope", the last `\boxed`, the last "he answer is", the last "final answer is", the
  last number.
- Two numbers are equal within a relative 1e-4, also where one is 100 times the other: 0.5 equals 50, and 1 equals 100.
- A unit's letter that stands alone is deleted: "5 m" equals 5, and the answers "m" and "s" are equal.

An approximation, in our own words: numbers, plain fractions, pairs and their like, and the text itself are compared.
The authors also let a computer algebra system evaluate the answer as a program; nothing is evaluated here, so answers
that are equal only by algebra (x+1 and 1+x) differ. Rules that hold for single benchmarks are left out.
"""

import math
import re

from lemma_train.grading.extraction import extract_reference

RELATIVE_TOLERANCE = 1e-4

_HOPE = ("final answer is $", "$. I hope")
_PLAIN_NUMBER = re.compile(r"-?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)")  # any hyphen before it is taken for a sign
_UNIT_LETTER = re.compile(r"(?<![A-Za-z0-9_])[cdghlmst](?![A-Za-z0-9_])")
_DOLLAR = re.compile(r"\\?\$")
_LATEX_WORDS = re.compile(r"\\(?:text|mbox|mathrm|textbf)\{([^{}]*)\}")
_UNIT_AT_END = re.compile(r"(?<=[0-9}) ])\\(?:text|mbox|mathrm)\{[^{}]*\}(?:\^\{?[23]\}?)?$")
_DROPPED = re.compile(r"\\(?:left|right)(?![A-Za-z])|\^\{?\\circ\}?|\\[!,;: ]|\\?%|\s")
_SHORT_FRACTION = re.compile(r"\\frac([0-9])([0-9])")
_SLASHED = re.compile(r"(-?[0-9]+)/([0-9]+)")
_NAMED = re.compile(r"[^=]{1,2}=([^=]+)")  # "x=5" is 5
_ZEROS = re.compile(r"(?<=[0-9])\.0+(?![0-9])")
_BARE_POINT = re.compile(r"(?<![0-9])\.(?=[0-9])")
_NUMBER = re.compile(r"[-+]?[0-9][0-9,]*(?:\.[0-9]+)?")
_FRACTION = re.compile(r"(-?)\\frac\{(-?[0-9]+(?:\.[0-9]+)?)\}\{(-?[0-9]+(?:\.[0-9]+)?)\}")


def authors_verdict(response: str, reference: str) -> tuple[str | None, bool]:
    r"""The answer that the authors' rules find, as they rewrite it, and whether they call it right.

    Args:
        reference: the answer, or a GSM8K or MATH solution that ends in it.

    Returns:
        The answer, None where the response holds none; and False where there is none, or the reference is blank.

    Example:
        >>> authors_verdict("So \\boxed{5}. Wait, that is wrong. The answer is: 15.", "15")
        ('5', False)
        >>> authors_verdict("The answer is 50%.", "0.5")
        ('50', True)
    """
    found = _found(response)
    if found is None:
        return None, False
    answer = _rewritten(found)
    wanted = extract_reference(reference)
    return answer, wanted is not None and _equal(answer, _rewritten(wanted))


def _found(response: str) -> str | None:
    opening, closing = _HOPE
    if opening in response and closing in response:
        found = response.partition(opening)[2].partition(closing)[0]
    elif "boxed" in response:
        found = _in_box(response.rpartition("boxed")[2])
    elif "he answer is" in response:
        found = response.rpartition("he answer is")[2]
    elif "final answer is" in response:
        found = response.rpartition("final answer is")[2]
    else:
        numbers = _PLAIN_NUMBER.findall(response.replace(",", ""))
        found = numbers[-1] if numbers else ""
    return found.strip().partition("\n")[0].lstrip(": ").rstrip("./ ") or None


def _in_box(after: str) -> str:
    """What the box holds, or the rest of the text where nothing closes it; without braces up to a dollar sign."""
    if not after.startswith("{"):
        return after.partition("$")[0]
    depth = 0
    for place, character in enumerate(after):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return after[1:place]
    return after[1:]


def _rewritten(answer: str) -> str:
    """Spelling, units and markup taken off."""
    text = _UNIT_AT_END.sub("", _DOLLAR.sub("", answer).strip().rstrip("."))
    text = _UNIT_LETTER.sub("", text)
    text = _LATEX_WORDS.sub(r"\1", text)
    text = _DROPPED.sub("", text).replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    text = _SHORT_FRACTION.sub(r"\\frac{\1}{\2}", text)
    if named := _NAMED.fullmatch(text):
        text = named[1]
    if slashed := _SLASHED.fullmatch(text):
        text = f"\\frac{{{slashed[1]}}}{{{slashed[2]}}}"
    return _BARE_POINT.sub("0.", _ZEROS.sub("", text))


def _equal(answer: str, wanted: str) -> bool:
    if _equal_parts(answer, wanted):
        return True
    if _bracketed(answer) and _bracketed(wanted):
        parts, wanted_parts = answer[1:-1].split(","), wanted[1:-1].split(",")
        return len(parts) == len(wanted_parts) and all(map(_equal_parts, parts, wanted_parts))
    return False


def _equal_parts(answer: str, wanted: str) -> bool:
    if answer.lower() == wanted.lower():
        return True
    number, wanted_number = _number(answer), _number(wanted)
    if number is None or wanted_number is None:
        return False
    return any(math.isclose(number, wanted_number * scale, rel_tol=RELATIVE_TOLERANCE) for scale in (1.0, 0.01, 100.0))


def _bracketed(text: str) -> bool:
    return text[:1] in ("(", "[") and text[-1:] in (")", "]")


def _number(text: str) -> float | None:
    if _NUMBER.fullmatch(text):
        value = float(text.replace(",", ""))
    elif fraction := _FRACTION.fullmatch(text):
        below = float(fraction[3])
        if below == 0:
            return None
        value = float(fraction[2]) / below * (-1 if fraction[1] else 1)
    else:
        return None
    return value if math.isfinite(value) else None
