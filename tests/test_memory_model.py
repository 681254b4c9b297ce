"""One line of the benchmark of the model of memory: a real run under ZeRO-3, every allocation recorded."""

import os
import subprocess
import sys

import pytest
from launching import ROOT


@pytest.mark.slow
def test_what_is_predicted_for_zero3_on_one_and_two_ranks_is_what_a_real_run_allocates():
    command = [sys.executable, ROOT / "benchmarks" / "memory_model.py", "narrow", "--launch", "cpu_zero3"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False, timeout=900)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert done.stdout.count("| narrow | cpu_zero3 |") == 4, "each line is printed when it is there, and in the table"
