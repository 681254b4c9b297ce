"""A run that is told to stop: every rank ends after the same step, with a complete checkpoint.

Enters: SIGUSR1 or SIGTERM, at any rank and any time. Leaves: `stopped.json` in the output folder, and an exception
that ends the run with exit status 1. It saves nothing itself: it asks the trainer for an ordinary checkpoint. It does
not start the run again; that is the batch script's work.

transformers' own `enable_jit_checkpoint` does not serve here: ranks do not agree on a step, so one that is told later
waits in a collective for ever, and it saves between a backward pass and its update, which loses that step.
"""

import contextlib
import datetime
import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from transformers import TrainerCallback

from lemma_train.errors import Stopped, first_line
from lemma_train.training import checkpoints, launcher

STOPPED_FILE = "stopped.json"
STOP_SIGNALS = (signal.SIGUSR1, signal.SIGTERM)


class StopSignals:
    """Notes the first signal to stop that this rank receives.

    Outside the training loop there is nothing to agree on and nothing to save: there a signal ends this process at
    once, and the launcher ends the others. Within it (`wait`), the signal is only noted in `received`.

    output_dir: where `stopped.json` is written.
    """

    def __init__(self, output_dir: Path):
        self.output_dir = output_dir
        self.received: signal.Signals | None = None
        self.checkpoint: Path | None = None  # the one that this run goes on from
        self.place = "before a step was trained"  # for the message
        self._waits = False
        self._process = os.getpid()
        for number in STOP_SIGNALS:
            signal.signal(number, self._handle)

    def wait(self) -> None:
        """From now on only note a signal."""
        self._waits = True

    def end_at_once(self, place: str) -> None:
        """From now on end at once again, now if a signal has been noted; `place` says where, for the message."""
        self.place, self._waits = place, False
        if self.received:
            self._end(self.received)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        told = signal.Signals(number)
        launchers = told == signal.SIGTERM and launcher.has_siblings(os.environ)
        if os.getpid() != self._process or (launchers and not self._waits):
            # A forked data loader worker; or the launcher ends this rank because another one has failed, which must
            # not look like an orderly stop.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif self._waits:
            self.received = self.received or told
        else:
            self._end(told)

    def _end(self, told: signal.Signals) -> None:
        with contextlib.suppress(OSError):  # on a full disk it ends all the same
            note_stop(self.output_dir, told, self.checkpoint, in_training=False)
        words = f"sft.py: Stopped on {told.name} {self.place}: start the same command again to go on.\n"
        os.write(2, words.encode())  # the handler may have interrupted a print, which cannot be entered twice
        os._exit(1)


def note_stop(output_dir: Path, told: signal.Signals, checkpoint: Path | None, in_training: bool) -> None:
    """Write `stopped.json` so that it is on the disk when this returns.

    in_training: whether all ranks stopped together after a step. Else one of them ended at once, and the others have
        nothing to wait for and nothing to save; scripts/slurm/node.sh reads it.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    found = {
        "step": checkpoints.step_of(checkpoint) if checkpoint else 0,
        "checkpoint": str(checkpoint) if checkpoint else None,
        "in_training": in_training,
        "signal": told.name,
        "written_at": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    checkpoints.write_json_durably(output_dir / STOPPED_FILE, found)


class StopTogether(TrainerCallback):
    """Has all ranks agree after each step whether to stop, and then save and stop at that same step.

    The agreement is one all-reduce of four bytes between the CPUs, in a group of its own: on the GPUs' group it would
    have to wait for their queue at each step. Every rank takes the same number of steps, so every rank comes to each
    agreement; one that has died makes it fail on the others. After the last step nobody stops: the run just finishes.

    Raises `Stopped` out of the trainer's loop once the checkpoint is complete: transformers' own way of ending would
    log another line, load the best model and may delete the newest checkpoint.
    """

    def __init__(self, signals: StopSignals):
        self.signals = signals
        self._group: Any = None
        self._agreed = 0  # the number of the signal

    def on_train_begin(self, args, state, control, **kwargs: Any) -> None:
        self.signals.wait()
        if args.world_size > 1:
            timeout = datetime.timedelta(seconds=args.ddp_timeout)
            try:
                self._group = torch.distributed.new_group(backend="gloo", timeout=timeout)
            except RuntimeError as error:
                raise RuntimeError(
                    "The ranks cannot reach each other over TCP to agree on when to stop "
                    f"({first_line(error)}); GLOO_SOCKET_IFNAME must name the network interface that the nodes share."
                ) from error

    def on_step_end(self, args, state, control, **kwargs: Any) -> None:
        if state.global_step >= state.max_steps:
            return
        self._agreed = self._agreed or self._agree()
        if self._agreed:
            # The last step of an epoch is followed by what is due once an epoch, such as a held-out loss, which a
            # resumed run would not make up for: save after that.
            control.should_save = not _ends_epoch(state.epoch)

    def on_epoch_end(self, args, state, control, **kwargs: Any) -> None:
        if self._agreed and state.global_step < state.max_steps:
            control.should_save = True

    def on_save(self, args, state, control, **kwargs: Any) -> None:
        if not self._agreed or state.global_step >= state.max_steps:
            return
        told = signal.Signals(self._agreed)
        checkpoint = self.signals.output_dir / f"checkpoint-{state.global_step}"
        if state.is_world_process_zero:
            note_stop(self.signals.output_dir, told, checkpoint, in_training=True)
        if self._group is not None:
            torch.distributed.barrier(self._group)  # the first rank that ends has the launcher end the others
        raise Stopped(
            f"Stopped on {told.name} after step {state.global_step}; {checkpoint.name} is complete: start the same "
            "command again to go on."
        )

    def _agree(self) -> int:
        own = int(self.signals.received or 0)
        if self._group is None:
            return own
        highest = torch.tensor([own], dtype=torch.int32)
        torch.distributed.all_reduce(highest, torch.distributed.ReduceOp.MAX, self._group)
        return int(highest)


def _ends_epoch(epoch: float) -> bool:
    return float(epoch).is_integer()
