"""The control that the method stands or falls by: worked solutions of the same questions, as many supervised tokens.

Enters: a finished collection and the renderer of the training. Leaves: `rows.jsonl`, one row for each question that the
collection's set trains on and whose worked solution is known, and how often they must be repeated for as many tokens
of completions as the set has. It trains nothing.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from lemma_train.collection.candidates import reference_rows
from lemma_train.collection.stage_files import read_stage
from lemma_train.errors import InputError
from lemma_train.evaluation.result_values import at, number
from lemma_train.records import RowError, Trajectory, read_row
from lemma_train.template import IGNORED, Renderer
from lemma_train.whole_file import whole_file

ROWS_FILE, SIZE_FILE = "rows.jsonl", "size.json"


def write_control(
    collection: Path,
    out: Path,
    renderer: Renderer,
    error_span_weight: float = 1.0,
    max_length: int | None = None,
) -> float:
    """Write the rows of the control; returns how often they are taken.

    Args:
        error_span_weight: of the training; at 0 the wrong parts of the set are not supervised, and do not count.
        max_length: of the training, which drops longer rows.

    Raises:
        InputError: the collection has no row or a damaged one, or a question of the set has no worked solution.

    Example:
        >>> write_control(Path("outputs/run/demo/collect"), Path("control"), renderer)   # doctest: +SKIP
        2.31
    """
    rows = _rows(collection / "dataset.jsonl")
    asked = {row.instruction for row in rows}
    known = (one.row for one in reference_rows(read_stage(collection, "problems")))
    references = [row for row in known if row["instruction"].strip() in asked]  # stripped as `read_row` does
    lacking = asked - {row["instruction"].strip() for row in references}
    if lacking:
        raise InputError(
            f"control: {len(lacking)} of {len(asked)} questions have no worked solution, such as "
            f"{min(lacking)[:80]!r}; set control: none, or collect from questions with solutions."
        )
    wanted = _tokens(rows, renderer, error_span_weight, max_length)
    held = _tokens(map(read_row, references), renderer, error_span_weight, max_length)
    if not (wanted and held):
        raise InputError(f"control: every row is longer than max_length ({max_length}); raise it in overrides.train.")
    weight = round(wanted / held, 4)
    out.mkdir(parents=True, exist_ok=True)
    with whole_file(out / ROWS_FILE) as stream:
        stream.writelines(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in references)
    told = {"rows": len(references), "tokens": held, "tokens_of_the_set": wanted, "weight": weight}
    with whole_file(out / SIZE_FILE) as stream:
        stream.write(json.dumps(told, indent=1).encode())
    return weight


def read_weight(folder: Path) -> float:
    """How often the rows are taken, as `write_control` noted it.

    Raises:
        InputError: the note is damaged.
    """
    try:
        weight = number(at(json.loads((folder / SIZE_FILE).read_text(encoding="utf-8")), "weight"))
    except (OSError, ValueError, RecursionError):
        weight = None
    if weight is None or weight <= 0:
        raise InputError(f"{folder / SIZE_FILE} is damaged; delete it, and the control is made anew.")
    return weight


def _rows(dataset: Path) -> list[Trajectory]:
    rows = []
    with dataset.open(encoding="utf-8", errors="replace") as stream:
        for place, line in enumerate(stream, start=1):
            try:
                rows.append(read_row(json.loads(line)))
            except (RowError, ValueError, RecursionError) as error:
                message = f"{dataset}, line {place} is damaged; delete the file, and it is made anew."
                raise InputError(message) from error
    if not rows:
        raise InputError(f"control: {dataset} has no row; collect from more questions, or set control: none.")
    return rows


def _tokens(rows: Iterable[Trajectory], renderer: Renderer, error_span_weight: float, max_length: int | None) -> int:
    """Supervised tokens of all rows that the training takes."""
    supervised = 0
    for row in rows:
        labels = renderer.encode(row.instruction, row.output, row.error_span, error_span_weight).labels
        if max_length is None or len(labels) <= max_length:
            supervised += sum(label != IGNORED for label in labels)
    return supervised
