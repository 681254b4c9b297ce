"""Text from outside, made safe to look at: nothing in it can steer a terminal, hide, or turn other text around.

Enters: text of a model, a data set, a server or a file's name. Leaves: the same text, with such signs spelled out. It
escapes nothing for HTML or Markdown.
"""

import unicodedata

# Controls, formats (among them those that turn the direction of text), halves of pairs, private and unassigned ones,
# and the two separators that some programs take for line breaks.
_SHOWN_AS_ESCAPES = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def visible(text: str) -> str:
    r"""The text with characters that are invisible, or that change how others are shown, written as escapes.

    Example:
        >>> visible("a\u202eb\n")
        'a\\u202eb\n'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if char in "\n\t" or unicodedata.category(char) not in _SHOWN_AS_ESCAPES else ascii(char)[1:-1]
        for char in text
    )
