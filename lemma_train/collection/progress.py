"""What a person sees while a stage runs: a live line on a terminal, plain lines now and then in a log.

Enters: the lines of a stage as they are finished. Leaves: text on stderr. Nothing depends on it.
"""

import sys
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Any, Self

from lemma_train.collection.meter import Meter
from lemma_train.collection.stage_files import Line

LOG_SECONDS = 30.0


class StageProgress:
    """Shows one stage: items done, set aside, replies a second, cost, time left.

    Args:
        total: how many items the stage has.
        meter, currency: what was spent so far, over every start, and in what.
    """

    def __init__(self, stage: str, total: int, meter: Meter, currency: str) -> None:
        self.stage = stage
        self.total = total
        self.done = 0
        self.kept = 0
        self.reasons: Counter[str] = Counter()
        self._sent = 0
        self._meter = meter
        self._currency = currency
        self._began = self._spoke = time.monotonic()
        self._bar: Any = None
        self._task: Any = None
        self._speaker: threading.Thread | None = None
        self._over = threading.Event()
        self._lock = threading.Lock()  # a log has a second thread that reads the counts

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description:<11}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[told]}"),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._task = self._bar.add_task(self.stage, total=self.total, told="")
        else:
            self._speaker = threading.Thread(target=self._speak, name="stage-progress", daemon=True)
            self._speaker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._speaker is not None:
            self._speaker.join()
        if self._bar is not None:
            self._show()
            self._bar.stop()
        elif self.total:
            print(f"{self.stage}: {self._counted()}{self._told()}", file=sys.stderr, flush=True)

    def finished(self, line: Line) -> None:
        """Count one item."""
        with self._lock:
            self.done += 1
            self.kept += line.kept
            if not line.kept:
                self.reasons[line.reason or "?"] += 1
        self._show()

    def sent(self) -> None:
        """Count one reply that came from a model just now."""
        self._sent += 1
        self._show()

    def say(self, message: str) -> None:
        """A message from the engine, such as a pause; above the bar where there is one."""
        if self._bar is not None:
            self._bar.console.print(message, markup=False, highlight=False)
        else:
            with self._lock:
                print(f"{self.stage}: {message}", file=sys.stderr, flush=True)

    def _speak(self) -> None:
        """A batch of a local model takes minutes in which no item is finished; a log must not be silent so long."""
        while not self._over.wait(min(1.0, LOG_SECONDS)):
            self._show()

    def _show(self) -> None:
        with self._lock:
            self._show_counts()

    def _show_counts(self) -> None:
        now = time.monotonic()
        if self._bar is not None:
            if now - self._spoke > 0.1 or self.done == self.total:
                self._spoke = now
                self._bar.update(self._task, completed=self.done, told=self._told())
        elif now - self._spoke > LOG_SECONDS:
            self._spoke = now
            print(f"{self.stage}: {self._counted()}{self._told()}{self._left(now)}", file=sys.stderr, flush=True)

    def _counted(self) -> str:
        return f"{self.done:,} of {self.total:,}"

    def _told(self) -> str:
        parts = [f"{self.kept:,} kept"]
        if self.reasons:
            most = ", ".join(f"{reason} {count:,}" for reason, count in self.reasons.most_common(3))
            parts.append(f"{self.reasons.total():,} set aside ({most}{', ...' if len(self.reasons) > 3 else ''})")
        if self._sent:
            parts.append(f"{self._sent / max(time.monotonic() - self._began, 0.1):.1f} replies/s")
        if self._meter.spent:
            parts.append(f"{self._meter.spent:,.2f} {self._currency} so far")
        return (" " if self._bar is not None else "; ") + ", ".join(parts)

    def _left(self, now: float) -> str:
        if not self.done:
            return f", {now - self._began:.0f} s gone"
        return f", about {(now - self._began) / self.done * (self.total - self.done) / 60:.0f} min left"
