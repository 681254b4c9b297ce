"""Where rows come from: files, folders of files and Hub data sets become a stream of located rows.

Enters: the entries of `train_files`, or of another key that names files. Leaves: `Located` rows in file order, one at
a time, so that memory does not grow with the data; what could not be decoded leaves as a fault with its file and line.
It does not judge what a row says.
"""

import contextlib
import hashlib
import itertools
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from lemma_train.errors import InputError, first_line
from lemma_train.training.csv_rows import csv_rows

_LONG_NUMBER = re.compile(rb"\d{19}")
_SUFFIXES = (".jsonl", ".json", ".parquet", ".csv")
_KEYS = {"path", "split", "name", "revision", "weight", "limit", "columns"}


@dataclass(frozen=True)
class Source:
    """One entry of `train_files`, or of another key.

    limit: read the first so many rows only. weight: share (below 1) or repetitions (above 1) of its kept rows.
    columns: field of a known format -> the name that these rows have for it, as in {question: Task}.
    key: the recipe's key that it stands under, for messages.
    """

    path: str
    split: str = "train"
    name: str | None = None
    revision: str | None = None
    weight: float = 1.0
    limit: int | None = None
    columns: Mapping[str, str] | None = None
    key: str = "train_files"

    @property
    def is_local(self) -> bool:
        return Path(self.path).exists()


@dataclass(frozen=True)
class Located:
    """A decoded row and where it stands; `fault` is set, and `row` None, where it could not be decoded.

    line: the line of a JSONL or CSV file, where the row begins; elsewhere the row's number, from 1.
    """

    file: str
    line: int
    row: Any = None
    fault: tuple[str, str] | None = None


def read_sources(entries: Any, key: str = "train_files") -> list[Source]:
    """Parse the value of `train_files` or `eval_files`.

    Raises:
        InputError: an entry has an unknown key or a value that makes no sense, or names a file that does not exist.
    """
    sources = []
    for entry in entries if isinstance(entries, list) else [entries] if entries else []:
        values = {"path": entry} if isinstance(entry, str) else entry
        unknown = set(values) - _KEYS
        if unknown or not isinstance(values.get("path"), str):
            raise InputError(f"{key}: an entry is a path or a mapping with {', '.join(sorted(_KEYS))}; got {entry!r}.")
        source = Source(**{**values, "path": os.path.expanduser(values["path"]), "key": key})  # noqa: PTH111 - or a Hub name
        for name in ("split", "name", "revision"):
            if not isinstance(values.get(name, ""), str):
                raise InputError(f"{key}: {source.path}: {name} must be text, it is {values[name]!r}.")
        if type(source.weight) not in (int, float) or not 0 < source.weight < math.inf:
            raise InputError(f"{key}: {source.path}: weight must be a number above 0, it is {source.weight!r}.")
        if source.limit is not None and (type(source.limit) is not int or source.limit < 1):
            raise InputError(f"{key}: {source.path}: limit must be a whole number of rows, it is {source.limit!r}.")
        check_columns(source.columns, f"{key}: {source.path}")
        if not source.is_local and _looks_like_path(source.path):
            raise InputError(f"{key}: {source.path} does not exist (paths are taken from the current folder).")
        sources.append(source)
    return sources


def check_columns(columns: Any, where: str) -> None:
    """Refuse `columns` that are neither None nor rename fields, one text to another.

    Raises:
        InputError: begins with `where`.
    """
    if columns is None:
        return
    if not isinstance(columns, Mapping) or not all(isinstance(name, str) for name in (*columns, *columns.values())):
        raise InputError(
            f"{where}: columns must map fields to column names, as in {{question: Task}}; it is {columns!r}."
        )


def fingerprint_of(source: Source) -> str:
    """What identifies the rows: a SHA-256 over the files' bytes, or over the Hub data set's own fingerprint.

    Raises:
        InputError: a file cannot be read, or the Hub cannot be reached.
    """
    digest = hashlib.sha256(json.dumps([source.split, source.name, source.weight, source.limit]).encode())
    if source.columns:
        digest.update(json.dumps(source.columns, sort_keys=True).encode())
    if not source.is_local:
        digest.update(str(_load_hub(source)._fingerprint).encode())
        return digest.hexdigest()
    for file in _files(source):
        digest.update(file.name.encode(errors="surrogateescape"))  # rows without an id are named after their file
        try:
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise InputError(f"{source.key}: {file} cannot be read: {first_line(error)}.") from error
    return digest.hexdigest()


def iterate(source: Source) -> Iterator[Located]:
    """The rows of a source in order, up to its limit.

    Raises:
        InputError: a file cannot be opened or has an unknown form; single bad rows are yielded with their fault.
    """
    rows = itertools.islice(_local_rows(source) if source.is_local else _hub_rows(source), source.limit)
    for located in _renamed_rows(rows, source, source.columns) if source.columns else rows:
        yield _without_empty_cells(located) if located.file.endswith(".csv") else located


def _without_empty_cells(located: Located) -> Located:
    """In a table an optional field has a cell all the same."""
    row = located.row and {name: cell for name, cell in located.row.items() if cell.strip()}
    return Located(located.file, located.line, row, located.fault)


