"""`lemma run` for real: killed at random moments and started again, it ends in the report of an undisturbed run.

LEMMA_KILLS=10 kills it ten times; the default keeps the suite short.
"""

import json
import os
import random
import re
import subprocess
import time
from pathlib import Path

import pytest
from launching import BIN, ROOT, environment
from test_loop import write_run

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("LEMMA_KILLS", "2"))


def lemma_run(recipe: Path, folder: Path, *words: str) -> list[str]:
    return [str(BIN / "lemma"), "run", str(recipe), "--output_dir", str(folder), *words]


def told(folder: Path) -> tuple[str, str]:
    """The figures and the report's tables, without how fast it went."""
    tables = (folder / "report.md").read_text(encoding="utf-8").replace("\\_", "_").replace(str(folder), "")
    kept = [line for line in tables.splitlines() if not re.search(r"second|tokens/s", line)]
    return (folder / "summary.json").read_text(encoding="utf-8"), "\n".join(kept)


def test_killed_at_random_moments_it_ends_in_the_same_report(tiny_llama, tmp_path):
    recipe = write_run(tmp_path, tiny_llama, control="reference")
    undisturbed, killed = tmp_path / "a", tmp_path / "b"
    began = time.monotonic()
    done = subprocess.run(lemma_run(recipe, undisturbed), capture_output=True, text=True, cwd=ROOT, env=environment())
    seconds = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    figures = json.loads((undisturbed / "summary.json").read_text())
    for model, accuracy in figures["accuracy"].items():
        found = json.loads((undisturbed / "evaluate" / model / "results.json").read_text())
        assert found["average"]["accuracy"] == accuracy
    assert "worked solutions" in done.stdout and (undisturbed / "report.html").stat().st_size > 20_000

    moments = random.Random(5)
    died = 0
    while died < KILLS:
        process = subprocess.Popen(lemma_run(recipe, killed), cwd=ROOT, env=environment(), stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=moments.uniform(0.05, 0.6) * seconds * min(1.0, 3 / KILLS))  # or few would be alive
            break  # it came to its end before the moment did
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            died += 1
    again = subprocess.run(lemma_run(recipe, killed), capture_output=True, text=True, cwd=ROOT, env=environment())
    assert again.returncode == 0, again.stderr
    print(f"killed {died} times; undisturbed {seconds:.0f} s")
    assert died and told(killed) == told(undisturbed)

    listed = subprocess.run(lemma_run(recipe, killed, "--list"), capture_output=True, text=True, cwd=ROOT).stdout
    assert {line.split()[0] for line in listed.splitlines()} == {"done"}
    # A change of one step's inputs does that step and what rests on it again, and nothing else.
    changed = lemma_run(recipe, killed, "--list", "--overrides.evaluate.model.max_tokens", "5")
    listed = subprocess.run(changed, capture_output=True, text=True, cwd=ROOT).stdout.splitlines()
    assert [line.split()[-1] for line in listed if line.startswith("to do")] == [
        *("evaluate-base", "evaluate-lemma_seed-7", "evaluate-control_seed-7"),
    ]
