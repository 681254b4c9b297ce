"""A command and what it costs: wall time, processor time, and the peak memory of all its processes.

Memory is the sum of the processes' proportional set sizes (PSS): a page that several share counts once. Linux only.
"""

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

_EVERY_SECONDS = 0.2


@dataclass(frozen=True)
class Measured:
    """seconds: from start to end. peak_gib: of all processes together. told: the JSON object of the last line that the
    command printed, else an empty one."""

    seconds: float
    processor_seconds: float
    peak_gib: float
    told: dict[str, Any]


def run(command: list[str], log: Path, environ: dict[str, str] | None = None) -> Measured:
    """Run a command to its end; its output goes to `log`.

    Raises:
        SystemExit: it failed; the message holds the end of its output.
    """
    before = os.times()
    began = time.perf_counter()
    with log.open("w", encoding="utf-8") as stream:
        started = subprocess.Popen(
            command, stdout=stream, stderr=subprocess.STDOUT, env={**os.environ, **(environ or {})}
        )
    peak = 0
    while started.poll() is None:
        peak = max(peak, _memory(started.pid))
        try:
            started.wait(_EVERY_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    seconds = time.perf_counter() - began
    after = os.times()
    text = log.read_text(encoding="utf-8", errors="replace")
    if started.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {started.returncode}:\n{text[-2000:]}")
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return Measured(round(seconds, 3), round(used, 3), round(peak / 2**30, 3), _told(text))


def _memory(pid: int) -> int:
    total = 0
    try:
        leader = psutil.Process(pid)
        for process in (leader, *leader.children(recursive=True)):
            total += process.memory_full_info().pss
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # it ended while it was looked at
        pass
    return total


def _told(text: str) -> dict[str, Any]:
    lines = text.strip().splitlines()
    try:
        told = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
