"""Writes recipes and starts training runs for the tests, in this process or through a real launcher."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent

# Numbers that make a run short and exact: fp32, no schedule tricks, every step logged.
SMALL = {
    "learning_rate": 1e-3,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 1,
    "max_steps": 4,
    "logging_steps": 1,
    "save_strategy": "no",
    "bf16": False,
    "activation_checkpointing": False,
    "use_cpu": True,
    "report_to": "none",
    "disable_tqdm": True,
    "seed": 7,
}


def write_rows(path: Path, count: int = 24, **extra) -> Path:
    rows = [
        {
            "instruction": f"What is {i} + {i + 3}?",
            "output": f"We add {i} and {i + 3}." + " Slowly." * (i % 5) + f" {i} + {i + 3} = {2 * i + 3}.",
            **extra,
        }
        for i in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_recipe(folder: Path, model: Path, rows: Path | None = None, **keys) -> Path:
    rows = rows or write_rows(folder / "rows.jsonl")
    values = {
        "model_name_or_path": str(model),
        "train_files": str(rows),
        "output_dir": str(folder / "out"),
        **SMALL,
        **keys,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in values.items() if v is not ...}), encoding="utf-8")
    return path


def command(recipe: Path, *overrides: str, config: str | None = None, processes: int | None = None) -> list[str]:
    script = [str(ROOT / "lemma_train" / "sft.py"), str(recipe), *map(str, overrides)]
    if config is None:
        return [sys.executable, *script]
    launcher = [str(BIN / "accelerate"), "launch", "--config_file", str(ROOT / "accelerate_configs" / config)]
    return [*launcher, *(["--num_processes", str(processes)] if processes else []), *script]


def environment(**extra: str) -> dict[str, str]:
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"  # DeepSpeed looks for ninja on it
    return {**os.environ, "PATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **extra}


def run(
    recipe: Path, *overrides: str, config: str | None = None, processes: int | None = None, **env: str
) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(recipe, *overrides, config=config, processes=processes),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(**env),
        timeout=600,
        check=False,
    )


def run_and_kill(recipe: Path, *overrides: str, until, config: str | None = None) -> None:
    """Start a run and SIGKILL the launcher once `until()` is true; its ranks must go with it."""
    with subprocess.Popen(
        command(recipe, *overrides, config=config),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 600
        while not until():
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline, "the run never came to the point where it was to be killed"
            time.sleep(0.02)
        process.kill()


def run_and_signal(
    recipe: Path, *overrides: str, until, send, config: str | None = None, **env: str
) -> subprocess.CompletedProcess:
    """Start a run, give its ranks' process ids to `send(ranks)` once `until()` is true, and wait for its end."""
    with tempfile.TemporaryFile("w+") as output:
        with subprocess.Popen(
            command(recipe, *overrides, config=config),
            cwd=ROOT,
            env=environment(**env),
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process:
            deadline = time.monotonic() + 300
            while not until():
                assert process.poll() is None, "the run ended before it could be signalled"
                assert time.monotonic() < deadline, "the run never came to the point where it was to be signalled"
                time.sleep(0.01)
            send(ranks_of(process.pid) if config else [process.pid])
            try:
                process.wait(timeout=300)
            finally:
                process.kill()
        output.seek(0)
        return subprocess.CompletedProcess([], process.returncode, "", output.read())


def ranks_of(launcher: int) -> list[int]:
    """The process ids of a launcher's children that are ranks, in the order of their ranks."""
    found = {}
    for child in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        rank = [entry.removeprefix(b"RANK=") for entry in variables if entry.startswith(b"RANK=")]
        if rank:
            found[int(rank[0])] = int(child)
    return [found[rank] for rank in sorted(found)]


def metrics(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in metrics(folder) if "loss" in line]
