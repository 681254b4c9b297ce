"""What the finished runs measured, and what can be said about the cells: means, intervals over seeds, differences.

Enters: runs with how they stand. Leaves: plain dictionaries, which are what `ablation.json` holds. It draws nothing.

With n >= 2 seeds the interval of a cell is Student's t of its n figures: mean +- t(n - 1) s / sqrt(n). It tells how the
figure varies with the seed of the training, on these very questions. A difference from the baseline is paired: the
interval is that of the n differences between runs of equal seeds, from which what a seed does to both has gone. With
one seed there is no such interval; then the evaluation's own, over the questions, is given and called so.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lemma_train.ablation.cells import Cell, Run
from lemma_train.ablation.training_run import Ending
from lemma_train.errors import InputError
from lemma_train.evaluation.result_values import at, number
from lemma_train.training.progress import read_metrics

_NOTHING: dict[str, Any] = {"value": None, "low": None, "high": None, "interval": None}


def run_figures(run: Run) -> dict[str, Any]:
    """The figures of a finished run: `accuracy` (mean over benchmarks) with its interval, `train_loss`, `eval_loss`
    (the last held out) and, as BENCHMARK.FIGURE, accuracy and the rates of self-correction; None where there is none.
    """
    record = _read(run.folder / "run.json")
    held_out = [number(line.get("eval_loss")) for line in read_metrics(run.folder / "metrics.jsonl")]
    told: dict[str, Any] = {
        "train_loss": number(at(record, "figures", "train_loss")),
        "eval_loss": next((loss for loss in reversed(held_out) if loss is not None), None),
        "accuracy": None,
        "low": None,
        "high": None,
    }
    named = run.recipe.get("evaluate_after") or []
    accuracies = []
    for path in [named] if isinstance(named, str) else named:
        results = _read(run.folder / "evaluation" / Path(path).stem / "results.json")
        benchmarks = at(results, "benchmarks")
        for name, benchmark in benchmarks.items() if isinstance(benchmarks, Mapping) else ():
            accuracies.append(number(at(benchmark, "metrics", "accuracy", "value")))
            told[f"{name}.accuracy"] = accuracies[-1]
            for rate in ("reflects", "repaired", "spoiled", "repair_rate", "spoil_rate"):
                told[f"{name}.{rate}"] = number(at(benchmark, "scorecard", rate, "value"))
        average = at(results, "average")
        told |= {end: number(at(average, end)) for end in ("low", "high")}
    known = [accuracy for accuracy in accuracies if accuracy is not None]
    if known and len(known) == len(accuracies):
        told["accuracy"] = float(np.mean(known))
    if not isinstance(named, str) and len(named) > 1:
        told |= {"low": None, "high": None}  # each evaluation has its own interval, their mean has none
    return told


def summarise(
    runs: Sequence[Run], endings: Mapping[str, Ending], measure: str, baseline: str | None = None
) -> dict[str, Any]:
    """All runs and cells of an ablation, and which cell is best.

    Args:
        endings: how each run stands, by its name.
        measure: which figure decides; see `AblateSettings.measure`.
        baseline: name of the cell that the others are compared with; None: the first.

    Returns:
        `runs`: one entry each, with state, message, seconds and figures. `cells`: the mean of the measure over the
        finished seeds with `low`, `high` and `interval` ("seeds", "questions" or None), its `difference` from the
        baseline, and the means of all other figures. `best`: the cell with the best mean among those of which no seed
        is missing, None where there is none. `as_good`: cells whose paired difference from the best has zero inside its
        interval (or none can be told). `failed`, `missing`: names of runs.

    Raises:
        InputError: runs have finished, and none of them has the figure `measure`.
    """
    measured = {run.name: run_figures(run) for run in runs if endings[run.name].state == "done"}
    if measured and all(figures.get(measure) is None for figures in measured.values()):
        known = {name for told in measured.values() for name, figure in told.items() if figure is not None}
        has = ", ".join(sorted(known - {"low", "high"}))
        raise InputError(f"measure: no finished run has the figure {measure}; they have {has}.")
    cells = list(dict.fromkeys(run.cell.name for run in runs))
    by_name = {run.cell.name: run.cell for run in runs}
    held = {
        cell: {run.seed: measured[run.name] for run in runs if run.cell.name == cell and run.name in measured}
        for cell in cells
    }
    values = {
        cell: {seed: told[measure] for seed, told in held[cell].items() if told.get(measure) is not None}
        for cell in cells
    }
    first = baseline or cells[0]
    seeds = {run.seed for run in runs}
    told = [
        _cell(by_name[cell], held[cell], values[cell], None if cell == first else values[first], measure)
        for cell in cells
    ]
    complete = [cell for cell in told if len(values[cell["name"]]) == len(seeds)]
    sign = -1 if measure == "eval_loss" else 1
    best = max(complete, key=lambda cell: sign * cell["value"])["name"] if complete else None
    return {
        "measure": measure,
        "higher_is_better": sign > 0,
        "baseline": first,
        "best": best,
        "as_good": [cell for cell in cells if best not in (None, cell) and _may_equal(values[cell], values[best])],
        "failed": [run.name for run in runs if endings[run.name].state == "failed"],
        "missing": [run.name for run in runs if endings[run.name].state in ("missing", "elsewhere")],
        "cells": told,
        "runs": [_run(run, endings[run.name], measured.get(run.name)) for run in runs],
    }


def mean_over_seeds(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean and Student's t interval of at least two figures.

    Example:
        >>> [round(x, 3) for x in mean_over_seeds([0.50, 0.54, 0.52])]
        [0.52, 0.47, 0.57]
    """
    from scipy.special import stdtrit

    count, mean = len(values), float(np.mean(values))
    assert count >= 2
    half = float(stdtrit(count - 1, (1 + confidence) / 2)) * float(np.std(values, ddof=1)) / math.sqrt(count)
    return mean, mean - half, mean + half


