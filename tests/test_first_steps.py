"""The path of docs/first_steps.md as a newcomer walks it: own lines, own commands, a table of 50 questions, a report.

The page's commands are run as they stand, with options added that make the run short: a model of two layers in place of
SmolLM2, the rule-based student, two steps of training, short answers.
"""

import csv
import json
import subprocess
from pathlib import Path

import pytest
from documented_commands import Command, commands, files_that_a_page_writes
from launching import BIN, ROOT, environment

from lemma_train.problem_generators import generate

pytestmark = pytest.mark.slow


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A folder like a checkout, with the files that the page writes, filled up with generated questions."""
    for entry in ROOT.iterdir():
        if entry.name not in ("data", "outputs") and not entry.name.startswith("."):
            (tmp_path / entry.name).symlink_to(entry)
    subprocess.run(["bash", "-euc", files_that_a_page_writes("first_steps.md")], cwd=tmp_path, check=True)
    problems = generate("word_sums", 46, seed=3)
    for name, part in (("train", problems[:37]), ("test", problems[37:])):
        with (tmp_path / f"data/mine/{name}.csv").open("a", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            for problem in part:
                worked = problem.solution.rpartition("The answer is")[0].strip()
                rows.writerow([problem.question, f"{worked}\n#### {problem.answer}"])
    return tmp_path


def walk(command: Command, checkout: Path, *more: str) -> str:
    done = subprocess.run(
        [str(BIN / command.words[0]), *command.words[1:], *more],
        cwd=checkout,
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=540,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def test_a_table_of_ones_own_leads_to_a_model_and_a_report(checkout, tiny_llama):
    steps = [c for c in commands() if c.page == "first_steps.md" and c.words[0] in ("lemma", "accelerate")]
    prepare, train, evaluate, report, states, run, plan = steps
    short = ("--model_name_or_path", str(tiny_llama), "--max_steps", "2")
    assert "rejected           0" in walk(prepare, checkout, *short)
    walk(train, checkout, *short)
    assert (checkout / "outputs/mine/final/model.safetensors").is_file()
    walk(evaluate, checkout)
    walk(report, checkout)
    measured = json.loads((checkout / "outputs/evaluate/mine/results.json").read_text(encoding="utf-8"))
    assert measured["model"] == "outputs/mine/final" and measured["benchmarks"]["test"]["questions"] == 10
    assert (checkout / "outputs/evaluate/mine.html").is_file()

    assert walk(states, checkout).count("to do") == 8
    options = {
        "collect.student": "{engine: offline}",
        "train.model_name_or_path": str(tiny_llama),
        "train.max_steps": "2",
        "evaluate.model.max_tokens": "8",
    }
    told = walk(run, checkout, *(word for key, value in options.items() for word in (f"--overrides.{key}", value)))
    folder = checkout / "outputs/run/mine"
    assert "Report:" in told and (folder / "report.html").is_file()
    rows = [json.loads(line) for line in (folder / "collect/dataset.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["strategy"] for row in rows} == {"fix_and_continue", "fresh_and_restart"} and len(rows) > 40
    results = json.loads((folder / "evaluate/base/results.json").read_text(encoding="utf-8"))
    assert results["benchmarks"]["test"]["questions"] == 10
    assert "fits" in walk(plan, checkout)
