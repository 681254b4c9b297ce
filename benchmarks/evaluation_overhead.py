"""How much longer than its server does an evaluation take? Run by hand:

    python benchmarks/evaluation_overhead.py [--questions 1319] [--latency 8] [--at-once 128] [--json FILE]

A local server (latency_server.py) answers each request after the latency, at most so many at once; by default as an 8B
model on one GPU might, a GSM8K answer in 8 s with 128 at once. Its own time for all questions is the number of full
rounds times the latency. Against it stands a whole `lemma evaluate`: a new process, its imports, rendering, journal,
grading, scorecard and results.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

SERVER = Path(__file__).with_name("latency_server.py")
ANSWER = "She has 48 / 2 = 24 left. Wait, that is not right, I used the wrong number. 50 / 2 = 25. The answer is 25."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=1319)
    parser.add_argument("--latency", type=float, default=8.0, help="seconds")
    parser.add_argument("--at-once", type=int, default=128, help="requests that the server takes at once")
    parser.add_argument("--tokenizer", default="models/smollm2-135m")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    arguments = parser.parse_args()

    server = subprocess.Popen(
        [
            *(sys.executable, str(SERVER), "--latency", str(arguments.latency), "--at-once", str(arguments.at_once)),
            *("--port", "0", "--text", ANSWER),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split(": ")[0]
        with tempfile.TemporaryDirectory() as folder:
            model = {"engine": "openai", "model": "served", "base_urls": [address], "concurrency": arguments.at_once}
            values = {
                "model": {**model, "tokenizer": arguments.tokenizer, "timeout_seconds": 20 * arguments.latency},
                "benchmarks": [{"source": "generated", "kind": "gsm_symbolic", "size": arguments.questions}],
                "output_dir": f"{folder}/run",
            }
            recipe = Path(folder) / "recipe.yaml"
            recipe.write_text(yaml.safe_dump(values))
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "lemma_train.cli", "evaluate", str(recipe)], check=True, env=os.environ
            )
            seconds = time.perf_counter() - began
            results = json.loads((Path(folder) / "run" / "results.json").read_text())
    finally:
        server.terminate()
        server.wait()
    (told,) = results["benchmarks"].values()
    assert told["samples"] == arguments.questions, told
    alone = math.ceil(arguments.questions / arguments.at_once) * arguments.latency
    figures = {
        "questions": arguments.questions,
        "server_seconds": alone,
        "evaluation_seconds": round(seconds, 2),
        "added": round(seconds / alone - 1, 4),
    }
    print(f"server alone {alone:.1f} s, evaluation {seconds:.1f} s: {figures['added']:.1%} added")
    print(json.dumps(figures))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
