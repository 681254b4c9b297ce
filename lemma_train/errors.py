"""The one exception that means "the user's input is at fault", and the doors that turn it into exit status 2."""

import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from lemma_train.visible_text import visible

# How long a rank other than the first holds back its message: long enough for rank 0, which fails over the same
# recipe at nearly the same moment, to print first and for the launcher to end the others.
_OTHER_RANKS_WAIT_SECONDS = 5.0


class InputError(ValueError):
    """A fault in what the user gave: a key, a file, a row, a folder.

    The message is one or two plain sentences that name the thing at fault and how to mend it; the doors print it
    without a traceback and exit with status 2.
    """


class Stopped(Exception):
    """Work that ended early through nobody's fault: a server that is down, a budget that is spent.

    The message says why; what was done is kept, and the same command goes on. The doors exit with status 1.
    """


def first_line(error: BaseException) -> str:
    """The first non-empty line of an exception's text, or its class name; for quoting a library's reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


@contextmanager
def standard_output() -> Iterator[TextIO]:
    """Standard output for what is printed within, in UTF-8 and flushed at the end.

    Raises:
        InputError: it cannot be written, such as a file on a full disk.
        SystemExit: its reader, such as `head`, has gone.
    """
    if sys.stdout is None:
        raise InputError("The standard output is closed.")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    try:
        yield sys.stdout
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tries again on its way out
        if isinstance(error, BrokenPipeError):
            sys.exit(1)
        raise InputError(f"The standard output cannot be written: {error.strerror}.") from error


@contextmanager
def user_errors_exit_with_2(command: str) -> Iterator[None]:
    """Print an `InputError` as `command: message` and exit with status 2; let every other exception through.

    With several ranks the message appears once: ranks other than 0 wait before they print, and the launcher ends
    them in the meantime when rank 0 fails too. Set `LEMMA_TRACEBACK=1` to see the traceback as well.
    """
    try:
        yield
    except InputError as error:
        if os.environ.get("LEMMA_TRACEBACK") == "1":
            raise
        rank = int(os.environ.get("RANK", "0"))
        if rank:
            time.sleep(_OTHER_RANKS_WAIT_SECONDS)
        prefix = f"{command} (rank {rank})" if rank else command
        print(f"{prefix}: {visible(str(error))}", file=sys.stderr, flush=True)  # it may quote a row or a server
        if sys.stdout is not None:
            sys.stdout.flush()
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            os._exit(2)  # other ranks may sit in a collective that never ends; do not wait for them on the way out
        raise SystemExit(2) from None
