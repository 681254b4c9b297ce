"""Rows become tokens: sources stream through linter and renderer into one Arrow file.

Enters: sources, a linter and a renderer. Leaves: a memory-mapped `datasets` table, and `rejected.jsonl` with one line
for every row that was left out. It draws no rows and gives the table no final place; `prepare` does.
"""

import dataclasses
import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lemma_train.errors import InputError
from lemma_train.records import Trajectory
from lemma_train.template import Encoded, Renderer
from lemma_train.training.lint import Linter, Rejection
from lemma_train.training.mixture import question_hash
from lemma_train.training.recipe import Recipe
from lemma_train.training.sources import Located, Source, iterate

if TYPE_CHECKING:
    from datasets import Dataset

BATCH_ROWS = 2000  # rows tokenised together: enough for every core, little enough to stay small in memory


def tokenise(
    recipe: Recipe, renderer: Renderer, linter: Linter, sources: list[Source], scratch: Path, folder: Path
) -> "tuple[Dataset, np.ndarray, np.ndarray]":
    """Stream rows through linter and renderer into an Arrow file.

    Returns:
        the rows as a memory-mapped Dataset; for each the index of its source, shape (n,); and a hash of its question,
        shape (n,), by which held-out questions are drawn.
    """
    import pyarrow as pa
    from datasets import Dataset

    seed = recipe.data_seed
    max_length, weight = recipe["max_length"], recipe["error_span_weight"]
    columns = {"input_ids": pa.list_(pa.int32()), "labels": pa.list_(pa.int32()), "length": pa.int32()}
    columns |= {"id": pa.string(), "source": pa.string()}
    if weight not in (0.0, 1.0):
        columns["loss_weights"] = pa.list_(pa.float32())
    schema = pa.schema(list(columns.items()))
    origins: list[int] = []
    questions: list[int] = []
    with (
        pa.OSFile(str(scratch), "wb") as sink,
        pa.ipc.new_stream(sink, schema) as stream,
        _Rejected(folder) as rejected,
    ):
        for batch in _batches(_linted(sources, linter, rejected)):
            encoded = renderer.encode_batch(
                [row.instruction for _, _, row in batch],
                [row.output for _, _, row in batch],
                [row.error_span for _, _, row in batch],
                weight,
            )
            kept = []
            for (origin, located, row), ids in zip(batch, encoded, strict=True):
                length = len(ids.input_ids)
                if max_length is not None and length > max_length:
                    detail = f"the row has {length} tokens, more than max_length {max_length}"
                    if recipe["overlong"] == "error":
                        raise InputError(f"{located.file}, line {located.line}: {detail}; set overlong: drop to go on.")
                    rejected.add(linter.tally.reject(Rejection(located.file, located.line, "overlong", detail)))
                    continue
                kept.append((row, ids, located))
                origins.append(origin)
                questions.append(question_hash(row.instruction, seed))
            stream.write_batch(_record_batch(kept, schema))
    return Dataset.from_file(str(scratch)), np.asarray(origins, dtype=np.int32), np.asarray(questions, dtype=np.uint64)


def _record_batch(kept: list[tuple[Trajectory, Encoded, Located]], schema: Any) -> Any:
    import pyarrow as pa

    values = {
        "input_ids": [ids.input_ids for _, ids, _ in kept],
        "labels": [ids.labels for _, ids, _ in kept],
        "length": [len(ids.input_ids) for _, ids, _ in kept],
        "id": [row.id or f"{Path(located.file).name}:{located.line}" for row, _, located in kept],
        "source": [row.source for row, _, _ in kept],
        "loss_weights": [ids.loss_weights for _, ids, _ in kept],
    }
    return pa.record_batch([pa.array(values[name], schema.field(name).type) for name in schema.names], schema=schema)


def _linted(sources: list[Source], linter: Linter, rejected: "_Rejected") -> Iterator[tuple[int, Located, Trajectory]]:
    for origin, source in enumerate(sources):
        for located in _with_progress(iterate(source), source.path):
            row = linter.accept(located)
            if isinstance(row, Rejection):
                rejected.add(row)
            else:
                yield origin, located, row


def _batches(rows: Iterator[tuple[int, Located, Trajectory]]) -> Iterator[list[tuple[int, Located, Trajectory]]]:
    while batch := list(itertools.islice(rows, BATCH_ROWS)):
        yield batch


def _with_progress(rows: Iterable[Located], name: str) -> Iterator[Located]:
    from tqdm import tqdm

    bar = tqdm(rows, desc=f"preparing {name}", unit=" rows", disable=not sys.stderr.isatty())
    yield from bar


class _Rejected:
    """Appends rejections to `rejected.jsonl` in the prepared folder."""

    def __init__(self, folder: Path):
        self._path = folder / "rejected.jsonl"

    def __enter__(self) -> "_Rejected":
        self._stream = self._path.open("a", encoding="utf-8", errors="backslashreplace")
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def add(self, rejection: Rejection) -> None:
        self._stream.write(json.dumps(dataclasses.asdict(rejection), ensure_ascii=False) + "\n")
