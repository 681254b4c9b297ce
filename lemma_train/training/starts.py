"""The count of starts that died, so that a batch system does not repeat a crash for ever.

Enters: where each start begins, and how it ends. Leaves: `starts.json` (the starts that are not accounted for) and
`failed.json` (how the last one failed) in the output folder, for the batch script; or the refusal of a crash loop.
Rank 0 counts; any rank may report its failure.
"""

import contextlib
import datetime
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lemma_train.errors import InputError, first_line
from lemma_train.training.checkpoints import write_json_durably
from lemma_train.training.preemption import STOPPED_FILE

STARTS_FILE, FAILED_FILE = "starts.json", "failed.json"
CRASHES_ALLOWED = 3


@contextmanager
def counted(output_dir: Path, step: int, forced: bool) -> Iterator[None]:
    """Count what happens within as one start from `step`.

    A start is taken out of the count again when it is stopped by a signal, by Ctrl-C or by an InputError; the count
    is cleared when it comes to its end, and begins anew when a newer checkpoint moves `step`.

    forced: start also where the last starts make a crash loop.

    Raises:
        InputError: the last three starts began at this step too and died.
    """
    died = _unaccounted(output_dir)
    loop = [start for start in died if start.get("resumed_step") == step]
    if len(loop) >= CRASHES_ALLOWED and not forced:
        raise InputError(
            f"output_dir: the last {len(loop)} starts in {output_dir} began at step {step} and died before a newer "
            f"checkpoint was complete; find out why in their logs and in {output_dir / FAILED_FILE}, then delete "
            f"{output_dir / STARTS_FILE} to try again, or name a checkpoint with the key resume."
        )
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    write_json_durably(output_dir / STARTS_FILE, [*loop, {"started_at": now, "resumed_step": step}])
    for stale in (STOPPED_FILE, FAILED_FILE):
        (output_dir / stale).unlink(missing_ok=True)
    try:
        yield
    except (InputError, KeyboardInterrupt):
        write_json_durably(output_dir / STARTS_FILE, loop)
        raise
    clear(output_dir)


def clear(output_dir: Path) -> None:
    """Forget all starts and how they ended: the run has finished."""
    for name in (STARTS_FILE, STOPPED_FILE, FAILED_FILE):
        (output_dir / name).unlink(missing_ok=True)


def note_failure(output_dir: Path, error: BaseException | str) -> None:
    """Write `failed.json`: {"status": 2 for an InputError and else 1, "message"}; the batch script reads it.

    The first failure of status 1 stays: it is the cause, and what other ranks then meet is its consequence.
    """
    status = 2 if isinstance(error, InputError) else 1
    file = output_dir / FAILED_FILE
    if status == 1 and file.exists():
        return
    message = str(error) if isinstance(error, str | InputError) else f"{type(error).__name__}: {first_line(error)}"
    with contextlib.suppress(OSError):  # a full disk may be the failure; it is told on the terminal all the same
        output_dir.mkdir(parents=True, exist_ok=True)
        write_json_durably(file, {"status": status, "message": message})


def _unaccounted(output_dir: Path) -> list[dict[str, Any]]:
    """The starts that have neither finished nor ended in order, oldest first."""
    try:
        starts = json.loads((output_dir / STARTS_FILE).read_text(encoding="utf-8"))
        found = [start for start in starts if isinstance(start, dict)]
    except (OSError, ValueError, TypeError):  # none yet, or not ours: then nothing is held against this start
        return []
    # The last one was stopped by a signal, perhaps at another rank than the first.
    return found[:-1] if (output_dir / STOPPED_FILE).exists() else found
