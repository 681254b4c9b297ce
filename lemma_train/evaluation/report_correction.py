"""The tables of a report on self-correction: what models doubt, what comes of it, and by which type of error.

Enters: runs. Leaves: tables of plain cells. It forms no statistic but the paired difference of the probe.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lemma_train.evaluation.finished_run import FinishedRun
from lemma_train.evaluation.marked_text import one_line
from lemma_train.evaluation.pairing import Paired, paired, probe_shares
from lemma_train.evaluation.report_cells import BY_BENCHMARK, NONE, Cell, Row, Table, count, with_interval
from lemma_train.evaluation.result_values import at, number, proportion

_UNIT = "In %, with 95% intervals and the number that each is a share of."
_OUTCOMES = ("reflects", "undecided", "repaired", "idle_doubt", "wrong_both", "spoiled")
_RATES = ("repair_rate", "spoil_rate")
_PROBE = ("recovered", "reflected", "reflected_at_once", "recovered_when_reflected", "recovered_when_silent")
_BOUNDARIES = {"clean": "clean", "with_break": "with break", "apart": "apart"}
_BY_TYPE = (
    ("reflects", ("scorecard", "reflects")),
    ("repair rate", ("scorecard", "repair_rate")),
    ("probe: recovered", ("probe", "recovered")),
    ("probe: reflected", ("probe", "reflected")),
)


def self_correction(runs: Sequence[FinishedRun], benchmarks: Sequence[str] | None = None) -> Table | None:
    """How often models reflect and what comes of it; None where no run has a scorecard.

    Args:
        benchmarks: the rows are of these, the runs one beneath the other; None: of all together.
    """
    table = Table(
        "Self-correction",
        f"{_UNIT} Reflects: of all answers. Undecided: of those that reflect, where it could not be told whether what "
        "stands before the reflection was right. Of the others: repaired (wrong before, right after), idle doubt "
        "(right both times), wrong both times, spoiled (right before, wrong after). Repair rate: of those wrong "
        "before; spoil rate: of those right before.",
        [Cell("model"), *(Cell(key.replace("_", " ")) for key in (*_OUTCOMES, *_RATES))],
    )
    if benchmarks is not None:
        columns = [BY_BENCHMARK, *table.columns[1:]]
        table = Table("Self-correction by benchmark", "", columns, grouped=True)
    for name in [None] if benchmarks is None else benchmarks:
        for run in runs:
            card = at(run.results, "scorecard") if name is None else at(run.benchmarks, name, "scorecard")
            if isinstance(card, Mapping):
                cells = [with_interval(proportion(card.get(key)), counted=True) for key in (*_OUTCOMES, *_RATES)]
                label = Cell(run.name) if name is None else Cell(one_line(name), run.name)
                table.rows.append(Row([label, *cells]))
    return table if table.rows else None


def probe(runs: Sequence[FinishedRun], base: FinishedRun | None, seed: int) -> Table | None:
    """The forced-error probe, beside the base where both were put the same items; None where no run has one."""
    boundaries = any(isinstance(at(run.results, "probe", "boundaries"), Mapping) for run in runs)
    about = (
        f"A wrong beginning was put into the model's mouth. {_UNIT} Recovered: its answer ends right all the same. "
        "Reflected: it doubts, anywhere or at once."
    )
    if base is not None and len(runs) > 1:
        about += f" Below it: the difference from {base.name} in points with its 95% interval, paired item by item."
    if boundaries:
        about += (
            " Boundary: at how many items the model went on from the very tokens of training (clean), from these and "
            "the line break that follows (with break), or from others (apart)."
        )
    names = [Cell("model"), *(Cell(key.replace("_", " ")) for key in _PROBE)]
    table = Table("Forced-error probe", about, [*names, *([Cell("boundary")] if boundaries else [])])
    for run in runs:
        told = run.results.get("probe")
        if isinstance(told, Mapping):
            changes = _probe_changes(run, base, seed)
            cells = [with_interval(proportion(told.get(key)), True, changes.get(key)) for key in _PROBE]
            cells += [Cell(_boundaries(told.get("boundaries")))] if boundaries else []
            table.rows.append(Row([Cell(run.name), *cells]))
    return table if table.rows else None


def error_types(runs: Sequence[FinishedRun]) -> Table | None:
    """Reflection, repair and recovery by the type of the error; None where no run tells types."""
    held: dict[str, float] = {}
    for run in runs:
        for part in ("scorecard", "probe"):
            for name, rates in _types(run, part).items():
                held[name] = held.get(name, 0.0) + (number(at(rates, "reflects", "n")) or 0.0)
    with_probe = any(_types(run, "probe") for run in runs)
    shown = [(title, place) for title, place in _BY_TYPE if place[0] == "scorecard" or with_probe]
    table = Table(
        "Self-correction by error type",
        f"{_UNIT} Reflects: of the answers in which this error was recognised. Repair rate: repaired, of those that "
        "reflect and were wrong before." + (" Probe: of the wrong beginnings with this error." if with_probe else ""),
        [Cell("error type", "model"), *(Cell(title) for title, _ in shown)],
        grouped=True,
    )
    for name in sorted(held, key=lambda name: (-held[name], name)):
        for run in runs:
            shares = [proportion(at(_types(run, part), name, rate)) for _, (part, rate) in shown]
            if any(share.n is not None for share in shares):
                label = Cell(one_line(name.replace("_", " ")), run.name)
                table.rows.append(Row([label, *(with_interval(share, counted=True) for share in shares)]))
    return table if table.rows else None


def _probe_changes(run: FinishedRun, base: FinishedRun | None, seed: int) -> dict[str, Paired]:
    if base is None or base is run:
        return {}
    shares = {key: probe_shares(base, run, key) for key in ("recovered", "reflected")}
    return {key: paired([held], seed) for key, held in shares.items() if held is not None}


def _boundaries(told: Any) -> str:
    held = [(number(at(told, key)), text) for key, text in _BOUNDARIES.items()]
    return ", ".join(f"{count(number)} {text}" for number, text in held if number) or NONE


def _types(run: FinishedRun, part: str) -> Mapping[str, Any]:
    told = at(run.results, part, "by_error_type")
    return told if isinstance(told, Mapping) else {}
