"""A model's answer in pieces that a page can colour: what came before a reflection, the reflection, what came after.

Enters: an answer and what the scorecard says of it. Leaves: pieces of text, each with its kind, shortened where they
are very long, with characters that could mislead a reader made visible. It escapes nothing for HTML and judges nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lemma_train.visible_text import visible

Kind = Literal["plain", "wrong", "right", "reflection", "repair", "note"]

_AFTER: dict[str, Kind] = {"repaired": "repair", "spoiled": "wrong", "wrong_both": "wrong"}
# Characters of each part that are shown; trajectories of the LEMMA set have about 1,600 in all.
_PART = 3_000
_REFLECTION = 1_000
_WHOLE = 6_000


@dataclass(frozen=True)
class Piece:
    """A run of text. A `note` is the report's own remark, all other kinds are the model's text."""

    kind: Kind
    text: str


def marked(
    response: str, span: Sequence[int] | None, correct_before: bool | None = None, outcome: str | None = None
) -> list[Piece]:
    """The pieces of an answer, in order.

    Args:
        span: `[start, end)` characters of the reflection, or None where the answer has none. One that does not lie in
            the answer counts as none.
        correct_before: whether what stands before the reflection was right; None where that is not known.
        outcome: repaired, spoiled, wrong_both, idle_doubt or None.

    Example:
        >>> [(piece.kind, piece.text) for piece in marked("1+1=3. Wait. 1+1=2.", (7, 12), False, "repaired")]
        [('wrong', '1+1=3. '), ('reflection', 'Wait.'), ('repair', ' 1+1=2.')]
    """
    if span is None or not 0 <= span[0] < span[1] <= len(response):
        return shortened(response, "plain", _WHOLE)
    before: Kind = "plain" if correct_before is None else "right" if correct_before else "wrong"
    after = _AFTER.get(outcome or "", "plain")
    return [
        *shortened(response[: span[0]], before, _PART),
        *shortened(response[span[0] : span[1]], "reflection", _REFLECTION),
        *shortened(response[span[1] :], after, _PART),
    ]


def shortened(text: str, kind: Kind, limit: int) -> list[Piece]:
    """A text as one piece; or, over the limit, its beginning, a note of how much is left out, and its end."""
    if len(text) <= limit:
        return [Piece(kind, visible(text))] if text else []
    half = limit // 2
    return [
        Piece(kind, visible(text[:half])),
        Piece("note", f"{len(text) - 2 * half:,} characters left out"),
        Piece(kind, visible(text[-half:])),
    ]


def one_line(text: object, limit: int = 80) -> str:
    """A value from outside as one visible line of at most `limit` characters.

    Example:
        >>> one_line("two\\nlines", 6)
        'two l…'
    """
    line = " ".join(visible(str(text)[: 4 * limit]).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}\u2026"
