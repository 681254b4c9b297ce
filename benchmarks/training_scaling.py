"""What does training cost against the length of the rows and against the number of processes? Run by hand:

    python benchmarks/training_scaling.py GSM8K_TRAIN.jsonl OUT [--tokens 128 256 512 1024 2048]

SmolLM2-135M, all weights, our trainer with the settings of benchmarks/training_speed.py: for each length one process on
rows of just that many tokens, 2,048 tokens a micro-batch; and GSM8K's rows with one process of two threads beside two
processes of one thread. Writes OUT/scaling.json and OUT/training_scaling.png. OUT keeps every measurement: a call goes
on where an earlier one stopped.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import training_speed
from training_rows import Row, gsm8k_rows, write_rows

TOKENS_A_BATCH, STEPS = 2048, 5
OURS, MEMORY, TEXT = "#4477aa", "#228833", "#333333"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gsm8k", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokens", type=int, nargs="+", default=[128, 256, 512, 1024, 2048])
    parser.add_argument("--model", type=Path, default=training_speed.ROOT / "models" / "smollm2-135m")
    options = parser.parse_args()
    lengths = []
    for tokens in options.tokens:
        micro_batch = TOKENS_A_BATCH // tokens
        rows = rows_of_length(options, tokens, micro_batch * STEPS)
        lengths.append({"tokens": tokens} | point(options, f"{tokens}-tokens", rows, micro_batch, 1, 1))
    processes = [
        {"processes": count}
        | point(options, f"{count}-processes", gsm8k_rows(options.gsm8k, 16 * STEPS), 4, 4 // count, count)
        for count in (1, 2)
    ]
    points = {"tokens": lengths, "processes": processes}
    (options.out / "scaling.json").write_text(json.dumps(points, indent=1) + "\n", encoding="utf-8")
    draw(points, options.out / "training_scaling.png")
    print("| | tokens/s | peak memory of a process |\n| --- | ---: | ---: |")
    for found in lengths:
        print(f"| {found['tokens']:,} tokens a row | {found['tokens_per_second']:.0f} | {found['peak_rss_gib']} GiB |")
    for found in processes:
        print(f"| {found['processes']} processes | {found['tokens_per_second']:.0f} | {found['peak_rss_gib']} GiB |")


def rows_of_length(options: argparse.Namespace, tokens: int, count: int) -> list[Row]:
    """Worked answers, one after the other, cut at so many tokens with the prompt and EOS; all after the question is
    supervised."""
    from transformers import AutoTokenizer

    from lemma_train.template import Renderer

    renderer = Renderer(AutoTokenizer.from_pretrained(options.model))
    text = "\n".join(answer for _, answer in gsm8k_rows(options.gsm8k, 1000))
    ids = renderer.tokenizer(text, add_special_tokens=False).input_ids
    found, at = [], 0
    while len(found) < count:
        question = f"Go on with number {len(found)}."
        room = tokens - len(renderer.encode(question, "").input_ids)
        answer = renderer.tokenizer.decode(ids[at : at + room])
        at += room
        found.append((question, answer))
    return found


def point(
    options: argparse.Namespace, name: str, rows: list[Row], micro_batch: int, accumulation: int, processes: int
) -> dict[str, Any]:
    folder = options.out / name
    file = folder / "run.json"
    if not file.exists():
        data = options.out / f"{name}-rows"
        write_rows(data, rows, "")
        job = argparse.Namespace(
            model=options.model,
            lora=False,
            rows=len(rows),
            micro_batch=micro_batch,
            accumulation=accumulation,
            processes=processes,
            learning_rate=1e-5,
            peers_checkpoint=False,
            ours="",
            llamafactory=None,
        )
        measured = training_speed.measure(job, "ours", folder, data, held_out=[])
        file.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def draw(points: dict[str, list[dict[str, Any]]], file: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    speed, memory, split = figure.subplots(1, 3, width_ratios=(3, 3, 2))
    at = [found["tokens"] for found in points["tokens"]]
    speed.plot(at, [found["tokens_per_second"] for found in points["tokens"]], marker="o", color=OURS)
    speed.set(ylabel="tokens/s after the first step", xlabel="tokens a row, 2,048 a micro-batch")
    memory.plot(at, [found["peak_rss_gib"] for found in points["tokens"]], marker="o", color=MEMORY)
    memory.set(ylabel="peak memory, GiB", xlabel="tokens a row, 2,048 a micro-batch")
    split.bar(
        [str(found["processes"]) for found in points["processes"]],
        [found["tokens_per_second"] for found in points["processes"]],
        color=OURS,
        width=0.5,
    )
    split.set(ylabel="tokens/s after the first step", xlabel="processes on two cores")
    for panel in (speed, memory, split):
        panel.spines[["top", "right"]].set_visible(False)
        panel.set_ylim(bottom=0)
    for panel in (speed, memory):
        panel.set_xscale("log", base=2)
        panel.set_xticks(at, [f"{tokens:,}" for tokens in at])
    figure.suptitle("What training costs, SmolLM2-135M on two cores", color=TEXT, fontsize=12, x=0.02, ha="left")
    figure.savefig(file)


if __name__ == "__main__":
    main()
