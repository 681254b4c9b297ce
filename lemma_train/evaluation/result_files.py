"""`samples.jsonl` and `results.json` of an evaluation: two files that always belong together.

Enters: records as they are made, and the results in the end. Leaves: both files under their names, or, where anything
failed, what was there before or nothing. `samples_file` in the results tells the samples that they were made of.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import orjson

from lemma_train.whole_file import unfinished_name, write_faults_named

RESULTS, SAMPLES = "results.json", "samples.jsonl"


class ResultFiles:
    """See `whole_files`."""

    def __init__(self, folder: Path, samples: IO[bytes]) -> None:
        self._folder, self._samples = folder, samples
        self._digest, self._lines = hashlib.sha256(), 0

    def write(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Append records to the samples."""
        with write_faults_named(self._folder):
            for record in records:
                line = orjson.dumps(record) + b"\n"
                self._samples.write(line)
                self._digest.update(line)
                self._lines += 1

    def finish(self, results: Mapping[str, Any]) -> Path:
        """Give both files their names; returns the path of the results."""
        told = {**results, "samples_file": {"lines": self._lines, "sha256": self._digest.hexdigest()}}
        path = self._folder / RESULTS
        with write_faults_named(self._folder):
            _to_disk(self._samples)
            with unfinished_name(path).open("wb") as out:
                out.write(json.dumps(told, indent=2, ensure_ascii=False).encode() + b"\n")
                _to_disk(out)
            # Whoever reads in between finds no results, and not those of other samples.
            path.unlink(missing_ok=True)
            unfinished_name(self._folder / SAMPLES).replace(self._folder / SAMPLES)
            unfinished_name(path).replace(path)
        return path


@contextmanager
def whole_files(folder: Path) -> Iterator[ResultFiles]:
    """The files of an evaluation's folder, which get their names with `finish`.

    Raises:
        InputError: they cannot be written.
    """
    with write_faults_named(folder):
        samples = unfinished_name(folder / SAMPLES).open("wb")
    try:
        yield ResultFiles(folder, samples)
    finally:
        with suppress(OSError):
            samples.close()
        for name in (SAMPLES, RESULTS):
            unfinished_name(folder / name).unlink(missing_ok=True)


def _to_disk(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
