#!/usr/bin/env python3
"""Write the rows of recipes/smollm2_135m.yaml from generated problems; nothing is downloaded.

Leaves `train.jsonl`, 800 word sums with their worked solutions, shuffled, in a folder. A file that already holds the
same text is left alone, so that nothing built from it looks out of date.

    python scripts/make_demo_data.py [--out data/demo] [--seed 0]
"""

import argparse
import json
import os
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lemma_train.errors import user_errors_exit_with_2
from lemma_train.problem_generators import generate
from lemma_train.problems import Problem

KIND, SIZE = "word_sums", 800


def training_row(problem: Problem) -> dict[str, Any]:
    """A row whose output is the problem's own worked solution: no student, so no error and no correction."""
    return {
        "id": problem.id,
        "instruction": problem.question,
        "input": "",
        "output": problem.solution,
        "source": problem.source,
        "strategy": "reference",
        "error_origin": None,
        "error_type": None,
        "error_span": None,
        "answer": problem.answer,
    }


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    print(f"{path}: {text.count(chr(10))} rows")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the training rows of recipes/smollm2_135m.yaml.")
    parser.add_argument("--out", type=Path, default=Path("data/demo"), help="folder to write to (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other problems (default: %(default)s)")
    arguments = parser.parse_args()

    train = generate(KIND, SIZE, arguments.seed)
    random.Random(arguments.seed).shuffle(train)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_jsonl(arguments.out / "train.jsonl", map(training_row, train))


if __name__ == "__main__":
    with user_errors_exit_with_2("make_demo_data.py"):
        main()
