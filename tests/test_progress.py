"""What a log is told while a stage runs."""

import threading
import time

from lemma_train.collection import progress
from lemma_train.collection.meter import Meter
from lemma_train.collection.progress import StageProgress
from lemma_train.collection.stage_files import Line


def test_a_log_hears_of_a_stage_in_which_nothing_is_finished_yet(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.05)
    with StageProgress("sampling", 32, Meter({}, None), "USD") as shown:
        deadline = time.monotonic() + 20
        told = ""
        while "sampling: 0 of 32; 0 kept" not in told and time.monotonic() < deadline:
            time.sleep(0.02)
            told += capsys.readouterr().err
        assert "s gone" in told
        shown.finished(Line("q1", "q1", 0, True, None))
        shown.finished(Line("q2", "q2", 0, False, None, "cut_off", None))
    assert capsys.readouterr().err.splitlines()[-1] == "sampling: 2 of 32; 1 kept, 1 set aside (cut_off 1)"
    assert not [thread for thread in threading.enumerate() if thread.name == "stage-progress"]


def test_a_short_stage_tells_its_end_alone(capsys):
    with StageProgress("grading", 1, Meter({}, None), "USD") as shown:
        shown.finished(Line("q1", "q1", 0, True, None))
    assert capsys.readouterr().err == "grading: 1 of 1; 1 kept\n"
