"""A command in a process of its own: its output goes to a log, signals are passed on to it, it never outlives this one.

Enters: a command and a log. Leaves: the exit status. `lemma ablate` and `lemma run` do their work through it, so that
each piece frees its memory when it ends and nothing but files joins them.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from lemma_train.errors import first_line
from lemma_train.training import launcher
from lemma_train.visible_text import visible

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Children:
    """Starts commands one after the other. told: the last signal that asked for an end, or None.

    Example:
        >>> children = Children()                                                        # doctest: +SKIP
        >>> with children.listening():                                                   # doctest: +SKIP
        ...     status = children.run(["lemma", "evaluate", "recipe.yaml"], Path("evaluate.log"))
    """

    def __init__(self) -> None:
        self.told: signal.Signals | None = None
        self._child: subprocess.Popen | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within it a signal reaches the child as SIGTERM, so that it saves first; a second Ctrl-C kills it."""
        before = {number: signal.signal(number, self._handle) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def run(self, command: Sequence[str], log: Path) -> int:
        """Run a command to its end and return its status, negative for a signal; its output is added to the log."""
        own = os.getpid()

        def follow() -> None:
            os.setsid()  # a terminal's Ctrl-C reaches it through this process alone, as a signal to save first
            launcher.end_with(own)

        with log.open("ab") as stream:
            stream.write(f"--- {time.strftime('%F %T')} {' '.join(command)}\n".encode())
            stream.flush()
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env=child_environment(),
                preexec_fn=follow,
            )
        try:
            if self.told is not None:  # it came while the command was being started
                self._child.terminate()
            return self._child.wait()
        finally:
            self._child = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # SLURM may send SIGTERM twice, to the batch script and to all processes: only a person's haste counts.
        hasty = self.told is not None and number == signal.SIGINT
        self.told = signal.Signals(number)
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(signal.SIGKILL if hasty else signal.SIGTERM)


def child_environment() -> dict[str, str]:
    """This process's environment for a child that is no rank of its launcher and finds this package.

    The package need not be installed: it may lie beside a script that was started by its path.
    """
    here = str(Path(__file__).resolve().parents[1])
    search = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    return launcher.without_launcher({**os.environ, "PYTHONPATH": search})


def how_it_ended(status: int, log: Path) -> str:
    """The signal that killed a command, else the last line of its log that says anything.

    At most 400 characters, with nothing in them that steers a terminal.
    """
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return f"its log cannot be read: {first_line(error)}"
    return next((visible(line.strip())[:400] for line in reversed(lines) if line.strip()), "it said nothing")
