r"""Where a text puts its answer into a box: `\boxed{...}`, `\fbox{...}`, and `\boxed 5` without braces.

Enters: any text. Leaves: each box with its place and its content. It does not choose among boxes and judges nothing;
the work is one pass over the text.
"""

import re
from dataclasses import dataclass

_BOX = re.compile(r"\\(?:boxed|fbox|box)(?![A-Za-z])\s*")
# TeX would take the first digit of "\boxed 17" alone; who writes so means the whole of it.
_UNBRACED = re.compile(r"\\[A-Za-z]+(?!\s*[A-Za-z{])|[^\s{}$\\]{1,100}")


@dataclass(frozen=True)
class Box:
    """start, end: the first character of the box and the one behind it; content: None where its brace never closes."""

    start: int
    end: int
    content: str | None


def holds_box(text: str) -> bool:
    r"""Whether there is a `\boxed`, `\fbox` or `\box`, complete or not.

    Example:
        >>> holds_box("\\boxed{"), holds_box("boxed")
        (True, False)
    """
    return _BOX.search(text) is not None


def find_boxes(text: str) -> list[Box]:
    r"""Every box of a text in the order of their beginnings; the content is stripped and may be empty.

    Example:
        >>> [box.content for box in find_boxes("$\\boxed{\\frac{1}{2}}$, or \\boxed 17.")]
        ['\\frac{1}{2}', '17']
    """
    opened = list(_BOX.finditer(text))
    closing = _closing_braces(text) if opened else {}
    boxes = []
    for box in opened:
        start = box.end()
        if start in closing:
            end: int = closing[start] + 1
            content: str | None = text[start + 1 : end - 1].strip()
        elif unbraced := _UNBRACED.match(text, start):
            end, content = unbraced.end(), unbraced[0].rstrip(".,;:)")
        else:
            end, content = start, None
        boxes.append(Box(box.start(), end, content))
    return boxes


def last_boxed(text: str) -> str | None:
    r"""The content of the last box, without the outer braces; None where there is none, or it is empty or never ends.

    Example:
        >>> last_boxed(r"Hence $x = \boxed{\frac{1}{2}}$.")
        '\\frac{1}{2}'
    """
    boxes = find_boxes(text)
    return (boxes[-1].content or None) if boxes else None


def _closing_braces(text: str) -> dict[int, int]:
    """Where each brace that is closed is closed, in one pass; `\\{` is no brace."""
    closing: dict[int, int] = {}
    opened: list[int] = []
    for brace in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        if brace[0] == "{":
            opened.append(brace.start())
        elif brace[0] == "}" and opened:
            closing[opened.pop()] = brace.start()
    return closing
