"""The data set on disk: training rows as `dataset.jsonl` and `dataset.parquet`.

Enters: rows, one at a time. Leaves: the two files, each whole or not at all, and the same bytes for the same rows.
`RowSpool` holds rows on disk while it is not yet known which of them are wanted. It chooses and checks nothing.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import orjson

from lemma_train.errors import InputError, first_line
from lemma_train.whole_file import whole_file, write_faults_named

JSONL, PARQUET = "dataset.jsonl", "dataset.parquet"
FIELDS = (
    *("id", "instruction", "input", "output", "source"),
    *("strategy", "error_origin", "error_type", "error_span", "answer"),
)
_MEND = "Make room and run the stage assembly again."
_ROWS_AT_ONCE = 1000  # rows of one Parquet row group, about 2 MB of text


class RowSpool:
    """Rows in a nameless temporary file of a folder: it is gone with the process, however that ends."""

    def __init__(self, folder: Path):
        self._folder = folder
        with write_faults_named(folder, mend=_MEND):
            folder.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def put(self, row: Mapping[str, Any]) -> tuple[int, int]:
        """Store a row; returns where it lies: offset and size in bytes."""
        line = orjson.dumps(row)
        with write_faults_named(self._folder, mend=_MEND):
            self._file.write(line)
        place = (self._end, len(line))
        self._end += len(line)
        return place

    def get(self, offset: int, size: int) -> dict[str, Any]:
        """The row that lies there."""
        self._file.flush()
        return orjson.loads(os.pread(self._file.fileno(), size, offset))


def write_dataset(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows, which hold every field of `FIELDS`, to `dataset.jsonl` and `dataset.parquet` in their order.

    Raises:
        InputError: the disk is full or cannot be written.
    """
    import pyarrow
    import pyarrow.parquet

    text = pyarrow.string()
    schema = pyarrow.schema(
        [(field, pyarrow.list_(pyarrow.int32()) if field == "error_span" else text) for field in FIELDS]
    )
    waiting: list[dict[str, Any]] = []
    with (
        whole_file(folder / PARQUET, mend=_MEND) as binary,
        whole_file(folder / JSONL, mend=_MEND) as lines,
        pyarrow.parquet.ParquetWriter(binary, schema, compression="zstd") as parquet,
    ):
        for row in rows:
            ordered = {field: row[field] for field in FIELDS}
            lines.write(orjson.dumps(ordered) + b"\n")
            waiting.append(ordered)
            if len(waiting) == _ROWS_AT_ONCE:
                parquet.write_table(pyarrow.Table.from_pylist(waiting, schema))
                waiting.clear()
        if waiting:
            parquet.write_table(pyarrow.Table.from_pylist(waiting, schema))


def read_dataset(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of a folder's `dataset.jsonl`, in order.

    Raises:
        InputError: there is no such file, or a line of it is damaged.
    """
    path = folder / JSONL
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    yield orjson.loads(line)
                except ValueError as error:
                    raise InputError(f"{path}, line {number} is damaged; run the stage assembly again.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}. Run the stage assembly first.") from error
