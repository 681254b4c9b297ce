"""Folders as `lemma evaluate` leaves them, with made-up figures and answers, for the tests that read them."""

import hashlib
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

THINGS = ("apples", "stamps", "marbles", "buttons")
TYPES = ("calculation_error", "question_misinterpretation", "missing_step", "counting_error")
OUTCOMES = {
    "repaired": (False, True),
    "idle_doubt": (True, True),
    "wrong_both": (False, False),
    "spoiled": (True, False),
}

# What a damaged file may hold in place of a value.
NONSENSE = (None, "x", True, -1, float("nan"), 1e308, 10**400, [], [[5]], {}, {"value": "x"})


def damaged(value: Any, nonsense: Any, depth: int = 20) -> Iterator[Any]:
    """Copies of a JSON value, in each of which one part is replaced, at most so many levels deep."""
    inside: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inside:
        for copy in [nonsense, *(damaged(part, nonsense, depth - 1) if depth > 1 else [])]:
            whole = value.copy()
            whole[key] = copy
            yield whole


def share(k: int, n: int) -> dict[str, Any]:
    """A proportion with Wilson's interval."""
    if not n:
        return {"value": None, "low": None, "high": None, "n": 0, "k": 0}
    z, p = 1.96, k / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((middle + side * half) / (1 + z * z / n) for side in (-1, 1))
    return {"value": p, "low": low, "high": high, "n": n, "k": k}


def sample(benchmark: str, number: int, right: float, draw: random.Random) -> dict[str, Any]:
    """One line of samples.jsonl, right with the given chance. Its question depends on nothing but the first two."""
    asked = random.Random(f"{benchmark} {number}")
    have, more = asked.randrange(2, 90), asked.randrange(2, 9)
    thing, total = asked.choice(THINGS), have * more
    correct, reflects = draw.random() < right, draw.random() < 0.35
    before = draw.random() < 0.3 if reflects else None
    opening = f"There are {more} boxes with {have} {thing} each. "
    start = end = 0
    if reflects:
        first = total if before else total + draw.choice((-10, 1, 10))
        wrong = f"{opening}Together that makes {more} * {have} = {first} {thing}."
        reflection = " Wait, let me go over that product once more."
        start, end = len(wrong) + 1, len(wrong + reflection)
        opening = f"{wrong}{reflection} "
    last = total if correct else total + 7
    outcome = {pair: name for name, pair in OUTCOMES.items()}[before, correct] if before is not None else None
    return {
        "id": f"{benchmark}-{number}/0",
        "question_id": f"{benchmark}-{number}",
        "benchmark": benchmark,
        "sample": 0,
        "question": f"A shop packs {thing} into boxes, {have} in each. How many {thing} are in {more} boxes?",
        "reference": str(total),
        "level": f"Level {number % 5 + 1}" if benchmark == "math" else None,
        "subject": None,
        "response": f"{opening}{more} times {have} is {last}.\nThe answer is {last}.",
        "finish_reason": "stop",
        "prompt_tokens": 70,
        "completion_tokens": int(40 + 60 * reflects + draw.random() * (60 if correct else 120)),
        "extracted": str(last),
        "correct": correct,
        "grade_reason": None,
        "authors_extracted": str(last),
        "authors_correct": correct or draw.random() < 0.05,
        "reflects": reflects,
        "reflection_span": [start, end] if reflects else None,
        "answer_before": str(first) if reflects else None,
        "correct_before": before,
        "outcome": outcome,
        "error_type": draw.choice(TYPES) if not correct or before is False else None,
    }


def hostile_sample(number: int, response: str, **changes: Any) -> dict[str, Any]:
    """A sample of a benchmark of its own, so that it is among those to read."""
    plain = sample(f"hostile{number}", number, 0.5, random.Random(number))
    return {**plain, "reflection_span": None, "outcome": None, "response": response, **changes}


def write_run(
    folder: Path,
    name: str = "lemma",
    right: float = 0.7,
    benchmarks: tuple[str, ...] = ("gsm8k", "math", "svamp"),
    questions: int = 120,
    extra: list[dict[str, Any]] | None = None,
    **changes: Any,
) -> Path:
    """Write results.json and samples.jsonl.

    extra: further samples, of benchmarks without figures. changes: of results.json, None takes a key out.
    """
    draw = random.Random(f"{name} {right}")
    samples = [
        sample(benchmark, number, right - 0.2 * (benchmark == "math"), draw)
        for benchmark in benchmarks
        for number in range(questions)
    ]
    results: dict[str, Any] = {
        "version": "0.1",
        "name": name,
        "model": f"/models/{name}",
        "engine": "transformers",
        "template": {"template": "lemma"},
        "template_fingerprint": "1f2e3d4c",
        "grader_version": 3,
        "decoding": {
            "temperature": 0.0,
            "top_p": 1.0,
            "max_tokens": 1024,
            "samples": 1,
            "stop": ["\n\n#"],
            "seed": 0,
        },
        "benchmarks": {name: _results(name, [s for s in samples if s["benchmark"] == name]) for name in benchmarks},
        "scorecard": _scorecard(samples),
        "probe": _probe(draw),
        "seconds": 345.6,
        "tokens_per_second": 1234.5,
        "loss_curve": [[step, 0.4 + math.exp(-step / 40)] for step in range(0, 200, 10)],
    }
    values = [entry["metrics"]["accuracy"]["value"] for entry in results["benchmarks"].values()]
    results["average"] = {"accuracy": sum(values) / len(values), "benchmarks": list(benchmarks)}
    results["benchmarks"] |= {line["benchmark"]: {"questions": 1} for line in extra or []}
    results |= changes
    folder.mkdir(parents=True)
    held = {key: value for key, value in results.items() if value is not None}
    (folder / "results.json").write_text(json.dumps(held))
    (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*samples, *(extra or [])]))
    sign(folder)
    return folder


