"""A table saved as CSV becomes rows: one line of column names, then a row a line.

Enters: a file and the recipe's key, for messages. Leaves: each row with the line on which it begins, or the fault that
it has. It does not know what the columns mean, and renames none.
"""

import csv
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

from lemma_train.errors import InputError

Row = tuple[int, dict[str, str] | None, tuple[str, str] | None]


def csv_rows(file: Path, key: str) -> Iterator[Row]:
    """The line, the row and the fault of each row below the names.

    Cells are parted by the comma, the semicolon (spreadsheets write it where a comma is the decimal sign) or the tab,
    whichever the line of names has most of.

    Raises:
        InputError: the text is no UTF-8, the first line names no columns or one twice, or a quote is never closed.
        OSError: the file cannot be read.

    Example:
        >>> list(csv_rows(Path("sums.csv"), "train_files"))     # question,answer / 2 + 3?,5         # doctest: +SKIP
        [(2, {'question': '2 + 3?', 'answer': '5'}, None)]
    """
    with file.open("rb") as stream:
        lines = _decoded(stream, file, key)
        head = next(lines, "")
        reader = csv.reader(itertools.chain([head], lines), delimiter=max(",;\t", key=head.count), strict=True)
        try:
            names = [name.strip() for name in next(reader, [])]
            if len(set(names)) < len(names) or not any(names):
                raise InputError(
                    f"{key}: {file}: the first line must name the columns, each once; it is {head[:200]!r}."
                )
            began = reader.line_num + 1
            for cells in reader:
                if cells:
                    yield began, *_row(names, cells)
                began = reader.line_num + 1
        except csv.Error as error:
            raise InputError(f"{key}: {file}, line {reader.line_num}: {error}; mend the quotes of this row.") from error


def _row(names: list[str], cells: list[str]) -> tuple[dict[str, str] | None, tuple[str, str] | None]:
    if len(cells) != len(names):
        told = f"{len(cells)} cells where {len(names)} columns are named; a cell that holds a comma needs quotes"
        return None, ("invalid_csv", told)
    return dict(zip(names, cells, strict=True)), None


def _decoded(stream: Iterable[bytes], file: Path, key: str) -> Iterator[str]:
    for line, data in enumerate(stream, start=1):
        try:
            yield data.decode("utf-8-sig" if line == 1 else "utf-8")
        except UnicodeDecodeError:
            raise InputError(f"{key}: {file}, line {line} is not UTF-8; save the table as 'CSV UTF-8'.") from None