def _renamed_rows(rows: Iterable[Located], source: Source, columns: Mapping[str, str]) -> Iterator[Located]:
    """The first row must have every named column; a later one may lack some, as optional fields do."""
    first = True
    for located in rows:
        row = located.row
        if not isinstance(row, Mapping):
            yield located
            continue
        missing = [name for name in columns.values() if name not in row]
        if missing and first:
            raise InputError(
                f"{source.key}: {located.file}, line {located.line}: columns names {missing[0]!r}, which is not "
                f"there; it has {', '.join(map(str, row))[:200] or 'none'}."
            )
        first = False
        yield Located(located.file, located.line, _renamed(row, columns))


def _renamed(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """The row under the field names that the readers know; its other fields stay as they are."""
    kept = {name: value for name, value in row.items() if name not in columns.values()}
    return kept | {field: row[name] for field, name in columns.items() if name in row}


def count_rows(source: Source) -> int:
    """How many rows a local source holds up to its limit, without decoding the lines of JSONL files.

    Raises:
        InputError: a file cannot be read.
    """
    count = 0
    for file in _files(source):
        if file.suffix == ".jsonl":
            try:
                with file.open("rb") as stream:
                    count += sum(1 for line in stream if line.strip())
            except OSError as error:
                raise InputError(f"{source.key}: {file} cannot be read: {first_line(error)}.") from error
        else:
            count += sum(1 for _ in _file_rows(file, source.key))
    return count if source.limit is None else min(count, source.limit)


def _looks_like_path(path: str) -> bool:
    return path.endswith(_SUFFIXES) or path.startswith((".", "/", "~")) or path.count("/") > 1


def _files(source: Source) -> list[Path]:
    path = Path(source.path)
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix in _SUFFIXES and p.is_file())
    if not files:
        raise InputError(f"{source.key}: the folder {path} holds no {', '.join(_SUFFIXES)} file.")
    if files[0].suffix not in _SUFFIXES:
        raise InputError(f"{source.key}: {path} must end in {', '.join(_SUFFIXES)}.")
    return files


def _local_rows(source: Source) -> Iterator[Located]:
    for file in _files(source):
        yield from _file_rows(file, source.key)


def _file_rows(file: Path, key: str) -> Iterator[Located]:
    try:
        if file.suffix == ".parquet":
            yield from _parquet_rows(file, key)
        elif file.suffix == ".json":
            yield from _json_rows(file, key)
        elif file.suffix == ".csv":
            for line, row, fault in csv_rows(file, key):
                yield Located(str(file), line, row, fault)
        else:
            yield from _jsonl_rows(file)
    except OSError as error:
        raise InputError(f"{key}: {file} cannot be read: {first_line(error)}.") from error


def _jsonl_rows(file: Path) -> Iterator[Located]:
    with file.open("rb") as stream:
        for line, data in enumerate(stream, start=1):
            data = data.removeprefix(b"\xef\xbb\xbf") if line == 1 else data
            if data.strip():
                yield _decoded(file, line, data)


def _decoded(file: Path, line: int, data: bytes) -> Located:
    try:
        return Located(str(file), line, row=_json(data))
    except UnicodeDecodeError as error:
        return Located(str(file), line, fault=("invalid_utf8", f"byte {error.start} of the line is not UTF-8"))
    except (ValueError, RecursionError) as error:
        return Located(str(file), line, fault=("invalid_json", first_line(error)))


def _json(data: bytes) -> Any:
    """What the standard library reads, mostly in a third of its time.

    orjson refuses NaN and halves of characters, and makes floats of whole numbers beyond 64 bits.
    """
    if not _LONG_NUMBER.search(data):
        with contextlib.suppress(orjson.JSONDecodeError):
            return orjson.loads(data)
    return json.loads(data.decode("utf-8"))


def _json_rows(file: Path, key: str) -> Iterator[Located]:
    located = _decoded(file, 1, file.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    rows = located.row
    if isinstance(rows, dict):  # {"data": [...]}: one list under whatever name
        lists = [value for value in rows.values() if isinstance(value, list)]
        rows = lists[0] if len(lists) == 1 else None
    if not isinstance(rows, list):
        reason = located.fault[1] if located.fault else "it holds no list of rows"
        raise InputError(f"{key}: {file} must be a JSON list of rows: {reason}. One row a line goes in .jsonl.")
    for number, row in enumerate(rows, start=1):
        yield Located(str(file), number, row=row)


def _parquet_rows(file: Path, key: str) -> Iterator[Located]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(file)
        number = 0
        for batch in table.iter_batches(batch_size=1000):
            for row in batch.to_pylist():
                number += 1
                yield Located(str(file), number, row=row)
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise InputError(f"{key}: {file} is not a readable Parquet file: {first_line(error)}.") from error


def _hub_rows(source: Source) -> Iterator[Located]:
    for number, row in enumerate(_load_hub(source), start=1):
        yield Located(source.path, number, row=row)


def _load_hub(source: Source):
    import datasets

    try:
        return datasets.load_dataset(source.path, source.name, split=source.split, revision=source.revision)
    except (OSError, ValueError, RuntimeError) as error:  # huggingface_hub's and datasets' errors derive from these
        raise InputError(
            f"{source.key}: {source.path!r} is no file here and cannot be loaded from the Hugging Face Hub: "
            f"{first_line(error)}. Offline, download it first and give its path."
        ) from error
