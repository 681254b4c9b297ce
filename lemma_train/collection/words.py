"""Text as the words by which two texts are compared: for near-duplicates and for questions of benchmarks.

Enters: any text. Leaves: words in lower case without punctuation. It compares nothing itself.
"""

import re
import unicodedata

_FIGURE = re.compile(r"\[asy\].*?(?:\[/asy\]|\Z)", re.DOTALL)  # drawings in MATH: coordinates, no words
_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"))
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
# A number with its decimals, a word, or a sign of arithmetic. A dash is one only before a number, a bracket or a
# LaTeX command; elsewhere it joins words.
_WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|[+*/^=<>%]|-(?=\s*[\d(\\])")
_SIGNS = frozenset("+*/^=<>%-")


def words(text: str, signs: bool = True) -> list[str]:
    """The words of a text in order; figures in Asymptote are left out.

    Args:
        signs: keep `+ - * / ^ = < > %` as words of their own, so that "3 + 5" and "3 - 5" differ.

    Example:
        >>> words("What's 1,200 - 3.5, Mr. Smith?")
        ['what', 's', '1200', '-', '3.5', 'mr', 'smith']
    """
    plain = unicodedata.normalize("NFKC", _FIGURE.sub(" ", text)).translate(_DASHES).lower()
    found = _WORD.findall(_THOUSANDS.sub("", plain))
    return found if signs else [word for word in found if word not in _SIGNS]
