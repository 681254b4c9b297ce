"""How much faster are a local model's answers in batches than one by one? Run by hand:

    python benchmarks/local_generation.py [--model models/smollm2-135m] [--questions 64] [--pairs 3] [--json FILE]

The same questions (generated word problems), the same weights, dtype and limit of tokens, greedy: first through
`LocalModel`, all at once, then through transformers' own `generate`, one after the other, the pairs alternating in one
process. Tokens of answers count up to the end token or the limit; loading the model counts for neither.
"""

import argparse
import asyncio
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from lemma_train.llm.local_transformers import LocalModel
from lemma_train.llm.protocol import Reply, Request
from lemma_train.problems import load_problems
from lemma_train.template import Renderer


def in_batches(model: LocalModel, prompts: list[list[int]], limit: int, loop: asyncio.Runner) -> tuple[float, int]:
    """Seconds and tokens for all prompts through the engine of this project."""

    async def every() -> list[Reply]:
        asked = [Request("sampling", prompt_ids=tuple(ids), temperature=0.0, max_tokens=limit) for ids in prompts]
        return await asyncio.gather(*map(model.generate, asked))

    began = time.perf_counter()
    replies = loop.run(every())
    return time.perf_counter() - began, sum(reply.completion_tokens for reply in replies)


def one_by_one(model: Any, prompts: list[list[int]], limit: int) -> tuple[float, int]:
    """Seconds and tokens for all prompts through transformers' `generate`."""
    began, tokens = time.perf_counter(), 0
    with torch.inference_mode():
        for ids in prompts:
            given = torch.tensor([ids])
            out = model.generate(given, attention_mask=torch.ones_like(given), max_new_tokens=limit, do_sample=False)
            tokens += out.shape[1] - len(ids)
    return time.perf_counter() - began, tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/smollm2-135m")
    parser.add_argument("--questions", type=int, default=64)
    parser.add_argument("--max-tokens", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=3, help="alternating measurements; the median counts")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    arguments = parser.parse_args()

    from transformers import AutoTokenizer

    renderer = Renderer(AutoTokenizer.from_pretrained(arguments.model), "lemma")
    entry = {"source": "generated", "kind": "gsm_symbolic", "size": arguments.questions}
    prompts = [renderer.prompt_ids(problem.question) for problem in load_problems([entry], 0).problems]
    theirs = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.bfloat16).eval()
    ours = LocalModel(arguments.model, dtype="bfloat16", device="cpu", batch_size=arguments.batch_size)
    ratios, rates = [], []
    with asyncio.Runner() as loop:
        in_batches(ours, prompts[:1], 1, loop)  # loads the model
        one_by_one(theirs, prompts[:1], 4)
        for _ in range(arguments.pairs):
            batched, single = (
                tokens / seconds
                for seconds, tokens in (
                    in_batches(ours, prompts, arguments.max_tokens, loop),
                    one_by_one(theirs, prompts, arguments.max_tokens),
                )
            )
            ratios.append(batched / single)
            rates.append((round(batched, 1), round(single, 1)))
            print(f"in batches {batched:7.1f} tokens/s   one by one {single:7.1f}   ratio {ratios[-1]:.2f}", flush=True)
        loop.run(ours.close())
    figures = {
        "questions": len(prompts),
        "median_ratio": round(statistics.median(ratios), 2),
        "tokens_per_second": rates,
    }
    print(json.dumps(figures))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
