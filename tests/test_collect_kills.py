"""A collection that is killed again and again: nothing is lost, nothing is paid for twice, the bytes are the same."""

import collections
import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import yaml
from launching import BIN
from reading_teacher import ReadingTeacher
from teacher_server import TeacherServer

KILLS = 20
CONCURRENCY = 16
PROBLEMS = [
    {"source": "generated", "kind": "word_sums", "size": 60},
    {"source": "generated", "kind": "gsm_symbolic", "size": 30},
]
pytestmark = pytest.mark.slow


def recipe(folder: Path, server: TeacherServer) -> Path:
    model = {"engine": "openai", "base_urls": [server.url], "concurrency": CONCURRENCY}
    values = {
        "problems": PROBLEMS,
        "output_dir": str(folder),
        "seed": 5,
        "student": {**model, "model": "student"},
        "teacher": {**model, "model": "teacher"},
        "sampling": {"samples": 3},
        "correction": {"restart_shows": "reference"},
    }
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(values))
    return path


@contextlib.contextmanager
def started(path: Path, log: Path) -> Iterator[subprocess.Popen]:
    """A collection in a process of its own, which does not outlive the test."""
    command = [str(BIN / "lemma"), "collect", str(path)]
    with log.open("ab") as out:
        # Tests that a shell started in the background ignore SIGINT, and so would what they start.
        run = subprocess.Popen(
            command, stdout=out, stderr=out, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
        )
    try:
        yield run
    finally:
        run.kill()
        run.wait()


def written(folder: Path) -> int:
    """Bytes in a folder at which a process may be at work: what is renamed between two looks counts as nothing."""
    told = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            told += path.stat().st_size if path.is_file() else 0
    return told


def test_killed_at_twenty_random_moments_it_ends_in_the_same_bytes(tmp_path):
    teacher = ReadingTeacher(PROBLEMS, 5)
    with TeacherServer(reply=teacher, latency=0.02) as server:
        undisturbed = tmp_path / "undisturbed"
        assert subprocess.run([str(BIN / "lemma"), "collect", str(recipe(undisturbed, server))]).returncode == 0
        needed = len(server.requests)
    size = written(undisturbed)

    # A moment is an amount of bytes on disk, drawn over the whole run, so that kills fall into every stage however
    # fast the machine is. A few fall into the start, before anything is written.
    draw = random.Random(20)
    moments = sorted(draw.uniform(0, 0.98 * size) for _ in range(KILLS))
    killed, log = tmp_path / "killed", tmp_path / "log.txt"
    with TeacherServer(reply=teacher, latency=0.02) as server:
        path = recipe(killed, server)
        killed.mkdir()
        struck = 0
        for moment in moments:
            with started(path, log) as run:
                deadline = time.monotonic() + 600
                while run.poll() is None and written(killed) < moment and time.monotonic() < deadline:
                    time.sleep(0.002)
                if run.poll() is None:
                    time.sleep(draw.uniform(0, 0.01))
                    run.send_signal(signal.SIGKILL)
                    struck += 1
                run.wait()
        assert struck >= KILLS - 2, log.read_text()[-2000:]
        with started(path, log) as final:
            assert final.wait(300) == 0, log.read_text()[-2000:]
        asked = collections.Counter(json.dumps(seen.body, sort_keys=True) for seen in server.requests)

    names = [
        "dataset.jsonl",
        "dataset.parquet",
        *(f"stages/{path.name}" for path in (undisturbed / "stages").iterdir()),
    ]
    for name in names:
        assert (killed / name).read_bytes() == (undisturbed / name).read_bytes(), name
    journal = [orjson.loads(line) for line in (killed / "journal" / "replies.jsonl").read_bytes().splitlines()]
    assert len({entry["key"] for entry in journal}) == len(journal) == needed == len(asked)
    twice = sum(asked.values()) - len(asked)
    assert twice <= struck * CONCURRENCY
    left_over = [path.name for path in killed.rglob("*") if "unfinished" in path.name or path.name.startswith(".spool")]
    assert left_over == []


def test_ctrl_c_and_sigterm_end_at_once_with_a_sentence_and_status_1(tmp_path):
    with TeacherServer(reply=ReadingTeacher(PROBLEMS, 5), latency=0.3) as server:
        path = recipe(tmp_path / "stopped", server)
        for signal_sent in (signal.SIGINT, signal.SIGTERM):
            before = len(server.requests)
            log = tmp_path / f"{signal_sent}.txt"
            with started(path, log) as run:
                while len(server.requests) < before + 20:
                    assert run.poll() is None, log.read_text()
                    time.sleep(0.05)
                run.send_signal(signal_sent)
                assert run.wait(20) == 1
            assert "stopped; start the same command again to go on" in log.read_text()
            assert "Traceback" not in log.read_text()


def test_a_full_disk_ends_with_a_sentence_and_what_was_paid_for_stays(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk]).returncode:
        pytest.skip("a small file system can be mounted by root only")
    try:
        with TeacherServer(reply=ReadingTeacher(PROBLEMS, 5)) as server:
            source = recipe(tmp_path / "c", server)
            command = [str(BIN / "lemma"), "collect", str(source), "--output_dir", str(disk / "c")]
            full = subprocess.run(command, capture_output=True, text=True, timeout=120)
            assert full.returncode == 2 and "Traceback" not in full.stderr
            assert "start the same command again" in full.stderr
            before = len(server.requests)
            kept = (disk / "c" / "journal" / "replies.jsonl").read_bytes().count(b"\n")
            assert kept > 100
            subprocess.run(["mount", "-o", "remount,size=64m", "tmpfs", disk], check=True)
            assert subprocess.run(command, timeout=200).returncode == 0
            total = (disk / "c" / "journal" / "replies.jsonl").read_bytes().count(b"\n")
            assert len(server.requests) - before == total - kept
    finally:
        subprocess.run(["umount", disk], check=True)


def test_no_process_outlives_a_killed_collection(tmp_path):
    """The grader's workers die with the run."""
    with TeacherServer(reply=ReadingTeacher(PROBLEMS, 5), latency=0.05) as server:
        path = recipe(tmp_path / "orphans", server)
        with started(path, tmp_path / "log.txt") as run:
            while len(server.requests) < 300:
                assert run.poll() is None
                time.sleep(0.05)
            children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        time.sleep(1)
        assert not [child for child in children if Path(f"/proc/{child}").exists()]
