"""The rows that benchmarks/training_speed.py trains on, the same text for every trainer.

Enters: a GSM8K file. Leaves: prompts and completions, and the files in which each trainer reads them. The prompt is
rendered here once for the peers, so that token counts agree.
"""

import json
from pathlib import Path

from lemma_train.template import PROMPTS

Row = tuple[str, str]  # question, answer
HELD_OUT_ROWS = 64


def gsm8k_rows(file: Path, count: int, skip: int = 0) -> list[Row]:
    """Questions and worked answers as they stand in the file."""
    lines = file.read_text(encoding="utf-8").splitlines()[skip : skip + count]
    if len(lines) < count:
        raise SystemExit(f"{file} has too few rows: {skip + count} are needed.")
    found = [json.loads(line) for line in lines]
    return [(row["question"], row["answer"]) for row in found]


def long_rows(file: Path, count: int, skip: int = 0) -> list[Row]:
    """Long trajectories made of GSM8K rows: a solution begun with other numbers, a reflection, the right solution, and
    so on for one to four questions: 200 to 1,200 tokens, about as the published data set has them."""
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    found = []
    at = skip * 4
    for i in range(count):
        parts = lines[at : at + 1 + (i * 7) % 4]
        at += 4
        questions = " ".join(f"({n}) {row['question']}" for n, row in enumerate(parts, 1))
        solved = [f"({n}) {_slip(row['answer'])}" for n, row in enumerate(parts, 1)]
        found.append((questions, "\n".join(solved)))
    return found


def _slip(answer: str) -> str:
    steps = answer.split("\n")
    wrong = steps[0].translate(str.maketrans("0123456789", "1234567890"))
    return f"{wrong}\nWait, let me check that step again; its numbers are not those of the question.\n{answer}"


def write_rows(folder: Path, rows: list[Row], eos: str) -> None:
    """`ours.jsonl`, `trl/train.jsonl`, and `llamafactory/` with its register of data sets.

    eos: spelled out for LLaMA-Factory, whose template without any words of its own adds none.
    """
    for name in ("trl", "llamafactory"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _write(folder / "ours.jsonl", [{"instruction": question, "output": answer} for question, answer in rows])
    texts = [(PROMPTS["lemma"].replace("{instruction}", question), " " + answer) for question, answer in rows]
    _write(folder / "trl" / "train.jsonl", [{"prompt": p, "completion": c} for p, c in texts])
    _write(
        folder / "llamafactory" / "rows.jsonl", [{"instruction": p, "input": "", "output": c + eos} for p, c in texts]
    )
    register = {"rows": {"file_name": "rows.jsonl"}}
    (folder / "llamafactory" / "dataset_info.json").write_text(json.dumps(register), encoding="utf-8")


def _write(file: Path, rows: list[dict[str, str]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
