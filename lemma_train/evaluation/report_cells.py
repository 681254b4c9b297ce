"""The cells of a report's tables, and how figures are written in them.

Enters: plain figures. Leaves: cells of plain text, the same for the HTML page and the Markdown file, which do the
escaping. Tables themselves are made elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lemma_train.evaluation.pairing import Paired
from lemma_train.evaluation.result_values import Proportion, number

NONE = "\u2013"


@dataclass(frozen=True)
class Cell:
    """A cell. small: a remark beneath or behind the text. change: a second one, the difference from the base."""

    text: str
    small: str = ""
    change: str = ""


@dataclass(frozen=True)
class Row:
    """The cells of a row; kind: run, or published for figures that are not one's own."""

    cells: Sequence[Cell]
    kind: str = "run"


BY_BENCHMARK = Cell("benchmark", "model")


@dataclass
class Table:
    """A table under a title.

    about: one paragraph that says how to read it. grouped: rows whose first cells have one text belong together.
    """

    title: str
    about: str
    columns: Sequence[Cell]
    rows: list[Row] = field(default_factory=list)
    grouped: bool = False


def with_interval(share: Proportion, counted: bool = False, change: Paired | None = None) -> Cell:
    """A proportion in %, with its interval as the remark.

    Args:
        counted: whether the remark ends in the number of trials, for tables that tell it nowhere else.
        change: what it is beside the base, question by question.

    Example:
        >>> with_interval(Proportion(0.75, n=4), counted=True)
        Cell(text='75.0', small='of 4', change='')
    """
    if share.value is None:
        return Cell(NONE)
    interval = "" if share.low is None or share.high is None else f"{100 * share.low:.1f}\u2013{100 * share.high:.1f}"
    trials = f"of {share.n:,}" if counted and share.n is not None else ""
    return Cell(f"{100 * share.value:.1f}", f"{interval} {trials}".strip(), difference(change))


def difference(change: Paired | None) -> str:
    """A paired difference in points with its interval; nothing where there is none."""
    if change is None or change.difference is None or change.low is None or change.high is None:
        return ""
    # Two lines, so that eight benchmarks fit beside each other.
    return f"{points(change.difference)}\n[{points(change.low)},\u00a0{points(change.high)}]"


def points(share: float | None) -> str:
    """A difference of shares in percentage points, with its sign.

    Example:
        >>> points(0.1234), points(0.0)
        ('+12.3', '±0.0')
    """
    if share is None:
        return NONE
    rounded = round(100 * share, 1)
    return "\u00b10.0" if rounded == 0 else f"{rounded:+.1f}".replace("-", "\u2212")


def count(value: Any) -> str:
    """A number without decimals, or a dash for anything else.

    Example:
        >>> count(1319), count(None) == NONE
        ('1,319', True)
    """
    plain = number(value)
    return NONE if plain is None else f"{plain:,.0f}"
