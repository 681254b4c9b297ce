"""Rows become tokens: sources stream through linter and renderer into one Arrow file.

Enters: sources, a linter and a renderer. Leaves: a memory-mapped `datasets` table, and `rejected.jsonl` with one line
for every row that was left out. It draws no rows and gives the table no final place; `prepare` does.
"""

import dataclasses
import itertools
import json
import sys
from array import array
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lemma_train.errors import InputError
from lemma_train.records import Trajectory
from lemma_train.template import IGNORED, Renderer
from lemma_train.token_rows import EncodedRows, Tokenized
from lemma_train.training.lint import Linter, Rejection
from lemma_train.training.mixture import question_hash
from lemma_train.training.recipe import Recipe
from lemma_train.training.sources import Located, Source, iterate

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

BATCH_ROWS = 2000  # rows tokenised together: enough for every core, little enough to stay small in memory
Entry = tuple[int, Located, Trajectory]  # the index of the row's source, where it stands, the row
Batch = list[Entry]


@dataclass(frozen=True)
class Tokenised:
    """Rows on disk, and what is known of each of the n rows.

    rows: memory-mapped. origins: the index of the row's source. questions: a hash of its question, by which held-out
    questions are drawn. supervised: how many of its tokens have a label. Arrays of shape (n,).
    """

    rows: "Dataset"
    origins: np.ndarray
    questions: np.ndarray
    supervised: np.ndarray

    def __len__(self) -> int:
        return len(self.origins)


def tokenise(
    recipe: Recipe, renderer: Renderer, linter: Linter, sources: list[Source], scratch: Path, folder: Path
) -> Tokenised:
    """Stream rows through linter and renderer into the Arrow file `scratch`.

    While the tokenizer, whose threads need no interpreter, works on one batch, the next is read and the last written.

    Raises:
        InputError: a file cannot be read, templates are mixed, or a row is over-long with `overlong: error`.
    """
    import pyarrow as pa
    from datasets import Dataset

    schema = _schema(weighted=recipe["error_span_weight"] not in (0.0, 1.0))
    with (
        pa.OSFile(str(scratch), "wb") as sink,
        pa.ipc.new_stream(sink, schema) as stream,
        _Rejected(folder) as rejected,
        ThreadPoolExecutor(1) as worker,
    ):
        written = _Written(recipe, renderer, linter, rejected, stream, schema)
        ahead: tuple[Batch, Future[Tokenized]] | None = None
        for batch in _batches(_linted(sources, linter, rejected)):
            texts = [row.instruction for _, _, row in batch], [row.output for _, _, row in batch]
            found = worker.submit(renderer.tokenize, *texts, offsets=recipe["error_span_weight"] != 1.0)
            if ahead is not None:
                written.add(ahead[0], ahead[1].result())
            ahead = batch, found
        if ahead is not None:
            written.add(ahead[0], ahead[1].result())
    return Tokenised(
        Dataset.from_file(str(scratch)),
        np.array(written.origins, dtype=np.int32),
        np.array(written.questions, dtype=np.uint64),
        np.array(written.supervised, dtype=np.int32),
    )


def _schema(weighted: bool) -> "pa.Schema":
    import pyarrow as pa

    columns = {"input_ids": pa.list_(pa.int32()), "labels": pa.list_(pa.int32()), "length": pa.int32()}
    columns |= {"id": pa.string(), "source": pa.string()}
    if weighted:
        columns["loss_weights"] = pa.list_(pa.float32())
    return pa.schema(list(columns.items()))


class _Written:
    """Writes encoded batches to the Arrow stream, without their over-long rows, and notes what `Tokenised` tells."""

    def __init__(
        self,
        recipe: Recipe,
        renderer: Renderer,
        linter: Linter,
        rejected: "_Rejected",
        stream: "pa.RecordBatchStreamWriter",
        schema: "pa.Schema",
    ):
        self.recipe, self.renderer, self.linter = recipe, renderer, linter
        self.rejected, self.stream, self.schema = rejected, stream, schema
        # Lists of Python's numbers would take five times the memory.
        self.origins, self.questions, self.supervised = array("i"), array("Q"), array("i")

    def add(self, batch: Batch, tokenized: Tokenized) -> None:
        import pyarrow as pa

        spans = [row.error_span for _, _, row in batch]
        encoded = self.renderer.join(tokenized, spans, self.recipe["error_span_weight"])
        fits = self._fits(batch, encoded)
        batch, encoded = [entry for entry, fit in zip(batch, fits, strict=True) if fit], encoded.only(fits)
        if not batch:
            return
        self.origins.extend(origin for origin, _, _ in batch)
        self.questions.extend(question_hash(row.instruction, self.recipe.data_seed) for _, _, row in batch)
        supervised = np.add.reduceat(encoded.labels != IGNORED, encoded.starts[:-1], dtype=np.int32)
        self.supervised.extend(supervised.tolist())
        values = {
            "input_ids": pa.ListArray.from_arrays(encoded.starts, encoded.input_ids),
            "labels": pa.ListArray.from_arrays(encoded.starts, encoded.labels),
            "length": pa.array(encoded.lengths),
            "id": pa.array([row.id or f"{Path(located.file).name}:{located.line}" for _, located, row in batch]),
            "source": pa.array([row.source for _, _, row in batch], pa.string()),
        }
        if encoded.loss_weights is not None:
            weights = encoded.loss_weights.astype(np.float32)
            values["loss_weights"] = pa.ListArray.from_arrays(encoded.starts, weights)
        columns = [values[name] for name in self.schema.names]
        self.stream.write_batch(pa.record_batch(columns, schema=self.schema))

    def _fits(self, batch: Batch, encoded: EncodedRows) -> np.ndarray:
        """Which rows are within max_length; the others are rejected, or end the run."""
        limit = self.recipe["max_length"]
        fits = np.ones(len(encoded), dtype=bool) if limit is None else encoded.lengths <= limit
        for i in np.flatnonzero(~fits):
            located = batch[i][1]
            detail = f"the row has {encoded.lengths[i]} tokens, more than max_length {limit}"
            if self.recipe["overlong"] == "error":
                raise InputError(f"{located.file}, line {located.line}: {detail}; set overlong: drop to go on.")
            rejection = Rejection(located.file, located.line, "overlong", detail)
            self.rejected.add(self.linter.tally.reject(rejection))
        return fits


def _linted(sources: list[Source], linter: Linter, rejected: "_Rejected") -> Iterator[Entry]:
    for origin, source in enumerate(sources):
        for located in _with_progress(iterate(source), source.path):
            row = linter.accept(located)
            if isinstance(row, Rejection):
                rejected.add(row)
            else:
                yield origin, located, row


def _batches(rows: Iterator[Entry]) -> Iterator[Batch]:
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
