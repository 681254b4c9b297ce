"""What does training cost against the number of rows, their length and the number of processes? Run by hand:

    python benchmarks/training_scaling.py GSM8K_TRAIN.jsonl OUT [--rows 64 128 256] [--tokens 128 512 2048]
        [--processes 1 2] [--markdown]

SmolLM2-135M, all weights, our trainer with the settings of benchmarks/training_speed.py, but without compiled layers,
which a recipe has off unless it asks for them and which add the same half minute to every run:

- rows: GSM8K's first so many, one process, steps of 16 rows (4 a micro-batch, 4 accumulated);
- length: rows of just so many tokens, one process, steps of 2,048 tokens in one micro-batch;
- processes: GSM8K's first rows, the smallest number of --rows; steps of 16 rows, 4 a micro-batch, so that two processes
  accumulate 2 where one accumulates 4. Processes share the cores: each has its part of the threads.

Writes OUT/scaling.json and OUT/training_scaling.png. OUT keeps every
run: a call goes on where an earlier one stopped, and refuses a run that was told something else.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training_measured import ROOT, cores, kept, measure
from training_rows import Row, gsm8k_rows, rows_of_length, write_rows
from training_runs import Job
from training_speed import eos, place
from training_tables import Table, markdown, plain

TOKENS_A_STEP, STEPS = 2048, 5  # of the runs against length
ROWS_A_STEP, MICRO_BATCH = 16, 4  # of the others
OURS, TIME, MEMORY, TEXT = "#4477aa", "#bb5566", "#228833", "#333333"


def main() -> None:
    options, by_length = read_options()
    planned = plan(options, by_length)
    for _, _, job in planned:
        kept(job)  # a run of other settings is refused before any is started
    points: dict[str, list[dict[str, Any]]] = {"rows": [], "tokens": [], "processes": []}
    for axis, value, job in planned:
        found = kept(job) or measure(job, held_out=[])
        if axis == "tokens":
            wanted = value * job.micro_batch * job.steps
            assert found["tokens"] == wanted, f"{found['tokens']} tokens were trained on instead of {wanted}"
        points[axis].append({**found, "at": value})
        print(f"{job.out.name}: {found['tokens_per_second']:.0f} tokens/s", flush=True)
    (options.out / "scaling.json").write_text(json.dumps(points, indent=1) + "\n", encoding="utf-8")
    draw(points, options.model.name, options.out / "training_scaling.png")
    print((markdown if options.markdown else plain)(table(points)))


def read_options(words: list[str] | None = None) -> tuple[argparse.Namespace, dict[int, list[Row]]]:
    """The options, and the rows of each length: the tokenizer alone can tell whether a length is possible."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gsm8k", type=place)
    parser.add_argument("out", type=place)
    whole_steps = multiple_of(ROWS_A_STEP, 2 * ROWS_A_STEP, "steps of 16 rows")
    parser.add_argument("--rows", type=whole_steps, nargs="+", default=[64, 128, 256])
    parser.add_argument("--tokens", type=divisor_of(TOKENS_A_STEP), nargs="+", default=[128, 512, 2048])
    parser.add_argument("--processes", type=int, nargs="+", choices=(1, 2, 4), default=[1, 2])
    parser.add_argument("--model", type=place, default=str(ROOT / "models" / "smollm2-135m"))
    parser.add_argument("--markdown", action="store_true", help="print the table as docs/performance.md shows it")
    options = parser.parse_args(words)
    if not options.gsm8k.is_file():
        parser.error(f"argument gsm8k: {options.gsm8k} is no file")
    if not (options.model / "tokenizer_config.json").is_file():
        parser.error(f"argument --model: {options.model} holds no model")
    try:
        return options, rows_by_length(options)
    except ValueError as error:
        parser.error(f"argument --tokens: {error}")


