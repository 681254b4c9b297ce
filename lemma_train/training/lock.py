"""One run at a time in an output folder.

Enters: a folder. Leaves: a lock that the operating system frees when the process ends, however it ends.
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lemma_train.errors import InputError, first_line

LOCK_FILE = ".lemma.lock"
PATIENCE_SECONDS = 15.0  # a run that was just killed may take that long to free its memory and its files


class FolderInUse(InputError):
    """Another run is at work in the folder."""


@contextmanager
def claim(output_dir: Path, wanted: bool = True) -> Iterator[None]:
    """Hold the folder's lock; with `wanted` false (ranks other than 0) do nothing.

    Raises:
        FolderInUse: another process holds it.
        InputError: the folder cannot be written.
    """
    if not wanted:
        yield
        return
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        handle = os.open(output_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise InputError(f"output_dir: {output_dir} cannot be written: {first_line(error)}.") from error
    try:
        _take(handle, output_dir)
        yield
    finally:
        os.close(handle)


def _take(handle: int, output_dir: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                return None  # some network file systems have no locks: there the user watches over the folder
            if time.monotonic() > deadline:
                raise FolderInUse(
                    f"output_dir: another run is at work in {output_dir}; wait for it or end it."
                ) from None
        time.sleep(0.2)
