"""One trainer, run in its own environment with a stopwatch: started by benchmarks/training_speed.py, not by hand.

    python training_meter.py OUT.json ours|trl|llamafactory ARGUMENT...

Enters: the arguments that the trainer's own command line would get. Leaves: OUT.json (OUT.json.1 of a second process)
with the end of each step, the tokens that went into it, counted from the batches themselves, the logged losses, and
the processor and releases it ran with.
Every trainer here is a subclass of transformers' Trainer, so the same few lines watch all of them. It needs nothing of
lemma_train, because two of the three run where that is not installed.
"""

import importlib.metadata
import json
import os
import platform
import resource
import runpy
import sys
import time
from pathlib import Path
from typing import Any

BEGAN = time.perf_counter()
PACKAGES = ("torch", "transformers", "trl", "llamafactory")


def watch(out: Path) -> None:
    """Patch transformers' Trainer so that it notes times, tokens and losses, and writes them when training ends."""
    from transformers import Trainer, TrainerCallback

    noted: dict[str, Any] = {"step_ends": [], "losses": [], "tokens": [[0, 0, 0]]}
    real_init, real_step = Trainer.__init__, Trainer.training_step

    class Clock(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            noted["train_began"] = time.perf_counter() - BEGAN

        def on_step_end(self, *_: Any, **__: Any) -> None:
            noted["step_ends"].append(time.perf_counter() - BEGAN)
            noted["tokens"].append([0, 0, 0])

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **__: Any) -> None:
            if logs and "loss" in logs:
                noted["losses"].append(float(logs["loss"]))

        def on_train_end(self, *_: Any, **__: Any) -> None:
            noted["peak_rss_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            noted["tokens"].pop()
            noted["environment"] = environment()
            rank = os.environ.get("RANK", "0")
            target = out if rank == "0" else out.with_name(f"{out.name}.{rank}")
            target.write_text(json.dumps(noted), encoding="utf-8")

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        real_init(self, *args, **kwargs)
        self.add_callback(Clock())

    def training_step(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        labels, mask = inputs["labels"], inputs.get("attention_mask")
        counts = noted["tokens"][-1]
        counts[0] += int((labels[:, 1:] != -100).sum())
        counts[1] += labels.numel() if mask is None else int((mask > 0).sum())
        counts[2] += labels.numel()
        return real_step(self, model, inputs, *args, **kwargs)

    Trainer.__init__, Trainer.training_step = __init__, training_step  # type: ignore[method-assign]


def environment() -> dict[str, Any]:
    """The processor, the threads of this process, and the releases of what is installed."""
    import torch

    found: dict[str, Any] = {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
    }
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # not every trainer has every one
    return found


def processor() -> str:
    """Its name as Linux tells it, else its architecture."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> None:
    out, trainer, *arguments = sys.argv[1:]
    sys.argv = [trainer, *arguments]
    if trainer == "ours":
        script = Path(__file__).resolve().parents[1] / "lemma_train" / "sft.py"
        sys.path[0] = str(script.parents[1])
        watch(Path(out))
        runpy.run_path(str(script), run_name="__main__")
    elif trainer == "trl":
        # The script that the command `trl sft` starts in a process of its own.
        watch(Path(out))
        runpy.run_module("trl.scripts.sft", run_name="__main__")
    else:
        watch(Path(out))
        from llamafactory.train.tuner import run_exp  # type: ignore[import-not-found] # in the peer's environment

        run_exp()


if __name__ == "__main__":
    main()
