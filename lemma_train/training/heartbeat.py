"""A rank that hangs is noticed, shows where it stands, and ends, so that the launcher ends the job.

Enters: a beat whenever this rank has got on (a micro-batch, a step, a held-out batch, a save). Leaves: nothing while
beats come; else each rank's Python stacks in `<output_dir>/logs/rank-N.stacks.txt` and on stderr, and exit status 1.
All ranks of a hung job wait in a collective for the one at fault, so all of them notice at about the same time.
"""

import faulthandler
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_utils import SaveStrategy

from lemma_train.training import launcher, starts

LOGS_FOLDER = "logs"
_SLOW_FACTOR, _SLOW_SECONDS = 4, 600.0  # loading and saving may take this many times as long, and always 10 minutes
_GRACE_SECONDS = 30.0  # how much later the interpreter's own timer goes off, where this thread cannot run


class Heartbeat:
    """Watches over this rank from a thread of its own, while its `with` block lasts.

    output_dir: the run's. rank: of this process. minutes: without a beat until the rank is taken for hung; 0 switches
    the watch off. It begins in a slow phase, loading.

    Example:
        >>> with Heartbeat(output_dir, rank=0, minutes=15) as heartbeat:   # doctest: +SKIP
        ...     heartbeat.beat()
    """

    def __init__(self, output_dir: Path, rank: int, minutes: float):
        self.output_dir, self.rank, self.minutes = output_dir, rank, minutes
        self._stacks = output_dir / LOGS_FOLDER / f"rank-{rank}.stacks.txt"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="heartbeat", daemon=True)
        self._due = (time.monotonic(), 0.0)

    def __enter__(self) -> "Heartbeat":
        if not self.minutes:
            return self
        self.beat(slow=True)
        self._stacks.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._stacks.open("a", encoding="utf-8")
        if launcher.has_siblings(os.environ):
            # The launcher sends SIGTERM when another rank has ended: show where this one stands, then go on to the
            # handler that was there before. It works also where the interpreter is stuck.
            faulthandler.register(signal.SIGTERM, self._file, all_threads=True, chain=True)
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        if self._thread.is_alive():
            self._ended.set()
            self._thread.join()
            faulthandler.cancel_dump_traceback_later()
            faulthandler.unregister(signal.SIGTERM)
            if not os.fstat(self._file.fileno()).st_size:
                self._stacks.unlink(missing_ok=True)  # nothing hung
            self._file.close()

    def beat(self, slow: bool = False) -> None:
        """This rank has got on; with `slow`, what comes next is a save or a load and may take longer."""
        seconds = self.minutes * 60
        self._due = (time.monotonic(), max(seconds * _SLOW_FACTOR, _SLOW_SECONDS) if slow else seconds)

    def _watch(self) -> None:
        while True:
            began, allowed = self._due
            left = began + allowed - time.monotonic()
            if left <= 0:
                self._end(allowed)
            # Where something holds the interpreter's lock, this thread does not run again; C code does.
            faulthandler.dump_traceback_later(left + _GRACE_SECONDS, file=self._file, exit=True)
            if self._ended.wait(min(left, self.minutes * 6, 5.0)):  # a tenth of the time, at most 5 seconds
                return

    def _end(self, allowed: float) -> None:
        # stderr first: the disk may be what hangs.
        faulthandler.dump_traceback_later(_GRACE_SECONDS, file=2, exit=True)
        words = (
            f"rank {self.rank}: nothing has got on for {allowed / 60:g} minutes (hang_minutes: {self.minutes:g}); "
            f"this rank ends. Its stacks are in {self._stacks}, those of the others beside it."
        )
        for stream in (sys.__stderr__, self._file):
            if stream is not None:
                print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {words}", file=stream, flush=True)
                faulthandler.dump_traceback(stream, all_threads=True)
        starts.note_failure(self.output_dir, words)
        os._exit(1)


class Beats(TrainerCallback):
    """Beats at each event of the trainer; must be the last callback, because it looks at what the others ask for."""

    def __init__(self, heartbeat: Heartbeat):
        self.heartbeat = heartbeat

    def on_train_begin(self, args, state, control, **kwargs: Any) -> None:
        self.heartbeat.beat()

    def on_substep_end(self, args, state, control, **kwargs: Any) -> None:
        self.heartbeat.beat()

    def on_step_end(self, args, state, control, **kwargs: Any) -> None:
        self.heartbeat.beat(slow=control.should_save)

    def on_prediction_step(self, args, state, control, **kwargs: Any) -> None:
        self.heartbeat.beat()

    def on_evaluate(self, args, state, control, **kwargs: Any) -> None:
        self.heartbeat.beat(slow=control.should_save or args.save_strategy == SaveStrategy.BEST)

    def on_save(self, args, state, control, **kwargs: Any) -> None:
        self.heartbeat.beat()

    def on_epoch_end(self, args, state, control, **kwargs: Any) -> None:
        self.heartbeat.beat(slow=True)  # a save, or the best model's weights are loaded

    def on_train_end(self, args, state, control, **kwargs: Any) -> None:
        self.heartbeat.beat(slow=True)  # the final model is saved

    def on_epoch_begin(self, args, state, control, **kwargs: Any) -> None:
        self.heartbeat.beat()
