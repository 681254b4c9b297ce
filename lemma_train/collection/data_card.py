"""The data card: what is in a collected set, where it came from and what was left out, in numbers and pictures.

Enters: the folder with `dataset.jsonl`, and the numbers of the run as plain values. Leaves: `README.md` with the Hub's
metadata block, `card.json` with the same numbers, `error_types.png` and `funnel.png`. It makes no claim that it has no
number for, and changes no row.
"""

import heapq
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from lemma_train.collection.card_charts import draw_error_types, draw_funnel
from lemma_train.collection.card_text import card_text
from lemma_train.collection.dataset_files import read_dataset
from lemma_train.collection.mixing import draw_of
from lemma_train.errors import InputError
from lemma_train.whole_file import whole_file, write_faults_named

_EXAMPLES = 10
README, NUMBERS, ERROR_TYPES, FUNNEL = "README.md", "card.json", "error_types.png", "funnel.png"


def describe(rows: Iterable[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """The numbers of a set of training rows.

    Returns:
        rows, questions (different instructions); strategies: strategy -> origin (or "none") -> rows; sources: source
        -> {rows, questions}; error_types: type -> rows; lengths: {chars, words} of the outputs -> {mean, p50, p95,
        max}; wrong_share: the mean part of a trajectory's characters that is marked wrong, or None; examples: ten rows
        drawn with the seed.
    """
    count = 0
    strategies: defaultdict[str, Counter[str]] = defaultdict(Counter)
    questions: defaultdict[str, set[int]] = defaultdict(set)
    rows_by_source: Counter[str] = Counter()
    error_types: Counter[str] = Counter()
    chars, word_counts = array("L"), array("L")
    marked, wrong = 0, 0.0
    drawn: list[tuple[int, int, dict[str, Any]]] = []  # the largest draw is the first to go
    for row in rows:
        count += 1
        source = row["source"] or "unknown"
        strategies[row["strategy"] or "unknown"][row["error_origin"] or "none"] += 1
        rows_by_source[source] += 1
        questions[source].add(hash(row["instruction"]))
        chars.append(len(row["output"]))
        word_counts.append(len(row["output"].split()))
        if row["error_type"]:
            error_types[row["error_type"]] += 1
        if row["error_span"]:
            marked += 1
            wrong += (row["error_span"][1] - row["error_span"][0]) / len(row["output"])
        heapq.heappush(drawn, (-draw_of(seed, "card", str(row["id"])), count, dict(row)))
        if len(drawn) > _EXAMPLES:
            heapq.heappop(drawn)
    if not count:
        raise InputError("The data set holds no row, so that there is nothing to write a card about.")
    return {
        "rows": count,
        "questions": len(set().union(*questions.values())),
        "strategies": {name: dict(origins) for name, origins in sorted(strategies.items())},
        "sources": {
            name: {"rows": rows_by_source[name], "questions": len(held)} for name, held in sorted(questions.items())
        },
        "error_types": dict(error_types.most_common()),
        "lengths": {"chars": _lengths(chars), "words": _lengths(word_counts)},
        "wrong_share": round(wrong / marked, 4) if marked else None,
        "examples": [row for _, _, row in sorted(drawn, key=lambda entry: -entry[0])],
    }


def write_card(
    folder: Path,
    *,
    name: str,
    seed: int,
    stages: Sequence[Mapping[str, Any]] = (),
    students_error_types: Mapping[str, int] | None = None,
    assembled: Mapping[str, Any] | None = None,
    models: Mapping[str, str] | None = None,
    prompts: Mapping[str, str] | None = None,
    usage: Mapping[str, Mapping[str, float]] | None = None,
    currency: str = "USD",
    license: str | None = None,
) -> dict[str, Any]:
    """Write the card of the set in a folder, and return its numbers.

    Args:
        name: the heading.
        seed: of the draw of the examples.
        stages: `StageCount`s as dictionaries, in order. assembled: `Assembled` as a dictionary.
        students_error_types: type -> how often the analysis found it in the student's answers.
        models: role -> model. prompts: task -> fingerprint.
        usage: task -> {replies, prompt_tokens, cached_tokens, completion_tokens, cost}; cost in `currency`.
        license: an identifier of the Hub, such as cc-by-4.0, or None to name none.

    Raises:
        InputError: there is no data set, or the disk is full.
    """
    numbers = {
        "name": name,
        "license": license,
        **describe(read_dataset(folder), seed),
        "students_error_types": dict(Counter(students_error_types or {}).most_common()),
        "stages": [dict(stage) for stage in stages],
        "assembled": dict(assembled) if assembled is not None else None,
        "models": dict(models or {}),
        "prompts": dict(prompts or {}),
        "usage": {task: dict(sums) for task, sums in (usage or {}).items()},
        "currency": currency,
        "seed": seed,
    }
    pictures = []
    with write_faults_named(folder):
        for picture in (ERROR_TYPES, FUNNEL):
            (folder / picture).unlink(missing_ok=True)
        if numbers["error_types"] or numbers["students_error_types"]:
            draw_error_types(folder / ERROR_TYPES, numbers["students_error_types"], numbers["error_types"])
            pictures.append(ERROR_TYPES)
        if numbers["stages"]:
            draw_funnel(folder / FUNNEL, numbers["stages"])
            pictures.append(FUNNEL)
    with whole_file(folder / NUMBERS) as out:
        out.write(orjson.dumps(numbers, option=orjson.OPT_INDENT_2) + b"\n")
    with whole_file(folder / README) as out:
        out.write(card_text(numbers, pictures).encode())
    return numbers


def _lengths(values: Sequence[int]) -> dict[str, float]:
    ordered = sorted(values)
    at = {f"p{percent}": ordered[-(-len(ordered) * percent // 100) - 1] for percent in (50, 95)}  # nearest rank
    return {"mean": round(sum(ordered) / len(ordered), 1), **at, "max": ordered[-1]}
