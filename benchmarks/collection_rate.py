"""How near does a collection come to the rate that its servers allow? Run by hand:

    python benchmarks/collection_rate.py [--rows 5000] [--latency 0.2] [--at-once 256] [--json FILE]

A local server (latency_server.py) answers every request after the latency, at most so many at once: the ideal rate is
at_once / latency. Whole stages run against it, journal, checks and grading included: the student's (short completion
prompts) and a teacher's (instructions, examples and the row, some 5,000 characters). With `--rows 100000 --stages
sampling` it shows that memory does not grow with the rows.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import uvloop
import yaml

from lemma_train.collection.collect import few_garbage_collections
from lemma_train.collection.pipeline import open_run, run_stages
from lemma_train.collection.recipe import load_collect_recipe
from lemma_train.collection.records import Attempt
from lemma_train.collection.stage_files import Line, write_stage
from lemma_train.problems import Problem

SERVER = Path(__file__).with_name("latency_server.py")
# What the server says, in the form that the teacher's replies have; a student's answer to it is the text as it stands.
REPLY = {"explanation": "The sum is off.", "verdict": "wrong", "error_type": "calculation_error", "first_wrong_step": 1}


def write_inputs(folder: Path, rows: int) -> None:
    """Stage files of `rows` questions, each with one wrong answer of a usual length."""
    with write_stage(folder, "problems") as put:
        for i in range(rows):
            question = f"Ada has {i} shells and finds {i + 7} more on the beach. How many shells does Ada have now?"
            solution = f"Start with {i}. {i} + {i + 7} = {2 * i + 7}. The answer is {2 * i + 7}."
            put(Line(f"q{i}", f"q{i}", i, True, Problem(f"q{i}", question, str(2 * i + 7), solution, "made")))
    with write_stage(folder, "grading") as put:
        for i in range(rows):
            text = f"Ada starts with {i} shells. Then {i} + {i + 7} = {2 * i + 17}. The answer is {2 * i + 17}."
            attempt = Attempt(f"q{i}/s0", f"q{i}", "student", text, "stop", str(2 * i + 17), False)
            put(Line(f"q{i}/s0", f"q{i}", i, True, attempt))


def measure(stage: str, rows: int, latency: float, at_once: int, port: int, folder: Path) -> dict[str, Any]:
    """One stage over all rows; returns its rate beside the ideal one."""
    model = {"engine": "openai", "base_urls": [f"http://127.0.0.1:{port}/v1"], "concurrency": at_once, "model": "m"}
    recipe = folder / "recipe.yaml"
    values = {"problems": ["unused"], "output_dir": str(folder), "sampling": {"samples": 1}}
    recipe.write_text(yaml.safe_dump({**values, "student": model, "teacher": model}))
    settings = load_collect_recipe(recipe)
    with ExitStack() as stack:
        run = open_run(settings, folder, None, stack)
        import lemma_train.llm.openai_api  # noqa: F401 - its import, most of a second, is start-up and no rate

        stack.enter_context(few_garbage_collections())
        began, processor = time.perf_counter(), time.process_time()
        uvloop.run(run_stages(run, [stage]))
        seconds, processor = time.perf_counter() - began, time.process_time() - processor
    with (folder / "stages" / f"{stage}.jsonl").open("rb") as lines:
        kept = sum(orjson.loads(line)["kept"] for line in lines)
    assert kept == rows, f"{kept} of {rows} rows were kept"
    ideal = at_once / latency
    return {
        "stage": stage,
        "rows": rows,
        "seconds": round(seconds, 2),
        "rows_per_second": round(rows / seconds, 1),
        "ideal_per_second": round(ideal, 1),
        "share_of_ideal": round(rows / seconds / ideal, 3),
        "processor_ms_per_row": round(1000 * processor / rows, 3),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds")
    parser.add_argument("--at-once", type=int, default=256, help="requests that the server takes at once")
    parser.add_argument("--stages", nargs="+", default=["sampling", "analysis"], choices=["sampling", "analysis"])
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    arguments = parser.parse_args()

    server = subprocess.Popen(
        [
            *(sys.executable, str(SERVER), "--latency", str(arguments.latency), "--at-once", str(arguments.at_once)),
            *("--port", str(arguments.port), "--text", json.dumps(REPLY)),
        ],
        stdout=subprocess.DEVNULL,
    )
    figures = []
    try:
        time.sleep(1.5)
        for stage in arguments.stages:
            with tempfile.TemporaryDirectory() as folder:
                write_inputs(Path(folder), arguments.rows)
                figures.append(
                    measure(stage, arguments.rows, arguments.latency, arguments.at_once, arguments.port, Path(folder))
                )
    finally:
        server.terminate()
        server.wait()
    for figure in figures:
        print(
            f"{figure['stage']:<10}{figure['rows']:>8,} rows{figure['seconds']:>8} s"
            f"{figure['rows_per_second']:>9} rows/s"
            f"{figure['share_of_ideal']:>8.1%} of ideal{figure['processor_ms_per_row']:>8} ms processor a row"
            f"{figure['peak_memory_mib']:>7} MiB"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
