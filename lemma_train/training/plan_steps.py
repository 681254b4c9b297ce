"""How many rows, steps and tokens a run has, counted as the trainer counts them.

Enters: a recipe, the number of processes, and what the command line says about the rows. Leaves: `Rows` and `Steps`.
It reads the report of a prepared set or counts the lines of files; it tokenises nothing and asks no network.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lemma_train.errors import InputError
from lemma_train.training.recipe import Recipe
from lemma_train.training.sources import count_rows, read_sources

# Published data sets, by their cards: rows, mean tokens a row.
PUBLISHED = {"panzs19/LEMMA": (88_904, 623.0)}
ASSUMED_MEAN_TOKENS = 620.0
MOST_ROWS = 10**12  # more is a slip of the pen


@dataclass(frozen=True)
class Rows:
    """The rows to train on.

    count: None where nothing tells. mean: tokens a row. longest: tokens of the longest row; where nothing tells,
    max_length, the worst that can come (worst_case). padded: rows of a micro-batch may differ in length. origin,
    mean_origin: who says so.
    """

    count: int | None
    mean: float
    longest: int
    padded: bool
    worst_case: bool
    origin: str
    mean_origin: str


@dataclass(frozen=True)
class Steps:
    """Optimizer steps; `steps_per_epoch` and `tokens` are None where the number of rows is not known.

    global_batch_size: rows a step. micro_batches: of each process in an epoch. tokens: of all rows that are trained
    on, padding not counted.
    """

    global_batch_size: int
    micro_batches: int | None
    steps_per_epoch: int | None
    total_steps: int | None
    epochs: float | None
    tokens: int | None


def find_rows(recipe: Recipe, count: int | None = None, mean: float | None = None) -> Rows:
    """What is known about the rows: from the caller, else from the prepared set, else from files or a card.

    Raises:
        InputError: `train_files` is at fault, or rows are neither counted nor known and no `max_steps` is set.
    """
    report = _report(recipe.output_dir / "prepared" / "report.json")
    stale = _differing(report, recipe)
    report = None if stale else report
    origin = mean_origin = "as given"
    card = None
    if count is None and report is not None:
        count, origin = report["train_rows"], "counted by `lemma prepare`"
    if count is None or (mean is None and report is None):
        counted, card, words = _count(recipe)
        if count is None:
            count, origin = counted, words
    if mean is None:
        if report is not None:
            mean, mean_origin = report["lengths"]["mean"], "counted by `lemma prepare`"
        elif card is not None:
            mean, mean_origin = card, "from the data set's card"
        else:
            mean, mean_origin = ASSUMED_MEAN_TOKENS, "assumed"
    if count is None and recipe["max_steps"] < 1:
        raise InputError(
            "train_files: the rows are not on this disk, so steps cannot be counted; give their number with --rows."
        )
    limit = recipe["max_length"]
    longest = report["lengths"]["max"] if report is not None else limit or math.ceil(4 * mean)
    longest = min(longest, limit or longest)
    padded = report is None or report["lengths"]["min"] != report["lengths"]["max"]
    if limit is not None and mean > limit:
        mean = float(limit)
    if stale:
        origin += f"; the prepared set is not counted, because it was made with another {', '.join(stale)}"
    if recipe["packing"] and count is not None:
        packed = math.ceil(count * mean / limit)
        origin += f"; packed into at least {packed:,} sequences of {limit:,} tokens, which are counted as the rows"
        count, mean, longest = packed, float(limit), limit
    return Rows(count, mean, longest, padded, report is None, origin, mean_origin)


def count_steps(recipe: Recipe, rows: Rows, processes: int, micro_batch: int, accumulation: int) -> Steps:
    """Steps as `LemmaTrainer` makes them: what does not fill a step at the end of an epoch is one or not, by
    `partial_last_step`. With other sampling than batch_rebalance, accelerate fills up the last micro-batches so that
    every process has as many, and whole accumulations count as steps.

    Example: 88,904 rows, 8 processes, 4 rows x 8 accumulated, drop: 347 steps an epoch.
    """
    batch = processes * micro_batch * accumulation
    micro_batches = per_epoch = None
    drop_last = recipe["dataloader_drop_last"]
    if rows.count is not None and recipe["train_sampling_strategy"] == "batch_rebalance" and not recipe["packing"]:
        whole = rows.count // batch
        drops = whole > 0 and (drop_last or recipe["partial_last_step"] == "drop")
        per_epoch = whole if drops else math.ceil(rows.count / batch)
        micro_batches = per_epoch * accumulation
    elif rows.count is not None:
        batches = rows.count // micro_batch if drop_last else math.ceil(rows.count / micro_batch)
        micro_batches = batches // processes if drop_last else math.ceil(batches / processes)
        per_epoch = micro_batches // accumulation
        if per_epoch == 0 or (recipe["partial_last_step"] == "keep" and micro_batches % accumulation):
            per_epoch += 1
    limited = recipe["max_steps"] > 0
    total = recipe["max_steps"] if limited else None
    if total is None and per_epoch is not None:
        total = math.ceil(recipe["num_train_epochs"] * per_epoch)
    epochs = None if total is None or per_epoch is None else total / per_epoch
    seen = None if total is None else total * batch
    if seen is not None and rows.count is not None and epochs is not None:
        seen = min(seen, math.ceil(rows.count * epochs))
    tokens = None if seen is None else round(seen * rows.mean)
    return Steps(batch, micro_batches, per_epoch, total, epochs, tokens)


def _report(path: Path) -> dict[str, Any] | None:
    """A prepared set's report, where it is whole enough to plan by."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        lengths = report["lengths"]
        numbers = (report["train_rows"], lengths["min"], lengths["mean"], lengths["max"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    whole = type(numbers[0]) is int and all(type(n) in (int, float) and 0 < n <= MOST_ROWS for n in numbers)
    return report if whole else None


def _differing(report: dict[str, Any] | None, recipe: Recipe) -> list[str]:
    """Keys that were others when the rows were prepared: such a report tells nothing of this recipe's rows."""
    if report is None:
        return []
    before, now = report.get("made_from"), recipe.keys_of_rows
    return [key for key in now if not isinstance(before, dict) or before.get(key) != now[key]]


def _count(recipe: Recipe) -> tuple[int | None, float | None, str]:
    """Rows of `train_files` before linting, the mean length by a card, and in words where they come from."""
    total, means, words = 0.0, [], []
    for source in read_sources(recipe["train_files"]):
        if source.is_local:
            rows = count_rows(source)
            words.append(f"{source.path}, before linting")
        elif source.path in PUBLISHED:
            rows, mean = PUBLISHED[source.path]
            rows = rows if source.limit is None else min(rows, source.limit)
            means.append(mean)
            words.append(f"{source.path}'s card")
        else:
            return None, None, f"{source.path} is not on this disk"
        total += rows * source.weight
    count = round(total * (1 - recipe["eval_fraction"]))
    origin = "; ".join(words) + (f", {recipe['eval_fraction']:.0%} held out" if recipe["eval_fraction"] else "")
    return count, means[0] if len(means) == len(words) == 1 else None, origin
