"""`lemma ablate` for real: a failed cell does not end it, done cells are not trained twice, a stop loses nothing."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from launching import BIN, ROOT, environment, metrics, write_recipe

pytestmark = pytest.mark.slow

BENCHMARK = {"source": "generated", "kind": "word_sums", "size": 4, "seed": 3, "label": "sums"}


def ablation_recipe(folder: Path, model: Path, **keys) -> Path:
    write_recipe(folder, model, use_peft=True, save_strategy="steps", save_steps=2)
    asked = {"engine": "transformers", "model": "replaced", "dtype": "float32", "max_tokens": 4}
    evaluation = {"model": asked, "benchmarks": [BENCHMARK], "output_dir": "replaced"}
    (folder / "sums.yaml").write_text(yaml.safe_dump(evaluation))
    values = {
        "recipe": str(folder / "recipe.yaml"),
        "output_dir": str(folder / "cells"),
        "grid": {"lora_r": [2, 4, 8], "learning_rate": [1.0e-3]},
        "evaluate": str(folder / "sums.yaml"),
        **keys,
    }
    path = folder / "ablation.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def ablate(recipe: Path, *words: str) -> subprocess.CompletedProcess:
    command = [str(BIN / "lemma"), "ablate", str(recipe), *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=600)


def test_a_failed_cell_is_named_and_the_others_go_on(tiny_llama, tmp_path):
    recipe, cells = ablation_recipe(tmp_path, tiny_llama), tmp_path / "cells"
    failing = "lora_r-4_learning_rate-0.001_seed-7"
    (cells / failing).mkdir(parents=True)
    (cells / failing / "checkpoint-2").write_text("in the way of the first checkpoint")
    done = ablate(recipe)
    assert done.returncode == 1, done.stderr
    assert f"{failing}: FAILED: status " in done.stderr and f"FAILED: {failing}: status " in done.stdout
    told = json.loads((cells / "ablation.json").read_text())
    assert told["failed"] == [failing] and told["missing"] == [] and told["best"] not in (None, failing)
    assert [cell["figures"].get("sums.accuracy") is None for cell in told["cells"]] == [False, True, False]
    assert (cells / "ablation.png").stat().st_size > 10_000 and done.stdout.count("\n| lora_r-") == 3
    best = yaml.safe_load((cells / "best.yaml").read_text())
    assert best["lora_r"] == next(cell for cell in told["cells"] if cell["name"] == told["best"])["values"]["lora_r"]

    (cells / failing / "checkpoint-2").unlink()
    weights = {file: file.stat().st_mtime_ns for file in cells.glob("*/final/adapter_model.safetensors")}
    assert len(weights) == 2
    again = ablate(recipe)
    assert again.returncode == 0, again.stderr
    assert "2 of 3 runs are done; 1 to train." in again.stderr and "[1/1]" in again.stderr
    assert {file: file.stat().st_mtime_ns for file in weights} == weights  # not trained twice
    listed = subprocess.run([str(BIN / "lemma"), "ablate", str(recipe), "--list"], capture_output=True, text=True)
    assert [line.split()[1] for line in listed.stdout.splitlines()] == ["done"] * 3


def test_a_stop_makes_a_checkpoint_and_the_next_start_goes_on_from_it(tiny_llama, tmp_path):
    recipe = ablation_recipe(
        tmp_path,
        tiny_llama,
        grid={"lora_r": [2]},
        overrides={"max_steps": 40, "save_steps": 1000, "eval_fraction": 0.2, "eval_strategy": "epoch"},
        evaluate=[],
        measure="eval_loss",
    )
    folder = tmp_path / "cells" / "lora_r-2_seed-7"
    command = [str(BIN / "lemma"), "ablate", str(recipe)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 600
    while not ((folder / "metrics.jsonl").exists() and len(metrics(folder)) >= 3):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    os.kill(process.pid, signal.SIGTERM)  # SLURM may send it twice
    stderr = process.communicate(timeout=120)[1]
    assert process.returncode == 1 and "was stopped by SIGTERM; start the same command again" in stderr
    step = json.loads((folder / "stopped.json").read_text())["step"]
    assert 3 <= step < 40 and (folder / f"checkpoint-{step}").is_dir()
    assert not (folder / "ablation_run.json").exists()
    done = ablate(recipe, "--only", "0")
    assert done.returncode == 0, done.stderr
    assert f"Resuming from {folder}/checkpoint-{step}." in (folder / "train.log").read_text()
    gathered = ablate(recipe, "--gather")
    assert gathered.returncode == 0 and "| lora_r-2 (best) |" in gathered.stdout


def test_a_killed_ablation_leaves_no_run_behind(tiny_llama, tmp_path):
    recipe = ablation_recipe(tmp_path, tiny_llama, grid={"lora_r": [2]}, overrides={"max_steps": 100_000})
    folder = tmp_path / "cells" / "lora_r-2_seed-7"
    process = subprocess.Popen([str(BIN / "lemma"), "ablate", str(recipe)], cwd=ROOT, env=environment())
    deadline = time.monotonic() + 600
    while not (folder / "metrics.jsonl").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    time.sleep(2)
    length = (folder / "metrics.jsonl").stat().st_size
    time.sleep(1)
    assert (folder / "metrics.jsonl").stat().st_size == length