def sign(folder: Path) -> None:
    """Write into results.json which samples.jsonl belongs to it, as an evaluation does; for files changed since."""
    samples, file = (folder / "samples.jsonl").read_bytes(), folder / "results.json"
    signed = {"lines": len(samples.splitlines()), "sha256": hashlib.sha256(samples).hexdigest()}
    file.write_text(json.dumps(json.loads(file.read_text()) | {"samples_file": signed}))


def _results(name: str, samples: list[dict[str, Any]]) -> dict[str, Any]:
    rights, lengths = [s["correct"] for s in samples], sorted(s["completion_tokens"] for s in samples)
    apart = [s["id"] for s in samples if s["authors_correct"] != s["correct"]]
    levels = sorted({s["level"] for s in samples if s["level"]})
    spread = {
        "mean": sum(lengths) / len(lengths),
        "p50": lengths[len(lengths) // 2],
        "p95": lengths[int(0.95 * len(lengths))],
        "max": lengths[-1],
    }
    return {
        "shots": 4 if name == "svamp" else 0,
        "questions": len(samples),
        "samples": len(samples),
        "prompt_fingerprint": f"{name}-prompt",
        "metrics": {
            "accuracy": share(sum(rights), len(rights)),
            "pass_at_k": {"1": share(sum(rights), len(rights))},
            "maj_at_k": {"1": share(sum(rights), len(rights))},
            "by_level": {
                level: share(sum(s["correct"] for s in held), len(held))
                for level in levels
                for held in [[s for s in samples if s["level"] == level]]
            },
            "by_subject": {},
            "empty": 0,
            "cut_off": 3,
            "no_answer": 1,
            "ungradable": 0,
            "length": {**spread, "right": spread, "wrong": spread},
        },
        "authors": {
            "accuracy": share(sum(s["authors_correct"] for s in samples), len(samples)),
            "disagreements": apart[:200],
            "disagreement_count": len(apart),
        },
        "scorecard": _scorecard(samples),
    }


def _scorecard(samples: list[dict[str, Any]]) -> dict[str, Any]:
    reflecting = [s for s in samples if s["reflects"]]
    counts = {name: sum(s["outcome"] == name for s in reflecting) for name in OUTCOMES}
    return {
        "reflects": share(len(reflecting), len(samples)),
        "undecided": share(0, len(reflecting)),
        **{name: share(count, len(reflecting)) for name, count in counts.items()},
        "repair_rate": share(counts["repaired"], counts["repaired"] + counts["wrong_both"]),
        "spoil_rate": share(counts["spoiled"], counts["spoiled"] + counts["idle_doubt"]),
        "by_error_type": {
            name: {"reflects": share(len(of_it), answers), "repair_rate": share(repaired, len(of_it))}
            for name in TYPES
            if (answers := sum(s["error_type"] == name for s in samples))
            for of_it in [[s for s in reflecting if s["error_type"] == name]]
            for repaired in [sum(s["outcome"] == "repaired" for s in of_it)]
        },
    }


def _probe(draw: random.Random, items: int = 100) -> dict[str, Any]:
    verdicts = [
        {"id": f"p{n}", "recovered": draw.random() < 0.5, "reflected": draw.random() < 0.6, "strategy": "none"}
        for n in range(items)
    ]
    reflected = [one for one in verdicts if one["reflected"]]
    silent = [one for one in verdicts if not one["reflected"]]

    def rates(held: list[dict[str, Any]]) -> dict[str, Any]:
        return {key: share(sum(one[key] for one in held), len(held)) for key in ("recovered", "reflected")}

    return {
        **rates(verdicts),
        "reflected_at_once": share(len(reflected) // 2, items),
        "recovered_when_reflected": rates(reflected)["recovered"],
        "recovered_when_silent": rates(silent)["recovered"],
        "by_error_type": {name: rates(verdicts[k :: len(TYPES)]) for k, name in enumerate(TYPES)},
        "boundaries": {"clean": items - 6, "with_break": 6, "apart": 0},
        "verdicts": verdicts,
    }