def multiple_of(unit: int, least: int, words: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least or int(text) % unit:
            raise argparse.ArgumentTypeError(f"{text} is not two or more whole {words}")
        return int(text)

    return parse


def divisor_of(whole: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not int(text) or whole % int(text):
            raise argparse.ArgumentTypeError(f"{text} does not divide the {whole:,} tokens of a micro-batch")
        return int(text)

    return parse


def rows_by_length(options: argparse.Namespace) -> dict[int, list[Row]]:
    from transformers import AutoTokenizer

    from lemma_train.template import Renderer

    renderer = Renderer(AutoTokenizer.from_pretrained(options.model))
    counts = {tokens: TOKENS_A_STEP // tokens * STEPS for tokens in options.tokens}
    return {tokens: rows_of_length(options.gsm8k, renderer, tokens, count) for tokens, count in counts.items()}


def plan(options: argparse.Namespace, by_length: dict[int, list[Row]]) -> list[tuple[str, int, Job]]:
    """Axis, place on it, and the job, whose rows are written here. Equal jobs of two axes are one run."""

    def job(name: str, rows: list[Row], micro_batch: int, accumulation: int, processes: int) -> Job:
        data = options.out / "rows" / name
        write_rows(data, rows, eos(options.model))
        return Job(
            trainer="ours",
            python=Path(sys.executable),
            model=options.model,
            rows=data,
            out=options.out / name,
            lora=False,
            steps=len(rows) // (micro_batch * accumulation * processes),
            micro_batch=micro_batch,
            accumulation=accumulation,
            processes=processes,
            learning_rate=1e-5,
            extra=("--compile_layers", "false"),
        )

    def of_gsm8k(count: int, processes: int) -> Job:
        accumulation = ROWS_A_STEP // MICRO_BATCH // processes
        rows = gsm8k_rows(options.gsm8k, count)
        return job(f"{count}-rows-{processes}-processes", rows, MICRO_BATCH, accumulation, processes)

    found = [("rows", rows, of_gsm8k(rows, 1)) for rows in sorted(set(options.rows))]
    for tokens, rows in sorted(by_length.items()):
        found.append(("tokens", tokens, job(f"{tokens}-tokens", rows, TOKENS_A_STEP // tokens, 1, 1)))
    least = min(options.rows)
    found += [("processes", count, of_gsm8k(least, count)) for count in sorted(set(options.processes))]
    return found


def table(points: dict[str, list[dict[str, Any]]]) -> Table:
    """points: for each axis the figures of its runs, and where they stand on it as `at`."""
    words = {"rows": "rows", "tokens": "tokens a row", "processes": "processes"}
    found = [["", "tokens", "first step", "tokens/s after it", "whole run", "peak memory of a process"]]
    for axis, told in points.items():
        for point in told:
            one = "process" if axis == "processes" and point["at"] == 1 else words[axis]
            found.append(
                [
                    f"{point['at']:,} {one}",
                    f"{point['tokens']:,}",
                    f"{point['first_step_seconds']:.1f} s",
                    f"{point['tokens_per_second']:.0f}",
                    f"{point['whole_seconds']:.0f} s",
                    f"{point['peak_rss_gib']:.1f} GiB",
                ]
            )
    return found


def draw(points: dict[str, list[dict[str, Any]]], model: str, file: Path) -> None:
    """Above what it takes, below the memory; a column for each axis."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 3)
    words = {
        "rows": f"rows of GSM8K, steps of {ROWS_A_STEP}",
        "tokens": f"tokens a row, steps of {TOKENS_A_STEP:,} tokens",
        "processes": f"processes on {cores()} cores, steps of {ROWS_A_STEP} rows",
    }
    for column, (axis, told) in enumerate(points.items()):
        key, label, colour = "tokens_per_second", "tokens/s after the first step", OURS
        if axis == "rows":
            key, label, colour = "whole_seconds", "seconds of the whole run", TIME
        at = [point["at"] for point in told]
        for panel, values, name, shade in (
            (above[column], [point[key] for point in told], label, colour),
            (below[column], [point["peak_rss_gib"] for point in told], "peak memory of a process, GiB", MEMORY),
        ):
            if axis == "processes":
                panel.bar([str(count) for count in at], values, color=shade, width=0.5)
            else:
                panel.plot(at, values, marker="o", color=shade)
            panel.set(ylabel=name, xlabel=words[axis])
            panel.set_ylim(0, 1.1 * max(values))
            panel.spines[["top", "right"]].set_visible(False)
            if axis == "tokens":
                panel.set_xscale("log", base=2)
                panel.set_xticks(at, [f"{tokens:,}" for tokens in at])
            elif axis == "rows":
                panel.set_xlim(0, 1.1 * max(at))
    title = f"What training costs: {model} on {cores()} cores"
    figure.suptitle(title, color=TEXT, fontsize=12, x=0.02, ha="left")
    figure.savefig(file)


if __name__ == "__main__":
    main()