def _cell(
    cell: Cell,
    held: Mapping[int, Mapping[str, Any]],
    values: Mapping[int, float],
    baseline: Mapping[int, float] | None,
    measure: str,
) -> dict[str, Any]:
    only = next(iter(held.values())) if len(held) == 1 else {}
    told = _interval(list(values.values()))
    if measure != "eval_loss" and told["interval"]:  # a share lies between 0 and 1, which Student's t does not know
        told |= {"low": max(0.0, told["low"]), "high": min(1.0, told["high"])}
    if len(values) == 1 and measure == "accuracy" and only.get("low") is not None:
        told |= {"low": only["low"], "high": only["high"], "interval": "questions"}
    names = list(dict.fromkeys(name for figures in held.values() for name in figures if name not in ("low", "high")))
    means = {name: _mean([figures.get(name) for figures in held.values()]) for name in names}
    pairs = [] if baseline is None else [values[seed] - baseline[seed] for seed in values if seed in baseline]
    difference = None if baseline is None else _interval(pairs)
    named = {"name": cell.name, "values": dict(cell.values), "seeds": sorted(values)}
    return {**named, **told, "difference": difference, "figures": means}


def _interval(values: Sequence[float]) -> dict[str, Any]:
    if not values:
        return dict(_NOTHING)
    if len(values) == 1:
        return {**_NOTHING, "value": values[0]}
    mean, low, high = mean_over_seeds(values)
    return {"value": mean, "low": low, "high": high, "interval": "seeds"}


def _may_equal(one: Mapping[int, float], best: Mapping[int, float]) -> bool:
    """Whether what was measured does not tell a cell from the best; not for cells of which nothing is known."""
    pairs = [best[seed] - one[seed] for seed in best if seed in one]
    if not pairs:
        return False
    return len(pairs) == 1 or mean_over_seeds(pairs)[1] <= 0 <= mean_over_seeds(pairs)[2]


def _run(run: Run, ending: Ending, figures: Mapping[str, Any] | None) -> dict[str, Any]:
    told = {"state": ending.state, "message": ending.message, "seconds": ending.seconds, "figures": figures}
    return {"name": run.name, "cell": run.cell.name, "seed": run.seed, "folder": str(run.folder), **told}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
