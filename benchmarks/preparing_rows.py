"""Trajectories made up for benchmarks/preparing.py, written to a JSONL file: the same bytes for the same arguments.

Their texts mean nothing, but a tokenizer finds in them what it finds in worked solutions: words that come again and
again, names, numbers that do not, sums and LaTeX. Their lengths are those of such data: log-normal around the mean,
half of the rows below 0.89 of it, one in a hundred above 2.7 times it.
"""

import json
import random
from pathlib import Path

NAMES = (
    *("Ada", "Bruno", "Chiara", "Dmitri", "Elif", "Farah", "Goran", "Hana", "Imani", "Jonas", "Keiko", "Lucía"),
    *("Mateo", "Nadia", "Oskar", "Priya", "Quentin", "Rosa", "Samir", "Tove", "Umberto", "Věra", "Wanda", "Yusuf"),
)
THINGS = (
    *("apples", "marbles", "tickets", "pages", "bricks", "litres of paint", "bus rides", "pencils", "stamps", "eggs"),
    *("kilometres", "square tiles", "boxes of nails", "hours of work", "seedlings", "photographs", "coins", "buttons"),
)
OPENINGS = ("First, ", "Then ", "Next, ", "So ", "Now ", "Therefore ", "After that, ", "This means that ", "Since ", "")
STEPS = (
    "{name} has {a} {things}, and each of the {b} boxes holds {c} of them, which makes {b} * {c} = {d}. ",
    "we add what is left of the {things}: {a} + {b} = {c}. ",
    "the price of {a} {things} at ${b}.{c} each comes to ${d}.50 before the discount of {c}%. ",
    "let $x$ be the number of {things}; the equation is $\\frac{{x}}{{{a}}} + {b} = {c}$, hence $x = {d}$.\n",
    "$$\\int_{{0}}^{{{a}}} ({b}t^2 - {c}t)\\,dt = \\left[\\frac{{{b}t^3}}{{3}}\\right]_0^{{{a}}} = {d}$$\n",
    "{name} gives away half of the remaining {things} to the neighbours and keeps {a} for the following week. ",
    "the angle at the vertex measures ${a}^\\circ$, and by similarity the other side is $\\sqrt{{{b}}}$ long.\n",
    "we subtract {a} from both sides of the equation to get {b} - {a} = {c}, and divide by {d}.\n",
)
TURNS = (
    "Wait, let me check that step again: the {things} were counted twice, so {a} - {b} is needed and not {a} + {b}. ",
    "Hmm, that cannot be right, because {name} started with {a} {things} and not with {b}. Let me start over. ",
)
# SmolLM2's tokenizer makes so many tokens of a sentence on average; only the sizes of the rows depend on it.
_TOKENS_A_STEP, _TOKENS_BESIDE = 38.0, 78.0
_SPREAD = 0.48  # of the logarithm of the length


def write_rows(path: Path, rows: int, mean_tokens: float = 637.0, seed: int = 0) -> None:
    """Write `rows` trajectories of about `mean_tokens` tokens, prompt and EOS included."""
    draw = random.Random(seed)
    mean_steps = max(1.0, (mean_tokens - _TOKENS_BESIDE) / _TOKENS_A_STEP)
    with path.open("w", encoding="utf-8") as stream:
        for number in range(rows):
            steps = max(1, round(mean_steps * draw.lognormvariate(-_SPREAD * _SPREAD / 2, _SPREAD)))
            stream.write(json.dumps(_row(draw, number, steps), ensure_ascii=False) + "\n")


def _row(draw: random.Random, number: int, steps: int) -> dict[str, object]:
    turn = draw.randrange(steps)
    parts = [draw.choice(OPENINGS) + _sentence(draw, STEPS) for _ in range(turn + 1)]
    wrong = len("".join(parts).rstrip())
    parts.append(_sentence(draw, TURNS))
    parts += [draw.choice(OPENINGS) + _sentence(draw, STEPS) for _ in range(steps - turn - 1)]
    answer = str(draw.randrange(10_000))
    question = draw.choice(STEPS[:4]) + "How many {things} does {name} have in the end?"
    return {
        "id": f"row-{number}",
        "instruction": _sentence(draw, (question,)),
        "output": "".join(parts) + f"The answer is {answer}.",
        "source": draw.choice(("gsm8k", "math")),
        "strategy": draw.choice(("fix_and_continue", "fresh_and_restart")),
        "error_origin": draw.choice(("student", "injected")),
        "error_type": "calculation_error",
        "error_span": [0, wrong],
        "answer": answer,
    }


def _sentence(draw: random.Random, patterns: tuple[str, ...]) -> str:
    numbers = {letter: draw.randrange(10 ** draw.randrange(1, 5)) for letter in "abcd"}
    return draw.choice(patterns).format(name=draw.choice(NAMES), things=draw.choice(THINGS), **numbers)
