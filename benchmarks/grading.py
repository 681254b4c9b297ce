"""How many answers a second does the grader judge? Run by hand: python benchmarks/grading.py [--json FILE]

Plain numbers are compared in the calling process; the formulas below are all spelled differently from their references,
so that each needs algebra in a worker. Every pair is made here from counters, no two alike, half of them equal.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from lemma_train.grading.grader import Grader

Pair = tuple[str, str, bool]


def plain_pairs(size: int) -> Iterator[Pair]:
    """Responses that end in a number, and their references."""
    for i in range(size):
        right, number = i % 2 == 0, 1000 + i
        said = number if right else number + 1
        spelling = (f"{said}", f"${said:,}.00", f"{said} apples", f"\\frac{{{2 * said}}}{{2}}", f"**{said:,}**")[i % 5]
        yield f"First we add {i} and 1000. That gives the total. The answer is {spelling}.", str(number), right


def formula_pairs(size: int) -> Iterator[Pair]:
    """Responses that end in a formula, and their references."""
    for i in range(size):
        right, k = i % 2 == 0, 2 + i // 16
        wrong = 0 if right else 1
        answer, reference = (
            (f"\\sqrt{{{4 * (k * k + 1)}}}", f"{2 + wrong}\\sqrt{{{k * k + 1}}}"),
            (f"x^2+{2 * k}x+{k * k}", f"(x+{k + wrong})^2"),
            (f"\\frac{{1}}{{\\sqrt{{{k * k + 2}}}}}", f"\\frac{{\\sqrt{{{k * k + 2}}}}}{{{k * k + 2 + wrong}}}"),
            (f"{k}\\pi/{k + 1}", f"\\frac{{{k + wrong}\\pi}}{{{k + 1}}}"),
            (f"{k}x-{k + 3}y", f"-{k + 3}y+{k + wrong}x"),
            (f"2^{{{k % 40 + 3}}}", f"{2 ** (k % 40 + 3) + wrong}"),
            (f"\\left(\\frac{{\\sqrt{{{k}}}}}{{2}}, {k}\\right)", f"(\\sqrt{{{k}}}/2, {k + wrong}.0)"),
            (f"\\frac{{x^2-{k * k}}}{{x-{k}}}", f"x+{k + wrong}"),
        )[i // 2 % 8]
        yield f"Hence the expression simplifies to $\\boxed{{{answer}}}$.", reference, right


def rate(grader: Grader, pairs: list[Pair]) -> float:
    """Pairs a second; fails where a verdict is not the expected one."""
    begin = time.perf_counter()
    grades = [grader.submit(response, reference) for response, reference, _ in pairs]
    verdicts = [grade.result() for grade in grades]
    seconds = time.perf_counter() - begin
    for (response, reference, right), verdict in zip(pairs, verdicts, strict=True):
        assert verdict.correct is right, f"{response!r} against {reference!r}: {verdict}"
    return len(pairs) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--plain", type=int, default=20_000, help="pairs of plain numbers")
    parser.add_argument("--formulas", type=int, default=3_000, help="pairs that need algebra")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    args = parser.parse_args()
    with Grader(args.workers) as grader:
        plain = rate(grader, list(plain_pairs(args.plain)))
        begin = time.perf_counter()
        grader.grade_answer("x+1", "1+x")
        start_seconds = time.perf_counter() - begin
        formulas = rate(grader, list(formula_pairs(args.formulas)))
    figures = {
        "workers": args.workers,
        "cores": len(os.sched_getaffinity(0)),
        "plain_per_second": round(plain),
        "formulas_per_second": round(formulas),
        "first_worker_seconds": round(start_seconds, 2),
    }
    for name, value in figures.items():
        print(f"{name:22}{value:>10,}")
    text = json.dumps(figures)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
