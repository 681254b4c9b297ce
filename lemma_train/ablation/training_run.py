"""One run of an ablation: its recipe is written, `sft.py` trains and evaluates it in a process of its own.

Enters: a `Run`. Leaves: its folder, with what `sft.py` writes, `recipe.yaml`, `train.log`, and `ablation_run.json`,
which says how it ended. One that is done is not started again; one that failed or was cut off goes on from its
newest checkpoint. It compares nothing.
"""

import hashlib
import json
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from lemma_train.ablation.cells import Run
from lemma_train.child_process import Children, how_it_ended
from lemma_train.errors import InputError, Stopped
from lemma_train.training.lock import is_claimed
from lemma_train.whole_file import whole_file, write_faults_named

STATE_FILE, RECIPE_FILE, LOG_FILE = "ablation_run.json", "recipe.yaml", "train.log"


@dataclass(frozen=True)
class Ending:
    """How a run stands. state: missing, done, failed, or elsewhere (another process is at work on it).

    seconds: what its last start took. status: the exit status of a failed one; 2 where the user's input is at fault.
    """

    state: str
    message: str = ""
    seconds: float = 0.0
    status: int = 0


_ELSEWHERE = Ending("elsewhere", "another process is at work on it")


def ending_of(run: Run) -> Ending:
    """How the run stands on the disk; what was done with another recipe counts as missing."""
    if is_claimed(run.folder):
        return _ELSEWHERE
    try:
        told = json.loads((run.folder / STATE_FILE).read_text(encoding="utf-8"))
        found = Ending(str(told["state"]), str(told["message"]), float(told["seconds"]))
        same = told["recipe_sha256"] == _print(run)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # damaged
        return Ending("missing")
    return found if same and found.state in ("done", "failed") else Ending("missing")


def carry_out(run: Run, accelerate_config: str | None, children: Children) -> Ending:
    """Train and evaluate one run, and note how it ended; it has failed too where its folder cannot be written.

    Raises:
        Stopped: a signal asked for it; the same command goes on from the checkpoint that was made.
    """
    try:
        ending = _start(run, accelerate_config, children)
        if ending.state != "elsewhere":  # what the other process notes is the truth
            _note(run, ending)
    except InputError as error:
        return Ending("failed", str(error), status=2)
    return ending


def _start(run: Run, accelerate_config: str | None, children: Children) -> Ending:
    began = time.monotonic()
    with write_faults_named(run.folder):
        run.folder.mkdir(parents=True, exist_ok=True)
    with whole_file(run.folder / RECIPE_FILE) as out:
        out.write(run.text.encode())
    marks = {name: _stamp(run.folder / name) for name in ("failed.json", "stopped.json")}
    with write_faults_named(run.folder / LOG_FILE):
        status = children.run(_command(run, accelerate_config), run.folder / LOG_FILE)
    new = {name for name, before in marks.items() if _stamp(run.folder / name) not in (before, 0)}
    if children.told is not None and status:
        raise Stopped(f"{run.name} was stopped by {children.told.name}; start the same command again to go on with it.")
    seconds = round(time.monotonic() - began, 1)
    if status == 0:
        return Ending("done", "", seconds)
    if is_claimed(run.folder):  # it came first, while this process was starting
        return _ELSEWHERE
    return Ending("failed", _reason(run, new, status), seconds, status)


def _command(run: Run, accelerate_config: str | None) -> list[str]:
    import lemma_train

    launched = ["-m", "accelerate.commands.launch", "--config_file", accelerate_config] if accelerate_config else []
    return [
        sys.executable,
        *launched,
        str(Path(lemma_train.__file__).with_name("sft.py")),
        str(run.folder / RECIPE_FILE),
    ]


def _reason(run: Run, new: set[str], status: int) -> str:
    """One sentence on why a run failed: the trainer's own, else what its end and its log tell."""
    told = how_it_ended(status, run.folder / LOG_FILE)
    if "failed.json" in new:
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            told = " ".join(str(json.loads((run.folder / "failed.json").read_text("utf-8"))["message"]).split())
    elif "stopped.json" in new:
        told = "a signal from outside stopped it; start the same command again to go on"
    return told if status < 0 else f"status {status}: {told}"


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
