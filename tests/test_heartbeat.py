"""A rank that hangs shows its stacks and ends the job; one that gets on, however slowly, is left alone."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from launching import ROOT, environment, metrics, run_and_signal, write_recipe

# A process that watches over itself: it beats three times, then does what it is given.
WATCHED = """
import sys, time
from pathlib import Path
from lemma_train.training import heartbeat as module
module._GRACE_SECONDS = 2.0
with module.Heartbeat(Path(sys.argv[1]), rank=3, minutes=float(sys.argv[2])) as heartbeat:
    for _ in range(3):
        time.sleep(0.5)
        heartbeat.beat({slow})
    def the_place_where_it_hangs():
        {act}
    the_place_where_it_hangs()
print("done")
"""


def watch(out, act: str, seconds: float, slow: bool = False, ranks: int = 1) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", WATCHED.format(act=act, slow=slow), out, str(seconds / 60)]
    env = environment(WORLD_SIZE=str(ranks))
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=100, check=False)


def test_without_a_beat_the_process_ends_and_shows_where_it_stands(tmp_path):
    result = watch(tmp_path, "time.sleep(90)", seconds=1.5)
    assert result.returncode == 1 and "done" not in result.stdout
    stacks = (tmp_path / "logs" / "rank-3.stacks.txt").read_text()
    for text in (stacks, result.stderr):
        assert "rank 3: nothing has got on for 0.025 minutes" in text and "the_place_where_it_hangs" in text
    assert "rank 3" in json.loads((tmp_path / "failed.json").read_text())["message"]


def test_a_hang_that_holds_the_interpreter_is_ended_too(tmp_path):
    # A C call that keeps the interpreter's lock: no thread of Python's can run meanwhile.
    began = time.monotonic()
    result = watch(tmp_path, "import ctypes; ctypes.PyDLL(None).sleep(90)", seconds=1.5)
    assert time.monotonic() - began < 60 and result.returncode == 1 and "done" not in result.stdout
    assert "the_place_where_it_hangs" in (tmp_path / "logs" / "rank-3.stacks.txt").read_text()


def test_a_rank_that_its_launcher_ends_shows_where_it_stood(tmp_path):
    result = watch(tmp_path, "import os; os.kill(os.getpid(), 15)", seconds=60, ranks=2)
    assert result.returncode == -signal.SIGTERM
    assert "the_place_where_it_hangs" in (tmp_path / "logs" / "rank-3.stacks.txt").read_text()


@pytest.mark.parametrize("seconds, slow", [(5.0, False), (0.3, True), (0.0, False)])
def test_beats_slow_phases_and_a_watch_that_is_off_let_a_process_go_on_and_leave_nothing(tmp_path, seconds, slow):
    result = watch(tmp_path, "time.sleep(1)", seconds, slow)
    assert (result.returncode, result.stdout) == (0, "done\n"), result.stderr
    assert not list(tmp_path.rglob("*.txt")) and not (tmp_path / "failed.json").exists()


@pytest.mark.slow
def test_a_job_with_one_stopped_rank_ends_with_the_stacks_of_the_other(tiny_llama, tmp_path):
    recipe = write_recipe(tmp_path, tiny_llama, max_steps=100000, hang_minutes=0.2, logging_steps=5)
    out, sent = tmp_path / "out", []

    def stop_one(ranks: list[int]) -> None:
        os.kill(ranks[1], signal.SIGSTOP)
        sent.append(time.monotonic())

    result = run_and_signal(
        recipe, config="cpu_ddp.yaml", until=lambda: (out / "metrics.jsonl").exists() and metrics(out), send=stop_one
    )
    # 12 seconds until it is noticed, 30 until the launcher kills the rank that cannot react.
    assert time.monotonic() - sent[0] < 90
    assert result.returncode != 0 and not (out / "stopped.json").exists()
    stacks = (out / "logs" / "rank-0.stacks.txt").read_text()
    # It waits for the other within some collective of the training loop: which one, the moment of the signal decides.
    assert "nothing has got on for 0.2 minutes" in stacks and "_inner_training_loop" in stacks
    assert "nothing has got on for 0.2 minutes" in result.stderr
    assert "hang_minutes" in json.loads((out / "failed.json").read_text())["message"]
