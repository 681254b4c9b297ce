"""What a step depends on, as one short text: the values of its recipe, and the contents of the files that they name.

Enters: plain values. Leaves: a SHA-256. Two equal ones mean that the step would do the same again.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_READ = 1 << 28  # bytes; of a larger file its size and time are taken, since a model's shards are read for minutes


def fingerprint(values: Any) -> str:
    """SHA-256 of values and of every file or folder that a text among them names.

    Example:
        >>> fingerprint({"a": 1}) == fingerprint({"a": 1}) != fingerprint({"a": 2})
        True
    """
    digest = hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode())
    for text in sorted(set(_texts(values))):
        path = Path(text).expanduser()
        try:
            files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
            for file in files if path.exists() and text.strip("./ ") else []:
                digest.update(f"{file}\0{_of_file(file)}\0".encode())
        except (OSError, ValueError):  # a prompt or a name that can be no path
            continue
    return digest.hexdigest()


def _of_file(file: Path) -> str:
    told = file.stat()
    if told.st_size > _READ:
        return f"{told.st_size} {told.st_mtime_ns}"
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _texts(values: Any) -> Iterator[str]:
    """Every text but that of `output_dir`: what a step leaves is nothing that it depends on."""
    if isinstance(values, str):
        yield values
    elif isinstance(values, dict):
        for key, inner in values.items():
            yield from _texts(inner) if key != "output_dir" else ()
    elif isinstance(values, list):
        for inner in values:
            yield from _texts(inner)
