"""The suite fails over processes that outlive its tests, whoever started them, and over none that ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CONFTEST = (
    "from left_behind import *\nimport left_behind\nleft_behind._SECONDS = 2.0  # a short patience for a quick test\n"
)
LEFT = {
    "61": "subprocess.Popen(['sleep', '61'], start_new_session=True)",
    "62": "subprocess.run(['sh', '-c', 'sleep 62 & exit 0'])",  # an orphan
    "63": "subprocess.Popen(['sleep', '63'], env={})",
}
ENDS = {"0": "subprocess.run(['sleep', '0'])", "1": "subprocess.Popen(['sleep', '1'])"}


def run(folder: Path, starts: dict[str, str], workers: str) -> subprocess.CompletedProcess:
    (folder / "conftest.py").write_text(CONFTEST)
    tests = "".join(f"def test_{name}():\n    kept.append({start})\n" for name, start in starts.items())
    (folder / "test_it.py").write_text(f"import subprocess\nkept = []\n{tests}")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", workers, "-p", "no:cacheprovider", str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("workers", ["0", "2"])
def test_processes_that_outlive_the_tests_fail_the_suite_and_are_named(tmp_path, workers):
    done = run(tmp_path, LEFT | ENDS, workers)
    named = [line.split(": sleep ") for line in done.stdout.splitlines() if ": sleep " in line]
    for process, _ in named:
        os.kill(int(process), signal.SIGKILL)
    assert "5 passed" in done.stdout, done.stdout + done.stderr
    assert sorted(seconds for _, seconds in named) == ["61", "62", "63"], done.stdout
    assert done.returncode == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("workers", ["0", "2"])
def test_processes_that_end_fail_nothing(tmp_path, workers):
    done = run(tmp_path, ENDS, workers)
    assert "2 passed" in done.stdout and done.returncode == 0, done.stdout + done.stderr
