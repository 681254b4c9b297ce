"""A run that is told to stop ends with a complete checkpoint, and the next start ends where an undisturbed run does."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from launching import metrics, run, run_and_signal, write_recipe, write_rows
from safetensors.torch import load_file
from test_trainer import renderer, rows, trainer_for  # noqa: F401 - renderer is a fixture
from transformers import TrainerCallback

from lemma_train.errors import Stopped
from lemma_train.training import checkpoints, launcher
from lemma_train.training.preemption import STOP_SIGNALS, StopSignals, StopTogether

# A dropout that must continue its random numbers, accumulation, and logs that span a stop.
EXACTING = {
    "max_steps": 32,
    "logging_steps": 4,
    "gradient_accumulation_steps": 2,
    "use_peft": True,
    "lora_dropout": 0.2,
    "lora_target_modules": "all-linear",
}


def told(line: dict) -> dict:
    """What a log line says about the training, without how fast it went."""
    timed = ("per_second", "runtime", "memory", "mfu")
    return {key: value for key, value in line.items() if not any(word in key for word in timed)}


def assert_same_course(one: Path, other: Path) -> None:
    logged = [
        [told(line) for line in metrics(folder) if {"loss", "eval_loss"} & line.keys()] for folder in (one, other)
    ]
    assert len(logged[0]) >= 8 and logged[0] == logged[1]
    first, second = (load_file(folder / "final" / "adapter_model.safetensors") for folder in (one, other))
    assert first.keys() == second.keys() and first
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def assert_stopped(result: subprocess.CompletedProcess, out: Path, name: str = "SIGUSR1") -> int:
    """A stop in order: its status, its words (once) and its file. Returns the step."""
    assert result.returncode == 1, result.stderr[-3000:]
    stopped = json.loads((out / "stopped.json").read_text())
    step = stopped["step"]
    assert 0 < step < EXACTING["max_steps"] and stopped["signal"] == name and stopped["written_at"]
    assert stopped["in_training"] is True
    checkpoint = Path(stopped["checkpoint"])
    assert checkpoint == out / f"checkpoint-{step}" and checkpoints.is_complete(checkpoint)
    assert result.stderr.count(f"sft.py: Stopped on {name} after step {step}; checkpoint-{step} is complete") == 1
    assert not (out / "failed.json").exists() and not (out / "final").exists()
    return step


def logged_step(out: Path) -> int:
    return max((line["step"] for line in metrics(out)), default=0) if (out / "metrics.jsonl").exists() else 0


@pytest.mark.slow
def test_two_ranks_lose_nothing_by_a_signal_to_one_and_little_by_a_kill_of_one(tiny_llama, tmp_path):
    keys = {**EXACTING, "save_strategy": "steps", "save_steps": 7, "save_total_limit": 1}
    keys |= {"eval_fraction": 0.2, "eval_strategy": "epoch"}
    data = write_rows(tmp_path / "rows.jsonl", 30)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    undisturbed = run(write_recipe(tmp_path / "a", tiny_llama, data, **keys), config="cpu_ddp.yaml")
    assert undisturbed.returncode == 0, undisturbed.stderr[-3000:]
    recipe, out = write_recipe(tmp_path / "b", tiny_llama, data, **keys), tmp_path / "b" / "out"
    killed = run_and_signal(
        recipe,
        config="cpu_ddp.yaml",
        until=lambda: (out / "checkpoint-7" / checkpoints.MARKER).exists(),
        send=lambda ranks: os.kill(ranks[1], signal.SIGKILL),
    )
    assert killed.returncode != 0 and not (out / "stopped.json").exists()
    failed = json.loads((out / "failed.json").read_text())
    assert failed["status"] == 1 and launcher.lost_a_rank(RuntimeError(failed["message"])), failed
    assert [start["resumed_step"] for start in json.loads((out / "starts.json").read_text())] == [0]
    logged = logged_step(out)
    result = run_and_signal(
        recipe,
        config="cpu_ddp.yaml",
        until=lambda: logged_step(out) > logged + 4,
        send=lambda ranks: os.kill(ranks[1], signal.SIGUSR1),
    )
    step = assert_stopped(result, out)
    assert "Resuming from" in result.stderr and step > logged
    resumed = run(recipe, config="cpu_ddp.yaml")
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert f"checkpoint-{step}." in resumed.stderr
    assert_same_course(tmp_path / "a" / "out", out)
    assert not [name for name in ("stopped.json", "failed.json", "starts.json") if (out / name).exists()]


@pytest.mark.slow
def test_zero3_on_two_ranks_loses_nothing_by_signals_to_all(tiny_llama, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    undisturbed = run(write_recipe(tmp_path / "a", tiny_llama, **EXACTING), config="cpu_zero3.yaml")
    assert undisturbed.returncode == 0, undisturbed.stderr[-3000:]
    recipe, out = write_recipe(tmp_path / "b", tiny_llama, **EXACTING), tmp_path / "b" / "out"

    def send(ranks: list[int]) -> None:
        for rank in ranks * 2:
            os.kill(rank, signal.SIGUSR1)

    result = run_and_signal(recipe, config="cpu_zero3.yaml", until=lambda: logged_step(out) >= 8, send=send)
    step = assert_stopped(result, out)
    assert [path.name for path in checkpoints.find_checkpoints(out)] == [f"checkpoint-{step}"]  # save_strategy: no
    assert not list((out / "logs").iterdir())  # stacks are for hung and failed ranks
    resumed = run(recipe, config="cpu_zero3.yaml")
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert_same_course(tmp_path / "a" / "out", out)


@pytest.mark.slow
def test_a_signal_before_the_first_step_ends_the_run_without_a_checkpoint(tiny_llama, tmp_path):
    recipe, out = write_recipe(tmp_path, tiny_llama), tmp_path / "out"
    result = run_and_signal(
        recipe, until=(out / "starts.json").exists, send=lambda ranks: os.kill(ranks[0], signal.SIGTERM)
    )
    assert result.returncode == 1 and "Stopped on SIGTERM before a step was trained" in result.stderr
    stopped = json.loads((out / "stopped.json").read_text())
    assert (stopped["step"], stopped["checkpoint"], stopped["signal"]) == (0, None, "SIGTERM")
    assert not checkpoints.find_checkpoints(out) and "Traceback" not in result.stderr


# --- in this process: at which step a real signal stops, and what is due at that step


class SignalAt(TrainerCallback):
    """Sends this process a real signal in the middle of a step or of a save."""

    def __init__(self, step: int, during: str = "on_optimizer_step"):
        self.step, self.during = step, during

    def _send(self, state) -> None:
        if state.global_step == self.step - (self.during == "on_optimizer_step"):
            os.kill(os.getpid(), signal.SIGUSR1)

    def on_optimizer_step(self, args, state, control, **kwargs):
        if self.during == "on_optimizer_step":
            self._send(state)

    def on_save(self, args, state, control, **kwargs):
        if self.during == "on_save":
            self._send(state)


@pytest.fixture
def signals(tmp_path):
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield StopSignals(tmp_path)
    for number, handler in before.items():
        signal.signal(number, handler)


def history(trainer) -> list[dict]:
    return [told(entry) for entry in trainer.state.log_history if {"loss", "eval_loss"} & entry.keys()]


def trained(tiny_llama, renderer, folder, *callbacks, resume=None, **keys):  # noqa: F811
    data, held_out = rows(renderer, count=10), rows(renderer, count=4)
    trainer = trainer_for(tiny_llama, renderer, data, folder, held_out, **{"max_steps": 7, **keys})
    for callback in callbacks:
        trainer.add_callback(callback)
    trainer.train(resume_from_checkpoint=resume)
    return trainer


EPOCHS = {"eval_strategy": "epoch", "logging_steps": 2}  # 10 rows in batches of 2: five steps an epoch


@pytest.mark.slow
@pytest.mark.parametrize(
    "at, keys, stops_after",
    [
        ("step 3", EPOCHS, 3),
        # The last of its epoch: the held-out loss is due.
        ("step 5", {**EPOCHS, "save_strategy": "steps", "save_steps": 5}, 5),
        ("save 4", {"save_strategy": "steps", "save_steps": 2, "save_total_limit": 1}, 5),
        (
            "step 4",
            {
                "eval_strategy": "steps",
                "eval_steps": 2,
                "save_strategy": "steps",
                "save_steps": 2,
                "save_total_limit": 1,
                "load_best_model_at_end": True,
                "metric_for_best_model": "loss",
                "greater_is_better": True,  # the first is the best: the one that is saved last must stay all the same
                "learning_rate": 1e-2,
            },
            4,
        ),
    ],
)
def test_a_stopped_run_goes_on_as_if_it_had_not_been(tiny_llama, renderer, tmp_path, signals, at, keys, stops_after):  # noqa: F811
    whole = trained(tiny_llama, renderer, tmp_path / "whole", **keys)
    signals.output_dir = tmp_path / "cut"
    place, step = at.split()
    sender = SignalAt(int(step), "on_save" if place == "save" else "on_optimizer_step")
    with pytest.raises(Stopped, match=f"SIGUSR1 after step {stops_after}"):
        trained(tiny_llama, renderer, tmp_path / "cut", sender, StopTogether(signals), **keys)
    checkpoint = tmp_path / "cut" / f"checkpoint-{stops_after}"
    assert checkpoints.is_complete(checkpoint)
    assert json.loads((tmp_path / "cut" / "stopped.json").read_text())["checkpoint"] == str(checkpoint)
    resumed = trained(tiny_llama, renderer, tmp_path / "cut", resume=str(checkpoint), **keys)
    assert history(resumed) == history(whole) and len(history(whole)) >= 3
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], tensor), name


def test_a_signal_in_the_last_step_lets_the_run_finish(tiny_llama, renderer, tmp_path, signals):  # noqa: F811
    trainer = trained(tiny_llama, renderer, tmp_path, SignalAt(7), StopTogether(signals))
    assert trainer.state.global_step == 7 and signals.received == signal.SIGUSR1
    assert not (tmp_path / "stopped.json").exists() and not checkpoints.find_checkpoints(tmp_path)


# --- the handlers alone


def send_both_twice(signals: StopSignals) -> None:
    signals.wait()
    for number in STOP_SIGNALS * 2:
        os.kill(os.getpid(), number)
    assert signals.received == signal.SIGUSR1


def end_where_a_signal_has_been_noted(signals: StopSignals) -> None:
    signals.wait()
    os.kill(os.getpid(), signal.SIGUSR1)
    signals.end_at_once("while the finished model was evaluated")


def end_a_forked_worker(signals: StopSignals) -> None:
    if not os.fork():
        os.kill(os.getpid(), signal.SIGTERM)
    assert os.wait()[1] == signal.SIGTERM


@pytest.mark.parametrize(
    "act, ranks, status, written",
    [
        (lambda signals: os.kill(os.getpid(), signal.SIGUSR1), "2", 1, True),
        (lambda signals: os.kill(os.getpid(), signal.SIGTERM), "1", 1, True),
        # The launcher ends this rank because another has failed: no stop in order, or a crash would go on for ever.
        (lambda signals: os.kill(os.getpid(), signal.SIGTERM), "2", -signal.SIGTERM, False),
        (send_both_twice, "2", 0, False),
        (end_where_a_signal_has_been_noted, "1", 1, True),
        (end_a_forked_worker, "1", 0, False),
    ],
)
def test_outside_the_training_a_signal_ends_the_process_and_within_it_is_noted(
    tmp_path, monkeypatch, act, ranks, status, written
):
    monkeypatch.setenv("WORLD_SIZE", ranks)
    if not (child := os.fork()):  # a process of its own, without importing everything again
        try:
            act(StopSignals(tmp_path))
            os._exit(0)
        finally:
            os._exit(99)  # nothing may leave the child
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == status
    stopped = tmp_path / "stopped.json"
    assert stopped.exists() == written
    assert not written or json.loads(stopped.read_text())["in_training"] is False
