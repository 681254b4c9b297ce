"""Published figures for a base model, from published.yaml.

Enters: names that may tell a model's base. Leaves: the figures that were published for that base, or None. It compares
nothing: published runs were graded by other rules.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

_FILE = Path(__file__).with_name("published.yaml")


@dataclass(frozen=True)
class PublishedRow:
    """One method.

    samples: rows of training data, where they are told. table: of the paper; None where the figures are not in one.
    accuracies: benchmark (or `average`) -> accuracy in %; those not published are left out.
    """

    method: str
    samples: str | None
    table: int | None
    accuracies: dict[str, float]


@dataclass(frozen=True)
class Published:
    """All methods that were published for one base model."""

    base: str
    citation: str
    benchmarks: tuple[str, ...]
    rows: tuple[PublishedRow, ...]

    @property
    def averaged(self) -> bool:
        return any("average" in row.accuracies for row in self.rows)


def published_for(model_names: Iterable[str]) -> Published | None:
    """The figures for the first of these models that is a known base.

    A name counts by its last part, as a whole: an instruction-tuned or later relative of a base model is another model.

    Example:
        >>> published_for(["/models/Meta-Llama-3-8B"]).base
        'LLaMA3-8B'
    """
    content = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    columns = content["columns"]
    by_name = {_plain(name): entry for entry in content["bases"] for name in entry["models"]}
    for name in model_names:
        entry = by_name.get(_plain(name))
        if entry is not None:
            rows = [
                PublishedRow(
                    row["method"],
                    row["samples"],
                    row["table"],
                    {c: figure for c, figure in zip(columns, row["figures"], strict=True) if figure is not None},
                )
                for row in entry["rows"]
            ]
            return Published(
                entry["base"], entry.get("citation", content["citation"]), tuple(columns[:-1]), tuple(rows)
            )
    return None


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", name.rstrip("/").rpartition("/")[2]).casefold()
