"""The tables of a report: what the runs reached.

Enters: runs and published figures. Leaves: tables of plain cells, the same for the HTML page and the Markdown file,
which do the escaping. It reads no file and forms no statistic: intervals come from results.json as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lemma_train.evaluation.marked_text import one_line
from lemma_train.evaluation.published import Published
from lemma_train.evaluation.report_runs import Proportion, Run, at, number, proportion

NONE = "\u2013"
_ORDER = ("gsm8k", "math", "math500", "asdiv", "deepmind_math", "mawps", "svamp", "college_math")
_CORRECTION = (
    *("reflects", "undecided", "repaired", "idle_doubt", "wrong_both", "spoiled"),
    *("repair_rate", "spoil_rate"),
)
_PROBE = ("recovered", "reflected")
_LENGTHS = (("mean",), ("right", "mean"), ("wrong", "mean"), ("p95",))


@dataclass(frozen=True)
class Cell:
    """A cell: its text, and a smaller remark beneath or behind it."""

    text: str
    small: str = ""


@dataclass(frozen=True)
class Row:
    """The cells of a row; kind: run, or published for figures that are not one's own."""

    cells: Sequence[Cell]
    kind: str = "run"


_MODEL = Cell("model", "benchmark")


@dataclass
class Table:
    """A table under a title. about: one paragraph that says how to read it."""

    title: str
    about: str
    columns: Sequence[Cell]
    rows: list[Row] = field(default_factory=list)


def benchmark_names(runs: Sequence[Run]) -> list[str]:
    """Every benchmark of the runs: those of the paper in its order, then the others as they come."""
    found = list(dict.fromkeys(name for run in runs for name in run.benchmarks))
    return [name for name in _ORDER if name in found] + [name for name in found if name not in _ORDER]


def headline(runs: Sequence[Run], base: Run | None, published: Published | None) -> Table:
    """Accuracy of every run on every benchmark, with published figures beneath.

    base: where given, each other run's accuracies carry their difference from its.
    """
    names = benchmark_names(runs)
    columns = [Cell("model"), *(Cell(one_line(name), _setting(runs, name)) for name in names), Cell("average")]
    table = Table("Accuracy", "", columns)
    for run in runs:
        other = base if base is not run else None
        cells = [with_interval(run.accuracy(name), other.accuracy(name).value if other else None) for name in names]
        average = with_interval(Proportion(run.average), other.average if other else None)
        table.rows.append(Row([Cell(run.name), *cells, average]))
    about = ["Final answers in %, with 95% intervals; the average is the plain mean of the benchmarks."]
    if base is not None:
        about.append(f"Differences in points are to {base.name}; lemma compare gives their intervals.")
    if published is not None:
        for method in published.rows:
            size = f"{method.samples} rows, " if method.samples else ""
            label = Cell(method.method, f"{size}table {method.table}")
            cells = [Cell(_published(method.accuracies.get(name))) for name in (*names, "average")]
            table.rows.append(Row([label, *cells], "published"))
        about.append(
            f"Beneath: published figures of {published.base} and its baselines ({published.citation}), greedy and "
            f"graded by the authors' rules; their average is over {', '.join(published.benchmarks)}."
        )
    table.about = " ".join(about)
    return table


def self_correction(runs: Sequence[Run]) -> Table | None:
    """How often models reflect and what comes of it; None where no run has a scorecard or a probe."""
    parts = [
        (run, name, card)
        for run in runs
        for name, card in [("all", at(run.results, "scorecard")), *_per_benchmark(run, "scorecard")]
        if isinstance(card, Mapping)
    ]
    probes = [run for run in runs if isinstance(at(run.results, "probe"), Mapping)]
    if not parts and not probes:
        return None
    table = Table(
        "Self-correction",
        "In %, with 95% intervals. Reflects: of all answers. Undecided: of those that reflect, where it could not be "
        "told whether what stands before the reflection was right. Of the others: repaired (wrong before, right "
        "after), idle doubt (right both times), wrong both times, spoiled (right before, wrong after). Repair rate: "
        "of those wrong before; spoil rate: of those right before."
        + (" Probe: a wrong beginning was put into the model's mouth." if probes else ""),
        [_MODEL, *(Cell(key.replace("_", " ")) for key in _CORRECTION)]
        + [Cell(f"probe: {key}") for key in _PROBE if probes],
    )
    for run in runs:
        own = [(name, card) for owner, name, card in parts if owner is run]
        if not own and run in probes:
            own = [("all", {})]
        for name, card in own:
            cells = [with_interval(proportion(card.get(key))) for key in _CORRECTION]
            probe = at(run.results, "probe") if name == "all" else None
            cells += [with_interval(proportion(at(probe, key))) for key in _PROBE if probes]
            table.rows.append(Row([Cell(run.name, one_line(name)), *cells]))
    return table


def rules(runs: Sequence[Run]) -> Table | None:
    """Accuracy by this project's grader against accuracy by the authors' rules."""
    table = Table(
        "Strict grading and the authors' rules",
        "In %. The strict grader decides everywhere else in this report; the authors' rules (re-implemented) are for "
        "comparison with published figures. Disagreements: answers that only one of them counts as right.",
        [_MODEL, *(Cell(text) for text in ("strict", "authors' rules", "difference", "disagreements"))],
    )
    for run in runs:
        for name, authors in _per_benchmark(run, "authors"):
            strict, theirs = run.accuracy(name), proportion(at(authors, "accuracy"))
            apart = None if strict.value is None or theirs.value is None else theirs.value - strict.value
            cells = [with_interval(strict), with_interval(theirs), Cell(_points(apart))]
            cells.append(Cell(count(at(authors, "disagreement_count"))))
            table.rows.append(Row([Cell(run.name, one_line(name)), *cells]))
    return table if table.rows else None


