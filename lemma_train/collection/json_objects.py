r"""JSON objects inside a model's text, read with the mends that such text needs.

Enters: a reply. Leaves: the JSON objects in it, in order. It knows nothing of the fields that a task wants.

Three mends. A comma before a closing bracket is dropped. Line breaks inside strings are kept. And LaTeX written with
one backslash, which JSON reads as something else or not at all ("\frac" as a form feed and "rac", "\(" as a fault),
keeps its backslash:

- an escape that JSON does not know (\s, \c, \(, \%, \u without four hex digits) is a backslash and what follows it;
- \b and \f are too, always: no solution holds a backspace or a form feed, but \boxed, \binom, \frac and \forall;
- \n, \t and \r are too where the letters from there on, taken as far as they go, are the name of a LaTeX command:
  "\times 3" is a product, "\nNext" a new line. A name that also reads as a new line and a word or variable of its own
  ("\nu", "\ne", "\nless") is a command only inside a formula and where no other command in the string has two
  backslashes;
- \\ , \" and \/ are what JSON says.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

_OPENING = re.compile(r'(?<!\\)\{\s*"')
_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*+)"|[{}\[\]]|[^"{}\[\]]+', re.DOTALL)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)([A-Za-z]*)", re.DOTALL)
_PROPER = re.compile(r"(?<!\\)\\\\[A-Za-z]")
_TRAILING_COMMA = re.compile(r",\s*$")

_MOST_DEPTH = 4  # of brackets; the replies need two
_MOST_OBJECTS = 100

_COMMAND_NAMES = (
    "nabla natural ne nearrow neg neq newline newcommand nexists ngeq ngtr ni nleq nless nmid nolimits nonumber not "
    "notin nparallel nprec nrightarrow nsim nsubseteq nsucc nu nwarrow tan tanh tag tau tbinom text textbf textit "
    "textnormal textrm textsf textstyle texttt tfrac theta therefore thickapprox thickspace thinspace tilde times tiny "
    "to top triangle triangleleft triangleright tt twoheadrightarrow rangle raisebox rbrace rbrack rceil renewcommand "
    "rfloor rgroup rho right rightarrow rightharpoonup rightleftharpoons rightsquigarrow risingdotseq rm rmoustache "
    "rtimes rule rvert"
)
_COMMANDS = frozenset(_COMMAND_NAMES.split())
_DOUBTFUL = frozenset({"ne", "nexists", "ni", "nless", "nmid", "nparallel", "nu"})


def json_objects(text: str) -> Iterator[dict[str, Any]]:
    r"""The JSON objects in a text, outer before inner, at most 100.

    Objects may stand in a code fence, after a preamble or before more text; single quotes and comments are not read.

    Example:
        >>> next(json_objects('Sure: {"step": "\\frac{1}{2} of 6 is 3",}'))
        {'step': '\\frac{1}{2} of 6 is 3'}
    """
    for count, opening in enumerate(_OPENING.finditer(text)):
        if count == _MOST_OBJECTS:
            return
        mended = _mended(text, opening.start())
        if mended is None:
            continue
        try:
            value = json.loads(mended, strict=False)
        except ValueError:  # not JSON after all, or a number too long to be one
            continue
        yield value


def _mended(text: str, start: int) -> str | None:
    """The object that opens at `start` as proper JSON, or None where it is not closed or nested too deeply."""
    parts: list[str] = []
    depth = 0
    position = start
    while (token := _TOKEN.match(text, position)) is not None:
        position = token.end()
        piece = token.group()
        if piece[0] == '"':
            parts.append(f'"{_mended_string(token.group(1))}"')
            continue
        if piece in "{[":
            depth += 1
            if depth > _MOST_DEPTH:
                return None
        elif piece in "}]":
            depth -= 1
            if parts:
                parts[-1] = _TRAILING_COMMA.sub("", parts[-1])
        parts.append(piece)
        if depth == 0:
            return "".join(parts)
    return None


def _mended_string(body: str) -> str:
    if "\\" not in body:
        return body
    escapes_well = bool(_PROPER.search(body))
    counted, dollars = 0, 0  # how far the dollar signs are counted; an odd number opens a formula

    def mend(escape: re.Match[str]) -> str:
        escaped, letters = escape.groups()
        as_json = escape.group()
        literal = "\\" + as_json
        if escaped in ("\\", '"', "/") or len(escaped) > 1:
            return as_json
        if escaped not in ("n", "t", "r"):
            return literal
        name = escaped + letters
        if name in _DOUBTFUL:
            nonlocal counted, dollars
            dollars += body.count("$", counted, escape.start())
            counted = escape.start()
            return literal if dollars % 2 == 1 and not escapes_well else as_json
        return literal if name in _COMMANDS else as_json

    return _ESCAPE.sub(mend, body)
