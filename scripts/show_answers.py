#!/usr/bin/env python3
"""Show how two models answer the same held-out problems, side by side, and count the right final answers of each.

A demonstration: a few problems, greedy, short answers, read by a simple rule.

    python scripts/show_answers.py MODEL_A MODEL_B HELD_OUT.jsonl [--limit 100]
"""

import argparse
import json
import re
import textwrap
import time
from itertools import zip_longest
from pathlib import Path
from typing import Any

from lemma_train.errors import InputError, user_errors_exit_with_2

SHOWN, LINES, BATCH = 4, 6, 50
_NUMBER = r"(?<!\d)-?\d[\d,]*(?:\.\d+)?"


def stated_number(text: str) -> float | None:
    """The number after the last "The answer is", else the last number of the text, else None."""
    found = re.findall(rf"The answer is\D*?({_NUMBER})", text) or re.findall(_NUMBER, text)
    return float(found[-1].replace(",", "")) if found else None


def read_problems(path: Path, limit: int) -> list[dict[str, str]]:
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        problems = [{"question": row["question"], "answer": str(row["answer"])} for row in rows[:limit]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} must hold JSON lines with question and answer: {error!r}") from error
    if not problems:
        raise InputError(f"{path} with --limit {limit} holds no problem.")
    for problem in problems:
        if stated_number(problem["answer"]) is None:
            raise InputError(f"{path}: the answer {problem['answer']!r} is no number, and this demo can read no other.")
    return problems


def answers(folder: Path, questions: list[str], max_new_tokens: int) -> list[str]:
    """Greedy answers, one a question; prompts of one batch are padded on the left."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    from lemma_train.template import Renderer

    disable_progress_bar()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    model.to(device).eval()
    prompts = [Renderer(tokenizer, "lemma").prompt_ids(question) for question in questions]
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    texts = [""] * len(prompts)
    by_length = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for chunk in (by_length[i : i + BATCH] for i in range(0, len(prompts), BATCH)):
        width = max(len(prompts[i]) for i in chunk)
        input_ids = torch.tensor([[pad] * (width - len(prompts[i])) + prompts[i] for i in chunk])
        mask = torch.tensor([[0] * (width - len(prompts[i])) + [1] * len(prompts[i]) for i in chunk])
        with torch.inference_mode():
            output = model.generate(
                input_ids=input_ids.to(device),
                attention_mask=mask.to(device),
                do_sample=False,
                max_new_tokens=max_new_tokens,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=pad,
            )
        for i, row in zip(chunk, output[:, width:].tolist(), strict=True):
            texts[i] = tokenizer.decode(row, skip_special_tokens=True).strip()
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description="Answers of two models to the same problems, side by side.")
    parser.add_argument("before", type=Path, help="model folder, shown on the left")
    parser.add_argument("after", type=Path, help="model folder, shown on the right")
    parser.add_argument("held_out", type=Path, help="JSON lines with question and answer")
    parser.add_argument("--limit", type=int, default=100, help="how many problems (default: %(default)s)")
    parser.add_argument("--max-new-tokens", type=int, default=96)
    options = parser.parse_args()
    for folder in (options.before, options.after):
        if not (folder / "config.json").is_file():
            raise InputError(f"{folder} is not a model folder: it holds no config.json.")

    problems = read_problems(options.held_out, max(options.limit, 0))
    expected = [stated_number(problem["answer"]) for problem in problems]
    columns, right = [], []
    for name, folder in (("before", options.before), ("after", options.after)):
        start = time.monotonic()
        texts = answers(folder, [problem["question"] for problem in problems], options.max_new_tokens)
        columns.append(texts)
        right.append(sum(stated_number(text) == number for text, number in zip(texts, expected, strict=True)))
        print(f"{name}: {folder}, {len(texts)} answers in {time.monotonic() - start:.0f} s", flush=True)
    for problem, *texts in list(zip(problems, *columns, strict=True))[:SHOWN]:
        print(f"\n{textwrap.fill(problem['question'], 118)}\nexpected: {problem['answer']}")
        wrapped = [[part for line in text.splitlines() for part in textwrap.wrap(line, 56)] for text in texts]
        cells = [lines if len(lines) <= LINES else [*lines[: LINES - 1], "..."] for lines in wrapped]
        for before, after in zip_longest(["BEFORE", *cells[0]], ["AFTER", *cells[1]], fillvalue=""):
            print(f"  {before:56} | {after}".rstrip())
    print(f"\nRight final answers: before {right[0]}, after {right[1]}, of {len(problems)} held-out problems.")
    print("A demo's count on easy generated problems, greedy and one run: it says that training works, not how good")
    print("the method is. That takes a benchmark and its interval.")


if __name__ == "__main__":
    with user_errors_exit_with_2("show_answers.py"):
        main()
