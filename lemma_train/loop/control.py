"""The control that the method stands or falls by: worked solutions of the same questions, as many supervised tokens.

Enters: a finished collection and the renderer of the training. Leaves: `rows.jsonl`, one row for each question that the
collection's set trains on and whose worked solution is known, and how often they must be repeated for as many tokens
of completions as the set has. It trains nothing.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lemma_train.collection.candidates import reference_rows
from lemma_train.collection.stage_files import read_stage
from lemma_train.errors import InputError
from lemma_train.template import IGNORED, Renderer
from lemma_train.whole_file import whole_file

ROWS_FILE, SIZE_FILE = "rows.jsonl", "size.json"


def write_control(collection: Path, out: Path, renderer: Renderer) -> float:
    """Write the rows of the control; returns how often they are taken.

    Raises:
        InputError: a question of the set has no worked solution.

    Example:
        >>> write_control(Path("outputs/run/demo/collect"), Path("control"), renderer)   # doctest: +SKIP
        2.31
    """
    with (collection / "dataset.jsonl").open(encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    asked = {row["instruction"] for row in rows}
    references = [
        one.row for one in reference_rows(read_stage(collection, "problems")) if one.row["instruction"] in asked
    ]
    lacking = asked - {row["instruction"] for row in references}
    if lacking:
        raise InputError(
            f"control: {len(lacking)} of {len(asked)} questions have no worked solution, such as "
            f"{min(lacking)[:80]!r}; set control: none, or collect from questions with solutions."
        )
    wanted, held = _tokens(rows, renderer), _tokens(references, renderer)
    weight = round(wanted / held, 4)
    out.mkdir(parents=True, exist_ok=True)
    with whole_file(out / ROWS_FILE) as stream:
        stream.writelines(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in references)
    told = {"rows": len(references), "tokens": held, "tokens_of_the_set": wanted, "weight": weight}
    with whole_file(out / SIZE_FILE) as stream:
        stream.write(json.dumps(told, indent=1).encode())
    return weight


def _tokens(rows: Iterable[Mapping[str, Any]], renderer: Renderer) -> int:
    """Supervised tokens of all rows."""
    return sum(label != IGNORED for row in rows for label in renderer.encode(row["instruction"], row["output"]).labels)
