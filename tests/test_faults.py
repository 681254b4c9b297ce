"""Faults of the machine, met by the commands that train nothing; docs/reliability.md has the whole table.

Each command meets: a folder that cannot be written, another run in its folder, a disk that is full, its own files
damaged, a kill in the middle. It says what is wrong in one sentence, and leaves what was there.
"""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from launching import ROOT, environment, run, write_recipe, write_rows
from teacher_server import TeacherServer

from lemma_train.cli import main
from lemma_train.training import lock

COMMANDS = ("prepare", "collect", "evaluate")


@pytest.fixture(scope="module")
def server():
    with TeacherServer() as running:
        yield running


@pytest.fixture
def recipes(tmp_path, smollm2_folder, server):
    """A small recipe of each command; its output goes to `out` beside it."""
    (tmp_path / "training").mkdir()
    out = {"output_dir": str(tmp_path / "out")}
    questions = {"source": "generated", "kind": "word_sums", "size": 4}
    model = {"engine": "openai", "model": "m", "tokenizer": str(smollm2_folder), "base_urls": [server.url]}
    offline = {"engine": "offline"}
    values = {
        "collect": {"problems": [questions], "student": offline, "teacher": offline, **out},
        "evaluate": {"benchmarks": [questions], "model": model, **out},
    }
    paths = {"prepare": write_recipe(tmp_path / "training", smollm2_folder, **out)}
    for name, held in values.items():
        paths[name] = tmp_path / f"{name}.yaml"
        paths[name].write_text(yaml.safe_dump(held))
    return paths


def refused(capsys, *arguments: str) -> str:
    """The message of a command that ends with status 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main([*map(str, arguments)])
    told = capsys.readouterr().err
    assert left.value.code == 2 and "Traceback" not in told, told
    return told.strip().splitlines()[-1]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("place", ["file", "proc"])
def test_an_output_folder_that_cannot_be_written_is_named(tmp_path, recipes, capsys, command, place):
    (tmp_path / "file").write_text("a file where a folder is wanted")
    folder = {"file": tmp_path / "file" / "out", "proc": Path("/proc/lemma/out")}[place]
    told = refused(capsys, command, recipes[command], "--output_dir", folder)
    assert "output_dir" in told and str(folder) in told
    assert (tmp_path / "file").read_text() == "a file where a folder is wanted"


@pytest.mark.parametrize("place", ["file/out", "/proc/lemma/out"])
def test_an_output_folder_of_a_training_that_cannot_be_written_is_named_before_the_model_is_loaded(
    tmp_path, recipes, place
):
    (tmp_path / "file").write_text("a file where a folder is wanted")
    folder = tmp_path / place
    done = run(recipes["prepare"], "--output_dir", str(folder))
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert f"output_dir: {folder}" in done.stderr and "cannot be written" in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_second_run_in_the_folder_is_refused_and_writes_nothing(tmp_path, recipes, capsys, monkeypatch, command):
    monkeypatch.setattr(lock, "PATIENCE_SECONDS", 0.1)
    with lock.claim(tmp_path / "out"):
        before = sorted(tmp_path.rglob("*"))
        told = refused(capsys, command, recipes[command])
        assert "another run is at work in" in told and str(tmp_path / "out") in told
        assert sorted(tmp_path.rglob("*")) == before
    main([command, str(recipes[command])])


def limited(command: str, recipe: Path, most_bytes: int) -> subprocess.CompletedProcess:
    """A command on a disk that takes no file of more than so many bytes."""
    code = (
        "import resource, signal, sys\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)\n"
        "from lemma_train.cli import main\nmain(sys.argv[1:3])"
    )
    arguments = [sys.executable, "-c", code, command, str(recipe), str(most_bytes)]
    return subprocess.run(arguments, cwd=ROOT, env=environment(), capture_output=True, text=True)


@pytest.mark.parametrize(("command", "most_bytes"), [("prepare", 4000), ("collect", 1500), ("evaluate", 600)])
def test_a_full_disk_ends_with_a_sentence_and_no_half_file(tmp_path, recipes, command, most_bytes):
    done = limited(command, recipes[command], most_bytes)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert re.search(r"output_dir: .* cannot be written: .*too large", done.stderr), done.stderr
    names = ("prepared", "dataset.jsonl", "results.json", "samples.jsonl")
    assert not [name for name in names if (tmp_path / "out" / name).exists()]
    assert not [path for path in (tmp_path / "out").rglob("*") if path.name.startswith("prepared.")]
    # With room again the same command goes on.
    main([command, str(recipes[command])])


def test_a_damaged_line_in_the_journal_of_an_evaluation_is_named(tmp_path, recipes, capsys):
    main(["evaluate", str(recipes["evaluate"])])
    journal = tmp_path / "out" / "journal" / "replies.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([lines[0][:-20] + b"\n", *lines[1:]]))
    told = refused(capsys, "evaluate", recipes["evaluate"])
    assert str(journal) in told and "line 1" in told
    # A line that a power cut has torn is no damage: it is asked again.
    journal.write_bytes(b"".join(lines)[:-20])
    main(["evaluate", str(recipes["evaluate"])])
    assert len(journal.read_bytes().splitlines()) == len(lines)


def test_a_preparation_that_is_killed_leaves_nothing_half_done(tmp_path, recipes):
    rows = write_rows(tmp_path / "training" / "rows.jsonl", 4000)
    command = [sys.executable, "-m", "lemma_train.cli", "prepare", str(recipes["prepare"])]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL) as started:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "out").glob("prepared.*.tmp")) and time.monotonic() < deadline:
            time.sleep(0.002)
        started.send_signal(signal.SIGKILL)
        assert started.wait() == -signal.SIGKILL
    assert not (tmp_path / "out" / "prepared").exists() and list((tmp_path / "out").glob("prepared.*"))
    main(["prepare", str(recipes["prepare"])])
    report = json.loads((tmp_path / "out" / "prepared" / "report.json").read_text())
    assert report["rows_in"] == len(rows.read_text().splitlines()) == 4000
    assert [path.name for path in (tmp_path / "out").glob("prepared*")] == ["prepared"]


# What may do sums with the wall clock: a server's answer may name a date to wait for, and the age of a file is told by
# it. Everything else that waits or measures goes by a clock that nobody can set.
_SUMS_WITH_DATES = {"lemma_train/llm/api_errors.py", "lemma_train/training/prepare.py"}


def test_no_wait_is_measured_by_a_clock_that_may_be_set():
    clock = r"(?:time\.time\(\)|datetime\.(?:now|today|utcnow)\([^)]*\))"
    sums = re.compile(rf"{clock}\s*[-+<>]|[-+<>]=?\s*{clock}|=\s*{clock}\s*$", re.MULTILINE)
    sources = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in (ROOT / "lemma_train").rglob("*.py")}
    assert {name for name, text in sources.items() if sums.search(text)} == _SUMS_WITH_DATES
    assert sums.search("    started = time.time()\n") and sums.search("deadline < time.time()")
