"""How long until the first answer? Run by hand:

    python benchmarks/start_up.py [--runs 5] [--json FILE] [--llamafactory FOLDER]

New processes, one after the other and round after round: `lemma --help`, `lemma plan`, `lemma prepare` that finds its
rows prepared, and a training of SmolLM2-135M up to the end of its first step of two short rows, with its rows prepared,
started by `accelerate launch` and, as a single process may be, by Python itself. With `--llamafactory` its own
`version` and `trl --help` stand beside them. Medians.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lemma_train.training.progress import METRICS_FILE, read_metrics

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.prefix) / "bin"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "smollm2-135m")
    parser.add_argument("--llamafactory", type=Path, help="its environment")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        for _ in range(options.runs):
            for words, measure in subjects(options, Path(name)).items():
                found.setdefault(words, []).append(round(measure(), 3))
    print("| | seconds (median) | all |\n| --- | ---: | --- |")
    for words, seconds in found.items():
        print(f"| {words} | {statistics.median(seconds):.2f} | {', '.join(f'{s:.2f}' for s in seconds)} |")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def subjects(options: argparse.Namespace, folder: Path) -> dict[str, Callable[[], float]]:
    lemma = [sys.executable, "-m", "lemma_train.cli"]
    recipe = folder / "recipe.yaml"
    if not recipe.exists():
        write_recipe(recipe, options.model)
        subprocess.run([*lemma, "prepare", str(recipe)], check=True, stdout=subprocess.DEVNULL)
    script = str(ROOT / "lemma_train" / "sft.py")
    launch = [str(BIN / "accelerate"), "launch", "--num_processes", "1", "--cpu", script, str(recipe)]
    found: dict[str, Callable[[], float]] = {
        "`lemma --help`": lambda: ended([*lemma, "--help"]),
        "`lemma plan recipes/llama3_8b.yaml`": lambda: ended([*lemma, "plan", str(ROOT / "recipes/llama3_8b.yaml")]),
        "`lemma prepare`, rows prepared": lambda: ended([*lemma, "prepare", str(recipe)]),
        "first step, `accelerate launch lemma_train/sft.py`": lambda: first_step(launch, folder / "out"),
        "first step, `python lemma_train/sft.py`": lambda: first_step(
            [sys.executable, script, str(recipe)], folder / "out"
        ),
    }
    if options.llamafactory:
        theirs = str(options.llamafactory / "bin" / "llamafactory-cli")
        found["`llamafactory-cli version`"] = lambda: ended([theirs, "version"])
        found["`trl --help`"] = lambda: ended([str(BIN / "trl"), "--help"])
    return found


def write_recipe(recipe: Path, model: Path) -> None:
    rows = recipe.with_name("rows.jsonl")
    lines = [json.dumps({"question": f"What is {i} + 1?", "answer": f"It is {i + 1}."}) for i in range(8)]
    rows.write_text("\n".join(lines) + "\n", encoding="utf-8")
    values = {
        "model_name_or_path": str(model),
        "train_files": str(rows),
        "output_dir": str(recipe.with_name("out")),
        "resume": "never",
        "max_steps": 50,
        "per_device_train_batch_size": 2,
        "logging_steps": 1,
        "save_strategy": "no",
        "use_cpu": True,
        "bf16": True,
        "activation_checkpointing": False,
    }
    recipe.write_text(json.dumps(values), encoding="utf-8")


def ended(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def first_step(command: list[str], out: Path) -> float:
    """Until the first step is logged; the run is ended then."""
    for leftover in out.glob("*.json*"):
        leftover.unlink()
    began = time.perf_counter()
    started = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while not any(line.get("step") for line in read_metrics(out / METRICS_FILE)):
            if started.poll() is not None:
                raise SystemExit(f"{' '.join(command)} ended with {started.returncode} before its first step.")
            time.sleep(0.05)
        return time.perf_counter() - began
    finally:
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()


if __name__ == "__main__":
    main()
