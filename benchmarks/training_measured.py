"""One run of one trainer, timed in its own environment, and the loss of what it has trained.

Enters: a `Job`. Leaves: the run's figures, kept in run.json of its folder beside everything that the trainer was told,
so that a later call can tell whether that run is the one it asks for.
"""

import hashlib
import json
import os
import shutil
import statistics
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

from training_rows import Row
from training_runs import Job, arguments, told

ROOT = Path(__file__).resolve().parents[1]
METER = Path(__file__).with_name("training_meter.py")


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def kept(job: Job) -> dict[str, Any] | None:
    """The figures of an earlier call's run in the job's folder, None where there is none.

    Raises:
        SystemExit: that run was told something else.
    """
    file = job.out / "run.json"
    if not file.exists():
        return None
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    then, now = found.get("told"), told(job)
    if then is None:
        raise SystemExit(f"{job.out} does not say how it was run (an older version wrote it): name another OUT.")
    differing = [key for key in {**then, **now} if then.get(key) != now.get(key)]
    if differing:
        first = differing[0]
        raise SystemExit(
            f"{job.out} was run with other settings ({', '.join(differing)}; {first}: {then.get(first)}, now "
            f"{now.get(first)}): name another OUT, or delete that folder."
        )
    return found


def measure(job: Job, held_out: list[Row]) -> dict[str, Any]:
    """Run the job anew and keep its figures; without held-out rows what it has trained is not tested.

    Raises:
        SystemExit: the trainer failed; its output is in log.txt of the job's folder.
    """
    shutil.rmtree(job.out, ignore_errors=True)
    launcher = [str(job.python)]
    if job.processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={job.processes}"]
    result, log = job.out / "meter.json", job.out / "log.txt"
    job.out.mkdir(parents=True)
    command = [*launcher, str(METER), str(result), job.trainer, *arguments(job)]
    environ = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "TRL_EXPERIMENTAL_SILENCE": "1",
        "HF_HOME": str(job.out / "cache"),
        "TORCHINDUCTOR_CACHE_DIR": str(job.out / "cache" / "inductor"),  # each run compiles for itself
        "OMP_NUM_THREADS": str(max(1, cores() // job.processes)),
    }
    load = os.getloadavg()[0]
    with log.open("w", encoding="utf-8") as stream:
        done = subprocess.run(command, cwd=ROOT, env=environ, stdout=stream, stderr=subprocess.STDOUT, check=False)
    if done.returncode or not result.exists():
        raise SystemExit(f"{job.trainer} ended with {done.returncode}; see {log}")
    noted = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(job.out.glob("meter.json*"))]
    model = next(f for f in (job.out / "model" / "final", job.out / "model") if (f / "tokenizer_config.json").exists())
    base, adapter = (job.model, model) if job.lora else (model, None)
    loss = held_out_loss(base, adapter, job.model, held_out) if held_out else None
    shutil.rmtree(job.out / "model")
    shutil.rmtree(job.out / "cache", ignore_errors=True)
    measured = {"told": told(job), "load_before": load, "held_out_loss": loss, **figures(noted)}
    (job.out / "run.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    return measured


def figures(noted: list[dict[str, Any]]) -> dict[str, Any]:
    """Of what the ranks noted: times by the first rank, tokens of all of them, the first step apart.

    start_seconds: from the start of Python to the first step. whole_seconds: to the end of the last one.
    """
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
        "whole_seconds": round(ends[-1], 2),
        "supervised_per_second": round(statistics.median(step[0] / span for span, step in steady), 1),
        "tokens_per_second": round(statistics.median(step[1] / span for span, step in steady), 1),
        "mean_supervised_per_second": round(sum(step[0] for step in tokens[1:]) / sum(spans), 1),
        "padding_share": round(1 - real / padded, 4),
        "supervised_tokens": sum(step[0] for step in tokens),
        "tokens": sum(step[1] for step in tokens),
        "train_loss": round(statistics.fmean(first["losses"]), 5),
        "losses": first["losses"],
        "peak_rss_gib": round(max(rank["peak_rss_gib"] for rank in noted), 2),
        "environment": first["environment"],
    }


def base_loss(file: Path, model: Path, held_out: list[Row]) -> float:
    """The held-out loss of the model that no one has trained, worked out once and kept in `file`."""
    asked = {"model": str(model), "rows": hashlib.sha256(json.dumps(held_out).encode()).hexdigest()[:16]}
    if file.exists():
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if asked.items() <= found.items():
            return float(found["held_out_loss"])
    loss = held_out_loss(model, None, model, held_out)
    file.write_text(json.dumps(asked | {"held_out_loss": loss}, indent=1) + "\n", encoding="utf-8")
    return loss


def held_out_loss(model: Path, adapter: Path | None, tokenizer: Path, rows: list[Row]) -> float:
    """Mean negative log-likelihood a supervised token, in fp32, whoever trained the model."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from lemma_train.template import Renderer

    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    if adapter is not None:
        from peft import PeftModel

        loaded = PeftModel.from_pretrained(loaded, str(adapter))
    loaded.eval()
    renderer = Renderer(AutoTokenizer.from_pretrained(tokenizer))
    total, count = 0.0, 0
    with torch.no_grad():
        for question, answer in rows:
            row = renderer.encode(question, answer)
            labels = torch.tensor([row.labels])
            supervised = int((labels != -100).sum())
            total += float(loaded(torch.tensor([row.input_ids]), labels=labels).loss) * supervised
            count += supervised
    return round(total / count, 5)
