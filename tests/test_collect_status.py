"""`lemma collect --status`: what is done, what is at work, what stopped, and what is left from an earlier run."""

import subprocess
import time

import pytest
from launching import BIN
from reading_teacher import ReadingTeacher
from teacher_server import TeacherServer
from test_collect import PROBLEMS, SMALL, over_http, settings

from lemma_train.cli import main
from lemma_train.collection.collect import collect, status
from lemma_train.collection.stage_files import path_of
from lemma_train.collection.stage_states import EARLIER
from lemma_train.whole_file import unfinished_name


def line_of(told, name):
    return next((line for line in told.splitlines() if line.startswith(name)), None)


def test_the_stage_at_work_is_shown_as_running_and_a_killed_one_as_stopped(tmp_path):
    with TeacherServer(reply=ReadingTeacher(PROBLEMS, 3), latency=0.1) as server:
        chosen = over_http(tmp_path / "busy", server, **SMALL, student={"concurrency": 1}, sampling={"samples": 8})
        collect(chosen, stage="problems")
        assert line_of(status(chosen), "sampling") is None
        run = subprocess.Popen([BIN / "lemma", "collect", tmp_path / "busy.yaml", "--stage", "sampling"])
        try:
            while not unfinished_name(path_of(tmp_path / "busy", "sampling")).exists():
                assert run.poll() is None
                time.sleep(0.01)
            assert "items so far (running)" in line_of(status(chosen), "sampling")
        finally:
            run.kill()
            run.wait()
        assert "items so far (stopped; start the same command again)" in line_of(status(chosen), "sampling")


def test_files_of_an_earlier_run_are_told_apart(tmp_path):
    chosen = settings(tmp_path / "twice", **SMALL)
    collect(chosen)
    assert EARLIER not in status(chosen)
    time.sleep(0.02)
    collect(chosen, stage="analysis")
    told = status(chosen)
    for name in ("problems", "sampling", "grading", "analysis"):
        assert EARLIER not in line_of(told, name)
    for name in ("injection", "correction", "smoothing", "assembly", "data set"):
        assert line_of(told, name).endswith(EARLIER)
    collect(chosen)
    assert EARLIER not in status(chosen)


@pytest.mark.parametrize("asked", ["--dry_run", "--status"])
@pytest.mark.parametrize("more", [["--stage", "sampling"], ["--shard", "0/2"]])
def test_what_would_be_ignored_is_refused(tmp_path, capsys, asked, more):
    recipe = tmp_path / "c.yaml"
    settings(tmp_path / "c", **SMALL)
    with pytest.raises(SystemExit) as left:
        main(["collect", str(recipe), asked, *more])
    assert left.value.code == 2 and "leave --stage and --shard out" in capsys.readouterr().err
