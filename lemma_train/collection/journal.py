"""The journal: everything that was paid for or took long, on disk before it counts.

Enters: a key and a JSON object. Leaves: the same object for the same key, in this run and in every later one. Lines
are appended and fsync'd in batches; nothing is ever rewritten, but a torn last line, which a kill or a full disk can
leave behind, is cut off when the journal is opened. What the objects mean is not its business.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import orjson

from lemma_train.errors import InputError, first_line

_LENGTH_BITS = 32  # place and length of a line share one int: half the memory of a tuple for each of many entries


class _Entry(NamedTuple):
    key: str
    line: bytes
    done: "asyncio.Future[None]"


class Journal:
    """An append-only JSONL file with an index in memory (about 150 bytes an entry).

    Args:
        file: created where it does not exist. With `writable` false it must not be written to and may be in use.
        seen: called with every entry that is already there, in order; a `KeyError`, `TypeError` or `ValueError` from it
            says that the entry lacks something.

    Raises:
        InputError: the file cannot be opened or a line within it is damaged.

    Example:
        >>> with Journal(Path("journal/replies.jsonl")) as journal:       # doctest: +SKIP
        ...     await journal.put("a1", {"text": "4"})
        ...     journal.get("a1")["text"]
        '4'
    """

    def __init__(
        self, file: Path, writable: bool = True, seen: Callable[[Mapping[str, Any]], None] | None = None
    ) -> None:
        self.file = file
        self._places: dict[str, int] = {}
        self._waiting: list[_Entry] = []  # an entry leaves when it is on disk or cannot be written
        self._flusher: asyncio.Task[None] | None = None
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        try:
            if file.exists() and not file.is_file() and not file.is_dir():
                raise InputError(f"output_dir: {file} is no file, but a pipe or a device; remove it.")
            if writable:
                file.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(file, os.O_RDWR | os.O_CREAT if writable else os.O_RDONLY, 0o644)
        except OSError as error:
            raise InputError(f"output_dir: {file} cannot be opened: {first_line(error)}.") from error
        try:
            self._end = self._read(seen)
            if writable:
                os.ftruncate(self._handle, self._end)
        except BaseException:
            os.close(self._handle)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.shutdown(wait=True)  # an append that has begun ends first
        try:
            if self._waiting:  # replies that came during the last sync before Ctrl-C: they are paid for
                self._append_waiting()
        finally:
            os.close(self._handle)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def get(self, key: str) -> dict[str, Any] | None:
        """The entry of this key, or None."""
        place = self._places.get(key)
        if place is None:
            return None
        return orjson.loads(os.pread(self._handle, place & ((1 << _LENGTH_BITS) - 1), place >> _LENGTH_BITS))

    async def put(self, key: str, entry: Mapping[str, Any]) -> None:
        """Store an entry; returns when it is on disk.

        Raises:
            InputError: the disk is full or cannot be written; nothing of the entry remains.
        """
        line = orjson.dumps({"key": key, **entry}) + b"\n"
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(_Entry(key, line, done))
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush())
        await done

    async def _flush(self) -> None:
        # While one batch is synced the next one gathers: under load a sync serves hundreds of entries.
        try:
            while self._waiting:
                batch, error = await asyncio.wrap_future(self._writer.submit(self._append_waiting))
                fault = error and InputError(
                    f"output_dir: {self.file} cannot be written: {first_line(error)}. What is in it stays valid; make "
                    "room and start the same command again."
                )
                for entry in batch:
                    if entry.done.done():  # who waited may have been cancelled; the entry is kept all the same
                        continue
                    entry.done.set_exception(fault) if fault else entry.done.set_result(None)
        finally:
            self._flusher = None

    def _append_waiting(self) -> tuple[list["_Entry"], OSError | None]:
        """Bring all that waits to disk; returns it, and what went wrong.

        It runs in the writer's one thread, or after it. The index and the end of the file move on here, because who
        waits for the thread may be cancelled in the meantime.
        """
        batch = self._waiting.copy()
        lines, written = b"".join(entry.line for entry in batch), 0
        try:
            while written < len(lines):
                written += os.pwrite(self._handle, lines[written:], self._end + written)
            os.fdatasync(self._handle)
        except OSError as error:
            os.ftruncate(self._handle, self._end)
            return batch, error
        finally:
            del self._waiting[: len(batch)]
        for entry in batch:
            self._places[entry.key] = self._end << _LENGTH_BITS | len(entry.line)
            self._end += len(entry.line)
        return batch, None

    def _read(self, seen: Callable[[Mapping[str, Any]], None] | None) -> int:
        """Index the file; returns where its last whole line ends."""
        place = 0
        with self.file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    entry = orjson.loads(line)
                    key = entry["key"]
                    if not line.endswith(b"\n"):
                        return place
                except (ValueError, KeyError, TypeError) as error:
                    if not lines.read(1):
                        return place  # the last line: it was being written when the run ended
                    raise InputError(
                        f"{self.file}, line {number} is damaged; delete that line to have its request sent again."
                    ) from error
                try:
                    self._places[key] = place << _LENGTH_BITS | len(line)
                    if seen is not None:
                        seen(entry)
                except (ValueError, KeyError, TypeError) as error:
                    raise InputError(
                        f"{self.file}, line {number} is damaged; delete that line to have its request sent again."
                    ) from error
                place += len(line)
        return place
