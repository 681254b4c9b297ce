"""One run of an ablation: its recipe is written, `sft.py` trains and evaluates it in a process of its own.

Enters: a `Run`. Leaves: its folder, with what `sft.py` writes, `recipe.yaml`, `train.log`, and `ablation_run.json`,
which says how it ended. A run that is done is not started again; one that failed or was cut off goes on from its
newest checkpoint. It compares nothing.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from lemma_train.ablation.cells import Run
from lemma_train.errors import InputError, Stopped
from lemma_train.training import launcher
from lemma_train.training.lock import is_claimed
from lemma_train.whole_file import whole_file, write_faults_named

STATE_FILE, RECIPE_FILE, LOG_FILE = "ablation_run.json", "recipe.yaml", "train.log"
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@dataclass(frozen=True)
class Ending:
    """How a run stands. state: missing, done, failed, or elsewhere (another process is at work on it)."""

    state: str
    message: str = ""
    seconds: float = 0.0


class Stopping:
    """Passes the signals that end an ablation on to the run at work, so that it makes a complete checkpoint first."""

    def __init__(self) -> None:
        self.told: signal.Signals | None = None
        self.child: subprocess.Popen | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within it a signal is passed on as SIGTERM; a second Ctrl-C ends the run at once."""
        before = {number: signal.signal(number, self._handle) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # SLURM may send SIGTERM twice, to the batch script and to all processes: only a person's haste counts.
        hasty = self.told is not None and number == signal.SIGINT
        self.told = signal.Signals(number)
        if self.child is not None and self.child.poll() is None:
            self.child.send_signal(signal.SIGKILL if hasty else signal.SIGTERM)


def ending_of(run: Run) -> Ending:
    """How the run stands on the disk; what was done with another recipe counts as missing."""
    if is_claimed(run.folder):
        return Ending("elsewhere", "another process is at work on it")
    try:
        told = json.loads((run.folder / STATE_FILE).read_text(encoding="utf-8"))
        found = Ending(str(told["state"]), str(told["message"]), float(told["seconds"]))
        same = told["recipe_sha256"] == _print(run)
    except (OSError, ValueError, KeyError, TypeError):
        return Ending("missing")
    return found if same and found.state in ("done", "failed") else Ending("missing")


def carry_out(run: Run, accelerate_config: str | None, stopping: Stopping) -> Ending:
    """Train and evaluate one run, and note how it ended.

    Raises:
        InputError: its folder cannot be written.
        Stopped: a signal asked for it; the same command goes on from the checkpoint that was made.
    """
    began = time.monotonic()
    try:
        with write_faults_named(run.folder, key="output_dir"):
            run.folder.mkdir(parents=True, exist_ok=True)
        with whole_file(run.folder / RECIPE_FILE) as out:
            out.write(run.text.encode())
        log = (run.folder / LOG_FILE).open("ab")
    except (InputError, OSError) as error:
        return Ending("failed", str(error))
    marks = {name: _stamp(run.folder / name) for name in ("failed.json", "stopped.json")}
    with log:
        log.write(f"--- started {time.strftime('%F %T')}\n".encode())
        log.flush()
        status = _wait(_start(run, accelerate_config, log.fileno()), stopping)
    new = {name for name, before in marks.items() if _stamp(run.folder / name) not in (before, 0)}
    if stopping.told is not None and status:
        raise Stopped(f"{run.name} was stopped by {stopping.told.name}; start the same command again to go on with it.")
    seconds = round(time.monotonic() - began, 1)
    if status == 0:
        ending = Ending("done", "", seconds)
    else:
        ending = Ending("failed", f"status {status}: {_reason(run, new)}", seconds)
    _note(run, ending)
    return ending


def _start(run: Run, accelerate_config: str | None, log: int) -> subprocess.Popen:
    import lemma_train

    command = [sys.executable]
    if accelerate_config is not None:
        command += ["-m", "accelerate.commands.launch", "--config_file", accelerate_config]
    command += [str(Path(lemma_train.__file__).with_name("sft.py")), str(run.folder / RECIPE_FILE)]
    own = os.getpid()

    def follow() -> None:
        os.setsid()  # a terminal's Ctrl-C reaches it through this process alone, as a signal to save first
        launcher.end_with(own)

    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=launcher.without_launcher(os.environ),
        preexec_fn=follow,
    )


def _wait(child: subprocess.Popen, stopping: Stopping) -> int:
    stopping.child = child
    if stopping.told is not None:  # it came while the run was being started
        child.terminate()
    try:
        return child.wait()
    finally:
        stopping.child = None


def _reason(run: Run, new: set[str]) -> str:
    """One sentence on why a run failed: the trainer's own, else the last line of its log."""
    if "failed.json" in new:
        with suppress(OSError, ValueError, KeyError, TypeError):
            return " ".join(str(json.loads((run.folder / "failed.json").read_text("utf-8"))["message"]).split())
    if "stopped.json" in new:
        return "a signal from outside stopped it; start the same command again to go on"
    lines = (run.folder / LOG_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip()[:400] for line in reversed(lines) if line.strip()), "it said nothing")


def _note(run: Run, ending: Ending) -> None:
    told = {**asdict(ending), "recipe_sha256": _print(run), "ended_at": time.strftime("%FT%T%z")}
    with whole_file(run.folder / STATE_FILE) as out:
        out.write(json.dumps(told, indent=1).encode())


def _print(run: Run) -> str:
    return hashlib.sha256(run.text.encode()).hexdigest()


def _stamp(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0
