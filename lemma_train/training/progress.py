"""What a run tells while it goes: `metrics.jsonl`, a line for each log, and the loss plot made of it.

Enters: the trainer's log events. Leaves: two files in the output folder. After a resume the file holds what an
undisturbed run would have written: lines from after the checkpoint are taken out first.
"""

import json
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

METRICS_FILE, PLOT_FILE = "metrics.jsonl", "loss.png"


class MetricsFile(TrainerCallback):
    """Appends each log of rank 0 to `metrics.jsonl` and redraws the plot at each checkpoint and at the end."""

    def __init__(self, output_dir: Path):
        self.path = output_dir / METRICS_FILE

    def on_train_begin(self, args, state, control, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            kept = [line for line in read_metrics(self.path) if line.get("step", 0) <= state.global_step]
            text = "".join(json.dumps(line) + "\n" for line in kept if state.global_step)
            self.path.write_text(text, encoding="utf-8")

    def on_log(self, args, state, control, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if state.is_world_process_zero and logs:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"step": state.global_step, **logs}) + "\n")

    def on_save(self, args, state, control, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            plot_loss(self.path)

    def on_train_end(self, args, state, control, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            plot_loss(self.path)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; a last line that was cut off by a crash is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []:
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict):
            lines.append(line)
    return lines


def plot_loss(metrics: Path) -> Path | None:
    """Draw training and held-out loss over the steps, and the learning rate below; None where nothing is logged."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    lines = read_metrics(metrics)
    train = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    held_out = [(line["step"], line["eval_loss"]) for line in lines if "eval_loss" in line]
    rate = [(line["step"], line["learning_rate"]) for line in lines if "learning_rate" in line]
    if not train:
        return None
    figure, (top, bottom) = pyplot.subplots(
        2, 1, figsize=(8, 5.5), sharex=True, height_ratios=(3, 1), layout="constrained"
    )
    few = "o" if len(train) < 40 else None
    top.plot(*zip(*train, strict=True), color="#2563a8", linewidth=1.3, marker=few, markersize=3, label="training")
    if held_out:
        top.plot(*zip(*held_out, strict=True), color="#d1701c", marker="o", markersize=4, label="held out")
    top.set_ylabel("loss (nats a supervised token)")
    top.set_title(f"{metrics.parent.name}, {train[-1][0]} steps")
    top.legend(frameon=False)
    if rate:
        bottom.plot(*zip(*rate, strict=True), color="#5c6670", linewidth=1.3)
    bottom.set_ylabel("learning rate")
    bottom.set_xlabel("step")
    for axis in (top, bottom):
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    target = metrics.with_name(PLOT_FILE)
    figure.savefig(target, dpi=130)
    pyplot.close(figure)
    return target
