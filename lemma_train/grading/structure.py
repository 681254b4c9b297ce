r"""What an answer is made of: a list, an interval, a matrix, a union, a sequence, or one thing.

Enters: a cleaned answer (`notation.clean`). Leaves: its kind and its parts. It compares nothing.
"""

import re

from lemma_train.grading.notation import read_number
from lemma_train.grading.units import split_unit

MAX_DEPTH = 12

_MATRIX = re.compile(r"\\begin ?\{([pbB]?matrix|array)\} ?(?:\{[lcr| ]*\})?((?:(?!\\begin).)*)\\end ?\{\1\}")
_COMMA = r"[,;]"
SEPARATOR = r"[,;]|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])"
_THOUSANDS = re.compile(r"[0-9],[0-9]{3}(?![0-9])")
_SEQUENCE = re.compile(r"-?[0-9.]+(?: -?[0-9.]+)+")


def structure_of(text: str) -> tuple[str, list[str]]:
    """What an answer is made of: its kind, and its parts.

    Returns:
        "one", "list", "sequence", "union", a pair of brackets ("()", "[)") or "matrix of N rows"; and the parts' texts.

    Example:
        >>> structure_of("(1, 2)"), structure_of("3 or 4"), structure_of("x + 1")
        (('()', ['1', '2']), ('list', ['3', '4']), ('one', ['x + 1']))
    """
    text = text.strip()
    for _ in range(MAX_DEPTH):
        matrix = _MATRIX.fullmatch(text)
        if matrix:
            rows = [row.split("&") for row in re.split(r"\\\\", matrix[2]) if row.strip()]
            return f"matrix of {len(rows)} rows", [cell.strip() for row in rows for cell in row]
        enclosed = None if is_number(text) else _enclosed(text)
        if enclosed is None:
            break
        opening, inside, closing = enclosed
        parts = split(inside, ", " if ", " in inside and _THOUSANDS.search(inside) else _COMMA)
        if len(parts) > 1:
            return ("list", parts) if opening == "{" else (opening + closing, parts)
        if not inside or (opening != "{" and opening + closing != "()" and not _MATRIX.fullmatch(inside)):
            break
        text = inside  # brackets around a single thing
    if is_number(text):
        return "one", [text]
    if _SEQUENCE.fullmatch(text):
        return "sequence", text.split()
    pieces = split(text, r"\\cup\b")
    if len(pieces) > 1:
        return "union", pieces
    several = split(text, r", |(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])" if _THOUSANDS.search(text) else SEPARATOR)
    several = [both for part in several if part for both in _both_signs(part)]
    return ("list", several) if len(several) > 1 else ("one", [text])


def split(text: str, separator: str) -> list[str]:
    """Split at the separators (a regular expression) that stand in no brackets and in no matrix.

    Example:
        >>> split("(1, 2), 3", ",")
        ['(1, 2)', '3']
    """
    parts, start, depth = [], 0, 0
    for token in re.finditer(rf"(?P<opening>[(\[{{]|\\begin\b)|(?P<closing>[)\]}}]|\\end\b)|{separator}", text):
        if token["opening"]:
            depth += 1
        elif token["closing"]:
            depth -= 1
        elif depth == 0:
            parts.append(text[start : token.start()].strip())
            start = token.end()
    return [*parts, text[start:].strip()]


def is_number(text: str) -> bool:
    """Whether a text is a plain number, with a unit or without."""
    return read_number(split_unit(text)[0]) is not None


def _enclosed(text: str) -> tuple[str, str, str] | None:
    """Opening bracket, inside and closing bracket of a text that one pair of brackets holds."""
    first = text.removeprefix("\\")[:1]
    if not first or first not in "([{":
        return None
    depth = 0
    for bracket in re.finditer(r"[()\[\]{}]", text):
        depth += 1 if bracket[0] in "([{" else -1
        if depth == 0:
            if bracket.end() < len(text):
                return None
            inside = text[text.index(first) + 1 : -1].strip().removesuffix("\\")
            return first, inside.strip(), bracket[0]
    return None


def _both_signs(text: str) -> list[str]:
    if "\\pm" not in text:
        return [text]
    return [text.replace("\\pm", sign).replace("\\mp", other).strip() for sign, other in (("+", "-"), ("-", "+"))]