def disagreements(runs: Sequence[Run]) -> Table | None:
    """The first answers of each run that the two graders judge differently."""
    table = Table(
        "Disagreements, the first of each run",
        "What each grader took for the final answer, and how it judged it.",
        [Cell(text) for text in ("model", "sample", "reference", "strict", "authors' rules")],
    )
    for run in runs:
        for sample in run.disagreements:
            verdicts = [
                Cell(one_line(sample[f"{who}extracted"], 60) if sample[f"{who}extracted"] is not None else NONE, word)
                for who in ("", "authors_")
                for word in ["right" if sample[f"{who}correct"] else "wrong"]
            ]
            facts = [Cell(run.name), Cell(one_line(sample["id"], 60)), Cell(one_line(sample["reference"], 60))]
            table.rows.append(Row([*facts, *verdicts]))
    return table if table.rows else None


def answers(runs: Sequence[Run]) -> Table:
    """Counts and lengths of answers, and pass@k and maj@k where several were drawn."""
    extra = []
    for kind in ("pass_at_k", "maj_at_k"):
        held = {k for run in runs for _, shares in _per_benchmark(run, "metrics", kind) for k in shares}
        extra += [(kind, k) for k in sorted(held - {"1"}, key=_k)]  # with k = 1 both are the accuracy
    names = ("empty", "cut_off", "no_answer", "ungradable")
    table = Table(
        "Answers",
        "Counts of answers that are empty, were cut off at the limit of tokens or state no final answer, and of "
        "questions whose reference cannot be read (left out of accuracies); lengths in tokens.",
        [_MODEL, Cell("questions"), Cell("answers")]
        + [Cell(name.replace("_", " ")) for name in names]
        + [Cell("mean length", small) for small in ("all", "right", "wrong")]
        + [Cell("95th percentile")]
        + [Cell(f"{kind.partition('_')[0]}@{k}", "%") for kind, k in extra],
    )
    for run in runs:
        for name, entry in run.benchmarks.items():
            metrics = entry.get("metrics")
            counts = [*(entry.get(key) for key in ("questions", "samples")), *(at(metrics, key) for key in names)]
            counts += [at(metrics, "length", *keys) for keys in _LENGTHS]
            cells = [Cell(run.name, one_line(name)), *(Cell(count(value)) for value in counts)]
            cells += [with_interval(proportion(at(metrics, kind, k))) for kind, k in extra]
            table.rows.append(Row(cells))
    return table


def levels(runs: Sequence[Run]) -> Table | None:
    """Accuracy by level and subject, where the benchmarks tell them."""
    held: dict[tuple[str, str], None] = {}
    for run in runs:
        for key in ("by_level", "by_subject"):
            for name, shares in _per_benchmark(run, "metrics", key):
                held |= dict.fromkeys((name, f"{key}\0{group}") for group in shares)
    if not held:
        return None
    columns = [Cell("part", "benchmark"), *(Cell(run.name) for run in runs)]
    table = Table("Accuracy by level and subject", "In %, with 95% intervals.", columns)
    for name, place in held:
        key, _, group = place.partition("\0")
        cells = [with_interval(proportion(at(run.benchmarks, name, "metrics", key, group))) for run in runs]
        table.rows.append(Row([Cell(one_line(group), one_line(name)), *cells]))
    return table


def with_interval(share: Proportion, base: float | None = None) -> Cell:
    """A proportion in %; as its remark the difference from a base's, where one is given, and the interval."""
    if share.value is None:
        return Cell(NONE)
    remarks = [] if base is None else [_points(share.value - base)]
    if share.low is not None and share.high is not None:
        remarks.append(f"{100 * share.low:.1f}\u2013{100 * share.high:.1f}")
    return Cell(f"{100 * share.value:.1f}", ", ".join(remarks))


def _per_benchmark(run: Run, *keys: str) -> list[tuple[str, Mapping[str, Any]]]:
    """What each benchmark of a run holds under the keys, where that is a mapping."""
    held = [(name, at(entry, *keys)) for name, entry in run.benchmarks.items()]
    return [(name, value) for name, value in held if isinstance(value, Mapping)]


def _setting(runs: Sequence[Run], name: str) -> str:
    entries = [run.benchmarks[name] for run in runs if name in run.benchmarks]
    questions = {count(entry.get("questions")) for entry in entries}
    shots = {count(entry.get("shots")) for entry in entries}
    return f"{'/'.join(sorted(questions))} questions, {'/'.join(sorted(shots))}\u2011shot"


def _published(percent: float | None) -> str:
    return NONE if percent is None else f"{percent:.1f}"


def _points(share: float | None) -> str:
    if share is None:
        return NONE
    points = round(100 * share, 1)
    return "\u00b10.0" if points == 0 else f"{points:+.1f}".replace("-", "\u2212")


def count(value: Any) -> str:
    """A number without decimals, or a dash for anything else."""
    plain = number(value)
    return NONE if plain is None else f"{plain:,.0f}"


def _k(key: str) -> tuple[int, str]:
    return (int(key), "") if key.isascii() and key.isdigit() and len(key) < 10 else (0, key)
