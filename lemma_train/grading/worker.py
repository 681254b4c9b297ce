"""A process that does algebra under hard limits: what runs in it, and the handle that its owner holds.

Enters: pairs of answers. Leaves: one verdict a pair. It keeps no queue and decides nothing about retries (`grader`).

The process has no secrets in its environment, cannot write files, has a limit on its memory, and dies with its owner.
It is started as a program of its own rather than forked or spawned: no lock, thread or `__main__` of the owner comes
with it. Requests and verdicts are JSON and single bytes: nothing is unpickled.
"""

import ctypes
import gc
import json
import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Self

from lemma_train.errors import first_line
from lemma_train.grading.equivalence import same_answer

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_START_SECONDS = 60.0  # sympy is loaded from a cold disk in this time
_READY, _TRUE, _FALSE, _UNREADABLE, _MEMORY, _ERROR = b"r", b"1", b"0", b"?", b"m", b"e"
_OUTCOMES = {
    _READY: "ready",
    _TRUE: "true",
    _FALSE: "false",
    _UNREADABLE: "unreadable_reference",
    _MEMORY: "memory",
    _ERROR: "error",
}
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME")
_PROGRAM = "import sys; sys.path.append(sys.argv[1]); from lemma_train.grading.worker import main; main()"


class WorkerProcess:
    """The place of one worker, started at the first `send` and again after `kill`; not thread-safe.

    The kernel kills a worker when the *thread* that started it ends, so a thread that uses one must stay.
    """

    def __init__(self, memory_gib: float):
        self._memory_gib = memory_gib
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self.answered = 0
        """Verdicts of the present process."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def send(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Send pairs of answer and reference; their outcomes come in the same order.

        Raises:
            RuntimeError: no process could be started.
        """
        if self._process is None:
            self._start()
        assert self._connection is not None
        with suppress(OSError):  # it is dead, as `outcome` will say
            self._connection.send_bytes(json.dumps(pairs).encode())

    def outcome(self, seconds: float) -> str:
        """The next one: "true", "false", "unreadable_reference", "memory", "error", "timeout" or "crash"."""
        assert self._connection is not None
        try:
            if not self._connection.poll(seconds):
                return "timeout"
            reply = self._connection.recv_bytes(1)
        except (EOFError, OSError):
            return "crash"
        self.answered += reply != _READY
        return _OUTCOMES[reply]

    def kill(self) -> None:
        """End it at once, where there is one. No zombie and no open pipe remain."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None

    def _start(self) -> None:
        self.answered = 0
        try:
            self._launch()
        except OSError as error:  # no process or file is left to be had, or this Python has been moved away
            self.kill()
            raise RuntimeError(f"A process for grading could not be started: {first_line(error)}") from error
        if self.outcome(_START_SECONDS) != "ready":
            self.kill()
            raise RuntimeError(
                "A process for grading did not start; is math-verify installed, and memory_gib at least 0.5? "
                "Try: python -c 'import math_verify, latex2sympy2_extended'"
            )

    def _launch(self) -> None:
        self._connection, theirs = Pipe()
        root = str(Path(__file__).resolve().parents[2])
        arguments = [root, str(theirs.fileno()), str(os.getpid()), str(self._memory_gib)]
        # Hash seed: sympy orders some of its work by hashes; the same pair gets the same verdict every time.
        environment = {key: os.environ[key] for key in _PASSED_ON if key in os.environ} | {"PYTHONHASHSEED": "0"}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-B", "-c", _PROGRAM, *arguments],  # -P: no modules from where the user stands
                pass_fds=[theirs.fileno()],
                process_group=0,  # Ctrl-C goes to the owner alone
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )


def main() -> None:
    """The worker's own program: arguments are the import root, a file descriptor, the owner's id and the GiB."""
    _, _, descriptor, owner, memory_gib = sys.argv
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(owner):
        return  # it died before the kernel was told
    logging.disable()  # math-verify warns that it has no time limit of its own; the owner has
    same_answer("x+1", "1+x")  # loads sympy and the grammar before the limits hold
    gc.freeze()  # what is loaded stays; the collector need not look through it again and again
    memory = int(float(memory_gib) * 2**30)
    for limit, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(limit, (most, most))
    with Connection(int(descriptor)) as connection:
        connection.send_bytes(_READY)
        while True:
            try:
                pairs = json.loads(connection.recv_bytes())
            except (EOFError, OSError):
                return
            for answer, reference in pairs:
                verdict = _verdict(answer, reference)
                connection.send_bytes(verdict)
                if verdict == _MEMORY:
                    return  # what filled the memory may still be held by a cache


def _verdict(answer: str, reference: str) -> bytes:
    try:
        same = same_answer(answer, reference)
    except MemoryError:
        return _MEMORY
    except Exception:  # noqa: BLE001  sympy raises of every kind; the outcome is counted under its own name
        return _ERROR
    return _UNREADABLE if same is None else _TRUE if same else _FALSE
