"""Files that are whole or not there: written under another name, brought to disk, then renamed.

Enters: a path, and what the caller writes. Leaves: the file under its name when all went well; else what stood there
before, and no remains. It makes no folders, and two runs that write one file at once are for a lock to keep apart.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from lemma_train.errors import InputError, first_line


@contextmanager
def whole_file(path: Path, key: str | None = "output_dir", mend: str = "") -> Iterator[IO[bytes]]:
    """A file to write into, which appears under its name at the end.

    Args:
        key, mend: see `write_faults_named`.

    Raises:
        InputError: the disk is full or the place cannot be written to.

    Example:
        >>> with whole_file(Path("results.json")) as out:          # doctest: +SKIP
        ...     out.write(b"{}")
    """
    unfinished = unfinished_name(path)
    try:
        with write_faults_named(path, key, mend):
            with unfinished.open("wb") as out:
                yield out
                out.flush()
                os.fsync(out.fileno())  # or a power cut could leave an empty file under the name
            unfinished.replace(path)
    finally:
        with suppress(OSError):  # what kept it from being written is told already
            unfinished.unlink(missing_ok=True)


def unfinished_name(path: Path) -> Path:
    """Where a file lies while it is being written; after a kill its remains lie there until it is written again."""
    return path.with_name(f".{path.name}.unfinished")


@contextmanager
def write_faults_named(path: Path, key: str | None = "output_dir", mend: str = "") -> Iterator[None]:
    """Turn an operating system's refusal into an `InputError` about this path.

    Args:
        key: the recipe's key that the message opens with; None where the path is the user's own word.
        mend: a sentence on what to do, which ends the message.
    """
    try:
        yield
    except OSError as error:
        told = f"{key}: {path}" if key else str(path)
        reason = error.strerror or first_line(error)
        raise InputError(f"{told} cannot be written: {reason}.{f' {mend}' if mend else ''}") from error
