"""How fast is training beside LLaMA-Factory and `trl sft`, at the same loss? Run by hand:

    benchmarks/install_llamafactory.sh
    python benchmarks/training_speed.py GSM8K_TRAIN.jsonl OUT [--lora] [--rows 256] [--pairs 3] [--processes 1]

All three train SmolLM2-135M on the same rows with the same number of steps, batch, AdamW, learning rate, clipping and
precision, one after the other, round after round, each in an environment of its own. Supervised tokens are counted
from each one's own labels. The first step stands apart; the speed is the median of the steps after it, because on a
machine that does anything else single steps take several times as long (the mean is in the JSON). What each has
trained is then put to the same test: the mean loss of 64 rows that none has seen.

OUT keeps every run: a call goes on where an earlier one stopped. `--at-most N` ends after N runs, so that a machine
that is shared can be given back between them. `--trainers ours` with `--name` and `--ours` compares our own keys:

    python benchmarks/training_speed.py GSM8K OUT --trainers ours --name trl_head --ours "--supervised_head false"
"""

import argparse
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from training_rows import HELD_OUT_ROWS, Row, gsm8k_rows, long_rows, write_rows
from training_runs import TRAINERS, Job, arguments

ROOT = Path(__file__).resolve().parents[1]
METER = Path(__file__).with_name("training_meter.py")


def main() -> None:
    options = read_options()
    rows, held_out = read_rows(options)
    eos = json.loads((options.model / "tokenizer_config.json").read_text(encoding="utf-8"))["eos_token"]
    data = options.out / "rows"
    if not data.exists():
        write_rows(data, rows, eos)
    started = 0
    for number in range(1, options.pairs + 1):
        order = options.trainers if number % 2 else options.trainers[::-1]  # none is always the one that warms up
        for trainer in order:
            folder = options.out / f"{number}-{trainer}{options.name and '-' + options.name}"
            if (folder / "run.json").exists():
                continue
            if options.at_most is not None and started >= options.at_most:
                return
            started += 1
            measured = measure(options, trainer, folder, data, held_out)
            (folder / "run.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
            print(f"{folder.name}: {measured['supervised_per_second']:.0f} supervised tokens/s", flush=True)
    summary = summarise(options)
    (options.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(table(summary))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("gsm8k", type=Path, help="GSM8K's training rows (question, answer)")
    parser.add_argument("out", type=Path, help="a folder for runs and results")
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "smollm2-135m")
    parser.add_argument("--trainers", nargs="+", choices=TRAINERS, default=list(TRAINERS))
    parser.add_argument("--lora", action="store_true")
    parser.add_argument("--long", action="store_true", help="long trajectories instead of GSM8K's rows")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--pairs", type=int, default=3, help="rounds of all trainers")
    parser.add_argument("--processes", type=int, choices=(1, 2), default=1)
    parser.add_argument("--micro-batch", type=int, default=4)
    parser.add_argument("--accumulation", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=1e-5)
    parser.add_argument("--peers-checkpoint", action="store_true", help="the peers' own default, on, instead of off")
    parser.add_argument("--llamafactory", type=Path, default=ROOT / ".venv-llamafactory", help="its environment")
    parser.add_argument("--at-most", type=int, help="end after so many runs")
    parser.add_argument("--ours", default="", help="further --key value arguments for our run")
    parser.add_argument("--name", default="", help="a name for runs with such arguments")
    return parser.parse_args()


def read_rows(options: argparse.Namespace) -> tuple[list[Row], list[Row]]:
    read = long_rows if options.long else gsm8k_rows
    held_out = gsm8k_rows(options.gsm8k, HELD_OUT_ROWS, 7000)
    return read(options.gsm8k, options.rows), held_out


def measure(options: argparse.Namespace, trainer: str, folder: Path, data: Path, held_out: list[Row]) -> dict[str, Any]:
    """One run of one trainer, and the loss of what it trained."""
    shutil.rmtree(folder, ignore_errors=True)
    batch = options.micro_batch * options.accumulation * options.processes
    job = Job(
        options.model,
        data,
        folder,
        options.lora,
        options.rows // batch,
        options.micro_batch,
        options.accumulation,
        options.processes,
        options.learning_rate,
        options.peers_checkpoint,
    )
    python = options.llamafactory / "bin" / "python" if trainer == "llamafactory" else Path(sys.executable)
    launcher = [str(python)]
    if options.processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={options.processes}"]
    result = folder / "meter.json"
    command = [*launcher, str(METER), str(result), trainer, *arguments(job, trainer, shlex.split(options.ours))]
    threads = max(1, (os.cpu_count() or 1) // options.processes)
    environ = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "TRL_EXPERIMENTAL_SILENCE": "1",
        "HF_HOME": str(folder / "cache"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "cache" / "inductor"),  # each run compiles for itself
        "OMP_NUM_THREADS": str(threads),
    }
    load = os.getloadavg()[0]
    with (folder / "log.txt").open("w") as log:
        done = subprocess.run(command, cwd=ROOT, env=environ, stdout=log, stderr=subprocess.STDOUT, check=False)
    if done.returncode or not result.exists():
        raise SystemExit(f"{trainer} ended with {done.returncode}; see {folder / 'log.txt'}")
    noted = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("meter.json*"))]
    model = next(f for f in (folder / "model" / "final", folder / "model") if (f / "tokenizer_config.json").exists())
    loss = held_out_loss(options.model, model, options.lora, held_out) if held_out else None
    shutil.rmtree(folder / "model")
    shutil.rmtree(folder / "cache", ignore_errors=True)
    return {"trainer": trainer, "load_before": load, "held_out_loss": loss, **figures(noted)}


