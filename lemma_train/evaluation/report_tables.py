"""The tables of a report: what the runs reached.

Enters: runs and published figures. Leaves: tables of plain cells. It reads no file; intervals come from results.json as
they are, and those of differences from `pairing`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lemma_train.evaluation.benchmarks import BENCHMARKS
from lemma_train.evaluation.finished_run import FinishedRun
from lemma_train.evaluation.marked_text import one_line
from lemma_train.evaluation.pairing import Paired, paired, same_questions, shares_of
from lemma_train.evaluation.published import Published
from lemma_train.evaluation.report_cells import BY_BENCHMARK, NONE, Cell, Row, Table, count, points, with_interval
from lemma_train.evaluation.result_values import at, proportion

_ORDER = ("gsm8k", "math", "math500", "asdiv", "deepmind_math", "mawps", "svamp", "college_math")
_LENGTHS = (("mean",), ("right", "mean"), ("wrong", "mean"), ("p95",))


@dataclass(frozen=True)
class Changes:
    """What a run is beside the base: each benchmark, and all of them, where both answered the same questions."""

    benchmarks: Mapping[str, Paired]
    average: Paired | None


def benchmark_names(runs: Sequence[FinishedRun]) -> list[str]:
    """Every benchmark of the runs: those of the paper in its order, then the others as they come."""
    found = list(dict.fromkeys(name for run in runs for name in run.benchmarks))
    return [name for name in _ORDER if name in found] + [name for name in found if name not in _ORDER]


def changes(run: FinishedRun, base: FinishedRun, seed: int) -> Changes:
    """What a run is beside the base, on the benchmarks whose questions are the same in both."""
    names = [name for name in run.questions if run.questions[name] and name in base.questions]
    same = [name for name in names if same_questions(base.questions[name], run.questions[name])]
    shares = {name: shares_of(base.questions[name], run.questions[name]) for name in same}
    whole = bool(same) and len(same) == len(run.benchmarks) == len(base.benchmarks)
    average = paired(list(shares.values()), seed) if whole else None
    return Changes({name: paired([held], seed) for name, held in shares.items()}, average)


def headline(
    runs: Sequence[FinishedRun], base: FinishedRun | None, published: Published | None, seed: int = 0
) -> Table:
    """Accuracy of every run on every benchmark, with published figures beneath.

    Args:
        base: where given, the accuracies of each other run carry their difference from its, with a paired interval.
        seed: of that interval's bootstrap.
    """
    names = benchmark_names(runs)
    columns = [Cell("model"), *(Cell(one_line(name), _setting(runs, name)) for name in names), Cell("average")]
    table = Table("Accuracy", "", columns)
    for run in runs:
        beside = Changes({}, None) if base is None or base is run else changes(run, base, seed)
        cells = [with_interval(run.accuracy(name), change=beside.benchmarks.get(name)) for name in names]
        average = with_interval(run.average, change=beside.average)
        label = Cell(run.name, "the base" if base is run and len(runs) > 1 else "")
        table.rows.append(Row([label, *cells, average]))
    about = ["Final answers in %, beneath each its 95% interval; the average is the plain mean of the benchmarks."]
    if base is not None and len(runs) > 1:
        about.append(
            f"Below it: the difference from {base.name} in points, with the 95% interval of the difference, paired "
            "question by question. A difference whose interval holds 0 may be chance, and so may one of a handful of "
            "questions: lemma compare tells its exact p."
        )
    if published is not None:
        for method in published.rows:
            told = [f"{method.samples} rows"] if method.samples else []
            told += [f"table {method.table}"] if method.table else []
            cells = [Cell(_published(method.accuracies.get(name))) for name in (*names, "average")]
            table.rows.append(Row([Cell(f"published: {method.method}", ", ".join(told)), *cells], "published"))
        about.append(
            f"Beneath: published figures of {published.base} and its baselines ({published.citation}), greedy and "
            "graded by the authors' rules"
            + (f"; their average is over {', '.join(published.benchmarks)}." if published.averaged else ".")
        )
    table.about = " ".join(about)
    return table


def rules(runs: Sequence[FinishedRun]) -> Table | None:
    """Accuracy by this project's grader against accuracy by the authors' rules."""
    table = Table(
        "Strict grading and the authors' rules",
        "In %. The strict grader decides everywhere else in this report; the authors' rules (re-implemented) are for "
        "comparison with published figures. Disagreements: answers that only one of them counts as right.",
        [BY_BENCHMARK, *(Cell(text) for text in ("strict", "authors' rules", "difference", "disagreements"))],
        grouped=True,
    )
    for name in benchmark_names(runs):
        for run in runs:
            authors = at(run.benchmarks, name, "authors")
            if not isinstance(authors, Mapping):
                continue
            strict, theirs = run.accuracy(name), proportion(at(authors, "accuracy"))
            apart = None if strict.value is None or theirs.value is None else theirs.value - strict.value
            cells = [with_interval(strict), with_interval(theirs), Cell(points(apart))]
            cells.append(Cell(count(at(authors, "disagreement_count"))))
            table.rows.append(Row([Cell(one_line(name), run.name), *cells]))
    return table if table.rows else None


def disagreements(runs: Sequence[FinishedRun]) -> Table | None:
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


def answers(runs: Sequence[FinishedRun]) -> Table:
    """Counts and lengths of answers, and pass@k and maj@k where several were drawn."""
    extra = []
    for kind in ("pass_at_k", "maj_at_k"):
        held = {k for run in runs for _, shares in _per_benchmark(run, "metrics", kind) for k in shares}
        extra += [(kind, k) for k in sorted(held - {"1"}, key=_k)]  # with k = 1 both are the accuracy
    names = ("empty", "cut_off", "rejected", "no_answer", "ungradable")
    table = Table(
        "Answers",
        "Counts of answers that are empty, were cut off at the limit of tokens, refused or state no final answer, and "
        "of questions whose reference cannot be read (left out of accuracies); lengths in tokens.",
        [BY_BENCHMARK, Cell("questions"), Cell("answers")]
        + [Cell(name.replace("_", " ")) for name in names]
        + [Cell("mean length", small) for small in ("all", "right", "wrong")]
        + [Cell("95th percentile")]
        + [Cell(f"{kind.partition('_')[0]}@{k}", "%") for kind, k in extra],
        grouped=True,
    )
    for name in benchmark_names(runs):
        for run in runs:
            if name not in run.benchmarks:
                continue
            entry = run.benchmarks[name]
            metrics = entry.get("metrics")
            counts = [*(entry.get(key) for key in ("questions", "samples")), *(at(metrics, key) for key in names)]
            counts += [at(metrics, "length", *keys) for keys in _LENGTHS]
            cells = [Cell(one_line(name), run.name), *(Cell(count(value)) for value in counts)]
            cells += [with_interval(proportion(at(metrics, kind, k))) for kind, k in extra]
            table.rows.append(Row(cells))
    return table


def levels(runs: Sequence[FinishedRun]) -> Table | None:
    """Accuracy by level and subject, where the benchmarks tell them."""
    held: dict[tuple[str, str], None] = {}
    for run in runs:
        for key in ("by_level", "by_subject"):
            for name, shares in _per_benchmark(run, "metrics", key):
                held |= dict.fromkeys((name, f"{key}\0{group}") for group in shares)
    if not held:
        return None
    columns = [Cell("part", "benchmark"), *(Cell(run.name) for run in runs)]
    about = "In %, with 95% intervals and the number of questions."
    table = Table("Accuracy by level and subject", about, columns)
    for name, place in held:
        key, _, group = place.partition("\0")
        cells = [with_interval(proportion(at(run.benchmarks, name, "metrics", key, group)), True) for run in runs]
        table.rows.append(Row([Cell(one_line(group), one_line(name)), *cells]))
    return table


def _per_benchmark(run: FinishedRun, *keys: str) -> list[tuple[str, Mapping[str, Any]]]:
    """What each benchmark of a run holds under the keys, where that is a mapping."""
    held = [(name, at(entry, *keys)) for name, entry in run.benchmarks.items()]
    return [(name, value) for name, value in held if isinstance(value, Mapping)]


def _setting(runs: Sequence[FinishedRun], name: str) -> str:
    entries = [run.benchmarks[name] for run in runs if name in run.benchmarks]
    questions = {count(entry.get("questions")) for entry in entries}
    shots = {count(entry.get("shots")) for entry in entries}
    known = BENCHMARKS.get(name)
    whole = "" if known is None or questions == {count(known.rows)} else f" of {known.rows:,}"
    return f"{'/'.join(sorted(questions))}{whole} questions, {'/'.join(sorted(shots))}\u2011shot"


def _published(percent: float | None) -> str:
    return NONE if percent is None else f"{percent:.1f}"


def _k(key: str) -> tuple[int, str]:
    return (int(key), "") if key.isascii() and key.isdigit() and len(key) < 10 else (0, key)
