"""The rows that benchmarks/training_speed.py and training_scaling.py train on, the same text for every trainer.

Enters: a GSM8K file. Leaves: prompts and completions, and the files in which each trainer reads them. The prompt is
rendered here once for the peers, so that token counts agree.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lemma_train.template import PROMPTS

if TYPE_CHECKING:
    from lemma_train.template import Renderer

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
    so on for one to four questions: 150 to 1,420 tokens with SmolLM2's tokenizer, 615 on average."""
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    if len(lines) < (skip + count) * 4:
        raise SystemExit(f"{file} has too few rows: {(skip + count) * 4} are needed.")
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


def rows_of_length(file: Path, renderer: "Renderer", tokens: int, count: int) -> list[Row]:
    """Rows of just `tokens` tokens with prompt and EOS: a short question, and worked answers one after the other.

    Raises:
        ValueError: the prompt alone takes so many tokens.
    """
    tokenizer = renderer.tokenizer
    ids = tokenizer("\n".join(answer for _, answer in gsm8k_rows(file, 1000)), add_special_tokens=False).input_ids
    found: list[Row] = []
    at = 0
    while len(found) < count:
        question = f"Go on with number {len(found)}."
        room = tokens - len(renderer.encode(question, "").input_ids)
        if room < 1:
            raise ValueError(f"a row of {tokens} tokens has no room for an answer: {tokens - room} are prompt and EOS")
        for begin, taken in _slices(at, room, len(ids)):
            answer = str(tokenizer.decode(ids[begin : begin + taken]))
            # Text that is cut anew need not make the tokens it came from, and preparing takes spaces off its ends.
            if answer == answer.strip() and len(renderer.encode(question, answer).input_ids) == tokens:
                break
        else:
            raise AssertionError(f"no answer makes a row of {tokens} tokens")
        found.append((question, answer))
        at = begin + taken
    return found


def _slices(at: int, room: int, length: int) -> Iterator[tuple[int, int]]:
    """Where to cut: about `room` tokens from `at` on, else from the next token on; after the last, from the first."""
    starts = length - room - 2
    for begin in ((at + shift) % starts for shift in range(starts)):
        for taken in (room, room - 1, room + 1, room - 2, room + 2):
            if taken > 0:
                yield begin, taken


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
