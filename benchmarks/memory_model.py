"""Is `lemma plan`'s model of memory right? Run by hand: python benchmarks/memory_model.py [--json FILE] [SHAPE ...]

Small Llamas are trained by the real trainer on CPUs, alone and on two ranks, under ZeRO-2, ZeRO-3 and data parallelism;
memory_measured.py records every allocation. What the plan of the same recipe says for CPUs is set against that:
model state within 5%, the peak of training within 25%. Takes about half an hour on two cores.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from memory_runs import LENGTH, SHAPES, recipe_values, write_model, write_rows

from lemma_train.training.plan import Hardware, make_plan
from lemma_train.training.plan_launch import find_launch
from lemma_train.training.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[1]
STATE_WITHIN, PEAK_WITHIN = 0.05, 0.25
MIB = 2**20
# Accelerate configuration and number of ranks.
LAUNCHES = (
    ("cpu_zero3", 2),
    ("cpu_zero3", 1),
    ("cpu_zero2", 2),
    ("cpu_zero2", 1),
    ("cpu", 1),
    ("cpu_ddp", 2),
)


@dataclass(frozen=True)
class Compared:
    """Bytes predicted and measured, of the fuller rank."""

    shape: str
    launch: str
    ranks: int
    state_predicted: float
    state_measured: float
    peak_predicted: float
    peak_measured: float

    @property
    def state_off(self) -> float:
        return self.state_predicted / self.state_measured - 1

    @property
    def peak_off(self) -> float:
        return self.peak_predicted / self.peak_measured - 1

    @property
    def right(self) -> bool:
        return abs(self.state_off) <= STATE_WITHIN and abs(self.peak_off) <= PEAK_WITHIN


def compare(name: str, launch: str, ranks: int, folder: Path) -> Compared:
    """Train one shape under one launch and set the plan against it."""
    shape, model, rows = SHAPES[name], folder / name.replace(" ", "_"), folder / "rows.jsonl"
    if not model.exists():
        write_model(model, shape)
    write_rows(rows, LENGTH)
    tag = f"{model.name}-{launch}-{ranks}"
    recipe_file = folder / f"{tag}.yaml"
    values = recipe_values(model, rows, folder / tag, shape, zero="zero" in launch)
    recipe_file.write_text(yaml.safe_dump(values), encoding="utf-8")
    config = ROOT / "accelerate_configs" / f"{launch}.yaml"
    measured = _measure(recipe_file, config, ranks, folder / tag)
    recipe = load_recipe(recipe_file)
    plan = make_plan(recipe, find_launch(recipe, ranks, config), Hardware())
    fuller = max(measured, key=lambda rank: rank["peak_training"])
    return Compared(
        shape=name,
        launch=launch,
        ranks=ranks,
        state_predicted=plan.memory.state_bytes,
        state_measured=sum(fuller["state"].values()),
        peak_predicted=plan.memory.peak_bytes,
        peak_measured=fuller["peak_training"],
    )


def _measure(recipe: Path, config: Path, ranks: int, out: Path) -> list[dict[str, Any]]:
    if len(files := sorted(out.parent.glob(f"{out.name}.*.json"))) == ranks:
        return [json.loads(file.read_text(encoding="utf-8")) for file in files]
    launcher = [Path(sys.executable).with_name("accelerate"), "launch", "--config_file", config]
    command = [*launcher, "--num_processes", str(ranks), ROOT / "benchmarks" / "memory_measured.py", recipe, out]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # DeepSpeed looks for ninja on it
    environment = {**os.environ, "PATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=ROOT, env=environment)
    files = sorted(out.parent.glob(f"{out.name}.*.json"))
    if done.returncode or len(files) != ranks:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{done.stderr[-4000:]}")
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def table(results: list[Compared]) -> str:
    """Markdown."""
    lines = [
        "| shape | launch | ranks | state, MiB: plan | measured | off | peak, MiB: plan | measured | off |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        state = f"{r.state_predicted / MIB:.1f} | {r.state_measured / MIB:.1f} | {r.state_off:+.1%}"
        peak = f"{r.peak_predicted / MIB:.0f} | {r.peak_measured / MIB:.0f} | {r.peak_off:+.0%}"
        lines.append(f"| {r.shape} | {r.launch} | {r.ranks} | {state} | {peak} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shapes", nargs="*", default=list(SHAPES), help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--launch", action="append", help="one of the configurations alone, such as cpu_zero3")
    parser.add_argument("--folder", type=Path, help="keep models and measurements here, and take up earlier ones")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    args = parser.parse_args()
    results = []
    if args.folder is not None:
        args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name in args.shapes:
            for launch, ranks in LAUNCHES:
                if args.launch is None or launch in args.launch:
                    results.append(compare(name, launch, ranks, args.folder or Path(scratch)))
                    print(table(results).splitlines()[-1], flush=True)
    print(table(results))
    if args.json:
        args.json.write_text(json.dumps([vars(result) for result in results], indent=1) + "\n", encoding="utf-8")
    wrong = [result for result in results if not result.right]
    if wrong:
        sys.exit(f"{len(wrong)} of {len(results)} are off by more than 5% of the state or 25% of the peak.")


if __name__ == "__main__":
    main()
