"""The recipes that run on any machine, from the command line: the demo, and a real student on real questions."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from launching import BIN, ROOT, environment
from word_sum_truth import is_right

from lemma_train.collection.stage_files import read_stage
from lemma_train.collection.trace import trace
from lemma_train.grading.grader import Grader

pytestmark = pytest.mark.slow


def lemma(*arguments: object) -> str:
    done = subprocess.run(
        [str(BIN / "lemma"), *map(str, arguments)], cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "dataset.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_demo_gives_500_trajectories_that_training_takes_and_trace_tells(tmp_path, smollm2_folder):
    lemma("collect", "recipes/collect/offline_demo.yaml", "--output_dir", tmp_path / "demo")
    found = rows(tmp_path / "demo")
    assert len(found) >= 500
    sums = [row for row in found if row["source"] == "word_sums"]
    marked = [(row["instruction"], row["output"], *row["error_span"]) for row in sums]
    assert len(sums) > 200 and not [
        row for row in marked if is_right(row[0], row[1][: row[2]], row[1][row[2] : row[3]])
    ]

    recipe = tmp_path / "train.yaml"
    data = str(tmp_path / "demo" / "dataset.jsonl")
    values = {"model_name_or_path": str(smollm2_folder), "train_files": data, "output_dir": str(tmp_path / "train")}
    recipe.write_text(yaml.safe_dump(values))
    lemma("prepare", recipe)
    report = json.loads((tmp_path / "train" / "prepared" / "report.json").read_text())
    assert report["rows_in"] == report["kept"] == len(found)
    assert (tmp_path / "train" / "prepared" / "rejected.jsonl").read_text() == ""

    for row in found[::40]:
        story = trace(tmp_path / "demo", row["id"])
        assert row["instruction"] in story.replace("\n    ", "\n")
        assert row["error_type"] in story and "reply to smoothing" in story and "Training row" in story
        wanted = "Student's answer" if row["error_origin"] == "student" else "Injected error"
        assert wanted in story
    told = lemma("trace", tmp_path / "demo" / "dataset.jsonl", found[0]["id"])
    assert re.search(r"reply to \w+, attempt 1, prompt [0-9a-f]{16}", told)


def test_smollm2_answers_gsm8k_and_the_offline_teacher_corrects_it(tmp_path, smollm2_folder, shared_data):
    values = {
        "problems": [{"source": "gsm8k", "path": str(shared_data / "gsm8k_train.jsonl"), "sample": 16}],
        "output_dir": str(tmp_path / "gsm8k"),
        "student": {"engine": "transformers", "model": str(smollm2_folder), "max_tokens": 160},
        "sampling": {"samples": 1},
        "teacher": {"engine": "offline"},
        "injection": {"per_question": 1},
        "correction": {"restart_shows": "reference"},
    }
    recipe = tmp_path / "gsm8k.yaml"
    recipe.write_text(yaml.safe_dump(values))
    lemma("collect", recipe)
    graded = list(read_stage(tmp_path / "gsm8k", "grading"))
    assert len(graded) >= 12 and any(line.record["correct"] is False for line in graded)
    found = rows(tmp_path / "gsm8k")
    assert {row["strategy"] for row in found} == {"fix_and_continue", "fresh_and_restart"}
    own = [row for row in found if row["error_origin"] == "student"]
    texts = {line.id: line.record["text"] for line in graded}
    assert own
    with Grader() as grader:
        for row in found:
            assert grader.grade(row["output"], row["answer"]).correct is True
    for row in own:
        _, end = row["error_span"]
        assert texts[row["id"].rpartition("/")[0]].startswith(row["output"][:end])
    card = (tmp_path / "gsm8k" / "README.md").read_text(encoding="utf-8")
    assert "| sampling | 16 |" in card and "funnel.png" in card
