"""Processes that outlive the tests fail the suite: each is named when its pytest process ends.

Enters: nothing; these are hooks of pytest, for `conftest`. Leaves: an exit status of 1 and the commands that still run.
Every pytest process (each worker of pytest-xdist is one) writes its own id into its environment, which whatever it
starts inherits, however deep; and its children are looked at in any case, since some are started with another
environment. What ends within a few seconds is not left behind.
"""

import os
import time
from pathlib import Path

import pytest

_MARK = "LEMMA_TESTS_OF_PROCESS"
_SECONDS = 10.0
# Python's own, which ends with the process that it serves.
_PYTHONS_OWN = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
_LEFT: list[str] = []

os.environ[_MARK] = str(os.getpid())


def left_behind() -> list[str]:
    """The commands of processes that this one, or what it started, has begun and that still run."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            marked = f"{_MARK}={os.getpid()}".encode() in (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except (OSError, ValueError):
            continue  # it has just ended, or is somebody else's
        ours = marked or parent == str(os.getpid())
        if ours and state not in "ZX" and not any(name in command for name in _PYTHONS_OWN):
            found.append(f"{folder.name}: {command[:200]}")
    return found


def _is_controller(config: pytest.Config) -> bool:
    """Whether the tests run in workers of pytest-xdist, which are children of this process until it ends."""
    return config.pluginmanager.hasplugin("dsession")


@pytest.hookimpl(trylast=True)  # after the last fixtures are torn down
def pytest_sessionfinish(session: pytest.Session) -> None:
    if not _is_controller(session.config):
        deadline = time.monotonic() + _SECONDS
        while (found := left_behind()) and time.monotonic() < deadline:
            time.sleep(0.1)
        _LEFT.extend(found)
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_behind"] = _LEFT
    elif _LEFT and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node) -> None:
    """A worker of pytest-xdist has ended; without its output where it crashed."""
    _LEFT.extend(getattr(node, "workeroutput", {}).get("left_behind", []))


def pytest_terminal_summary(terminalreporter) -> None:
    if _LEFT:
        terminalreporter.section("processes left behind by the tests", red=True)
        for line in _LEFT:
            terminalreporter.line(line)
