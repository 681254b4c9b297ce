"""What the finished runs measured, and what can be said about the cells: means, intervals over seeds, differences.

Enters: runs with how they stand. Leaves: plain dictionaries, which are what `ablation.json` holds. It draws nothing.

With n >= 2 seeds the interval of a cell is Student's t of its n figures: mean +- t(n - 1) s / sqrt(n). It tells how the
figure varies with the seed of the training, on these very questions. A difference from the baseline is paired: the
interval is that of the n differences between runs of equal seeds, from which what a seed does to both has gone. With
one seed there is no such interval; then the evaluation's own, over the questions, is given and called so. Nor is there
one where all n figures are equal, which happens with few questions: no spread among a few is no certainty.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lemma_train.ablation.cells import Cell, Run
from lemma_train.ablation.training_run import Ending
from lemma_train.errors import InputError
from lemma_train.evaluation.result_values import at, number, proportion
from lemma_train.training.progress import read_metrics

_EQUAL = 1e-9  # what differs by less differs by rounding
_NOTHING: dict[str, Any] = {"value": None, "low": None, "high": None, "interval": None}


def run_figures(run: Run) -> dict[str, Any]:
    """The figures of a finished run: `accuracy` (mean over benchmarks) with its interval, `train_loss`, `eval_loss`
    (the last held out) and, as BENCHMARK.FIGURE, accuracy and the rates of self-correction; None where there is none.
    A benchmark that two evaluations have is called EVALUATION.BENCHMARK.
    """
    record = _read(run.folder / "run.json")
    held_out = [line["eval_loss"] for line in read_metrics(run.folder / "metrics.jsonl") if "eval_loss" in line]
    told: dict[str, Any] = {
        "train_loss": number(at(record, "figures", "train_loss")),
        "eval_loss": number(held_out[-1]) if held_out else None,  # none where the last is not a number
        "accuracy": None,
        "low": None,
        "high": None,
    }
    named = run.recipe.get("evaluate_after") or []
    stems = [Path(path).stem for path in ([named] if isinstance(named, str) else named)]
    results = {stem: _read(run.folder / "evaluation" / stem / "results.json") for stem in stems}
    found = [(stem, *pair) for stem in stems for pair in _benchmarks(results[stem])]
    times = Counter(name for _, name, _ in found)
    accuracies = []
    for stem, name, benchmark in found:
        called = name if times[name] == 1 else f"{stem}.{name}"
        accuracies.append(proportion(at(benchmark, "metrics", "accuracy")).value)
        told[f"{called}.accuracy"] = accuracies[-1]
        for rate in ("reflects", "repaired", "spoiled", "repair_rate", "spoil_rate"):
            told[f"{called}.{rate}"] = proportion(at(benchmark, "scorecard", rate)).value
    known = [accuracy for accuracy in accuracies if accuracy is not None]
    # With a benchmark missing the mean would be one over others than the other runs'.
    if known and len(known) == len(accuracies) and all(_benchmarks(results[stem]) for stem in stems):
        told["accuracy"] = float(np.mean(known))
        if len(stems) == 1:  # each of several evaluations has an interval of its own, their mean has none
            average = at(results[stems[0]], "average")
            ends = proportion({"value": told["accuracy"], "low": at(average, "low"), "high": at(average, "high")})
            told |= {"low": ends.low, "high": ends.high}
    return told


def _benchmarks(results: Any) -> list[tuple[str, Any]]:
    found = at(results, "benchmarks")
    return list(found.items()) if isinstance(found, Mapping) else []


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
        interval, or has no interval, as with one seed. `failed`, `missing`: names of runs.

    Raises:
        InputError: runs have finished, and none of them has the figure `measure`, nor will one that is to come.
    """
    measured = {run.name: run_figures(run) for run in runs if endings[run.name].state == "done"}
    to_come = any(ending.state in ("missing", "elsewhere") for ending in endings.values())
    none_yet = to_come and any(_is_undefined(figures, measure) for figures in measured.values())
    if measured and not none_yet and all(figures.get(measure) is None for figures in measured.values()):
        known = {name for told in measured.values() for name, figure in told.items() if figure is not None}
        has = ", ".join(sorted(known - {"low", "high"})) or "none"
        raise InputError(
            f"measure: no finished run has the figure {measure}; they have {has}. Name one of these, or look into the "
            f"folder of {next(iter(measured))}."
        )
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


def mean_over_seeds(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Mean and Student's 95% t interval of at least two figures; no interval where all of them are equal.

    Example:
        >>> [round(x, 3) for x in mean_over_seeds([0.50, 0.54, 0.52])]
        [0.52, 0.47, 0.57]
        >>> mean_over_seeds([0.5, 0.5])
        (0.5, None, None)
    """
    from scipy.special import stdtrit

    count, mean = len(values), float(np.mean(values))
    assert count >= 2
    if float(np.ptp(values)) < _EQUAL:
        return mean, None, None
    half = float(stdtrit(count - 1, 0.975)) * float(np.std(values, ddof=1)) / math.sqrt(count)
    return mean, mean - half, mean + half


def _is_undefined(figures: Mapping[str, Any], measure: str) -> bool:
    """Whether the run was measured, but the measure is a rate of nothing: of a model that never takes a step back no
    rate of repair can be told, of the next cell's perhaps."""
    benchmark = measure.rpartition(".")[0]
    return figures.get(measure) is None and measure in figures and figures.get(f"{benchmark}.reflects") is not None


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
    return {"value": mean, "low": low, "high": high, "interval": None if low is None else "seeds"}


def _may_equal(one: Mapping[int, float], best: Mapping[int, float]) -> bool:
    """Whether what was measured does not tell a cell from the best; not for cells of which nothing is known."""
    told = _interval([best[seed] - one[seed] for seed in best if seed in one])
    return told["value"] is not None and (told["interval"] is None or told["low"] <= 0 <= told["high"])


def _run(run: Run, ending: Ending, figures: Mapping[str, Any] | None) -> dict[str, Any]:
    told = {"state": ending.state, "message": ending.message, "seconds": ending.seconds, "figures": figures}
    return {"name": run.name, "cell": run.cell.name, "seed": run.seed, "folder": str(run.folder), **told}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # damaged counts as missing
        return None
