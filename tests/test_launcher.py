"""Ranks do not outlive their launcher."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

# A launcher that starts one rank in a session of its own, as torch's elastic agent does, and tells its process id.
LAUNCHER = """
import subprocess, sys, time
rank = (
    "import time; from lemma_train.training.launcher import end_with_launcher;"
    "end_with_launcher(); print(1, flush=True); time.sleep(99)"
)
child = subprocess.Popen([sys.executable, "-c", rank], start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(99)
"""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends_with(launcher_environment: dict[str, str]) -> bool:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TORCHELASTIC", "ACCELERATE"))}
    command = [sys.executable, "-c", LAUNCHER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**environment, **launcher_environment}) as launcher:
        assert launcher.stdout is not None
        rank = int(launcher.stdout.readline())
        launcher.send_signal(signal.SIGKILL)
        launcher.wait()
        deadline = time.monotonic() + 2
        while is_alive(rank) and time.monotonic() < deadline:
            time.sleep(0.05)
        if ended := not is_alive(rank):
            return ended
        os.kill(rank, signal.SIGKILL)
        return ended


def test_a_launched_rank_ends_when_its_launcher_is_killed():
    assert ends_with({"TORCHELASTIC_RUN_ID": "none"})


def test_a_process_that_no_launcher_started_outlives_its_parent():
    assert not ends_with({})