def figures(noted: list[dict[str, Any]]) -> dict[str, Any]:
    """Of what the ranks noted: times by the first rank, tokens of all of them, the first step apart."""
    first = noted[0]
    ends, began = first["step_ends"], first["train_began"]
    by_step = zip(*(rank["tokens"] for rank in noted), strict=True)
    tokens = [[sum(counts) for counts in zip(*ranks, strict=True)] for ranks in by_step]
    spans = [later - earlier for earlier, later in pairwise(ends)]
    steady = list(zip(spans, tokens[1:], strict=True))
    _, real, padded = (sum(step[i] for step in tokens[1:]) for i in range(3))
    return {
        "steps": len(ends),
        "start_seconds": round(began, 2),
        "first_step_seconds": round(ends[0] - began, 2),
        "steady_seconds": round(sum(spans), 2),
        "supervised_per_second": round(statistics.median(step[0] / span for span, step in steady), 1),
        "tokens_per_second": round(statistics.median(step[1] / span for span, step in steady), 1),
        "mean_supervised_per_second": round(sum(step[0] for step in tokens[1:]) / sum(spans), 1),
        "padding_share": round(1 - real / padded, 4),
        "supervised_tokens": sum(step[0] for step in tokens),
        "tokens": sum(step[1] for step in tokens),
        "train_loss": round(statistics.fmean(first["losses"]), 5),
        "losses": first["losses"],
        "peak_rss_gib": round(max(n["peak_rss_gib"] for n in noted), 2),
    }


def held_out_loss(base: Path, folder: Path, lora: bool, rows: list[Row]) -> float:
    """Mean negative log-likelihood a supervised token, in fp32, whoever trained the model."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from lemma_train.template import Renderer

    model = AutoModelForCausalLM.from_pretrained(base if lora else folder, dtype=torch.float32)
    if lora:
        model = PeftModel.from_pretrained(model, str(folder))
    renderer = Renderer(AutoTokenizer.from_pretrained(base))
    total, count = 0.0, 0
    with torch.no_grad():
        for question, answer in rows:
            row = renderer.encode(question, answer)
            labels = torch.tensor([row.labels])
            supervised = int((labels != -100).sum())
            total += float(model.eval()(torch.tensor([row.input_ids]), labels=labels).loss) * supervised
            count += supervised
    return round(total / count, 5)


def summarise(options: argparse.Namespace) -> dict[str, Any]:
    """Medians over the rounds, and the speed-up over each peer as the median of the rounds' own ratios."""
    runs = [
        json.loads(file.read_text(encoding="utf-8")) | {"run": file.parent.name}
        for file in sorted(options.out.glob("*/run.json"))
    ]
    setting = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    found: dict[str, Any] = {"setting": setting, "trainers": {}, "runs": runs}
    named: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        named.setdefault(run["run"].partition("-")[2], []).append(run)
    ours = {run["run"].partition("-")[0]: run for run in named.get("ours", ())}
    for name, own in named.items():
        entry = {
            key: round(statistics.median(run[key] for run in own), 5)
            for key in (
                "supervised_per_second",
                "tokens_per_second",
                "mean_supervised_per_second",
                "padding_share",
                "first_step_seconds",
                "train_loss",
                "held_out_loss",
                "peak_rss_gib",
                "supervised_tokens",
            )
        }
        ratios = [
            ours[number]["supervised_per_second"] / run["supervised_per_second"]
            for run in own
            if (number := run["run"].partition("-")[0]) in ours
        ]
        if ratios and name != "ours":
            entry["ours_is_faster_by"] = round(statistics.median(ratios), 3)
            entry["in_each_round"] = [round(ratio, 3) for ratio in ratios]
        found["trainers"][name] = entry
    return found


def table(summary: dict[str, Any]) -> str:
    lines = [
        "trainer                 supervised tok/s   all tok/s  padding  first step  train loss  held-out  GiB   ours"
    ]
    for name, entry in summary["trainers"].items():
        faster = f"{entry['ours_is_faster_by']:.2f} x" if "ours_is_faster_by" in entry else ""
        lines.append(
            f"{name:<24}{entry['supervised_per_second']:>16.1f}{entry['tokens_per_second']:>12.1f}"
            f"{entry['padding_share']:>9.1%}{entry['first_step_seconds']:>10.1f} s{entry['train_loss']:>12.4f}"
            f"{entry['held_out_loss']:>10.4f}{entry['peak_rss_gib']:>6.2f}{faster:>8}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
