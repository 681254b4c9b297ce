"""Is one evaluation better than another: the same questions, paired.

Enters: the folders of two finished evaluations. Leaves: a `Comparison`, as text or as a plain dictionary. Runs that
were not measured alike are refused. It grades nothing; verdicts are those of `samples.jsonl`, of which one line at a
time is read.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lemma_train.errors import InputError
from lemma_train.evaluation.compared_runs import ComparedRun, read_compared_run
from lemma_train.evaluation.intervals import bootstrap, mcnemar_exact
from lemma_train.evaluation.marked_text import one_line

ALLOWABLE = ("template", "prompts", "decoding")
"""Differences between two runs that can be allowed. Other questions and another grader cannot."""

_LISTED = 5  # ids of a direction in the text; the dictionary has all
_CARD = ("reflects", "repaired", "spoiled", "wrong_both", "idle_doubt", "repair_rate", "spoil_rate")
_PROBE = ("recovered", "reflected")


@dataclass(frozen=True)
class Paired:
    """Two runs on the same questions.

    questions: that could be graded in both. ungradable: left out, as their reference could not be read.
    accuracy_a, accuracy_b: the mean over questions of the share of right samples, in [0, 1]; over all benchmarks the
        plain mean of their accuracies. None where no question could be graded.
    difference: accuracy_b - accuracy_a. low, high: its 95% paired bootstrap interval; over all benchmarks questions are
        drawn within each benchmark.
    p: two-sided, of McNemar's exact test; with several samples a question, of the exact sign test over questions. Over
        all benchmarks every question counts the same, so it can differ in direction from `difference`.
    gained: ids of the questions that B answers rightly and A wrongly (with several samples: more often rightly).
    lost: the other way round.
    scorecard: rate of self-correction -> {"a": ..., "b": ...}, each a proportion as in results.json or None.
    """

    questions: int
    ungradable: int
    accuracy_a: float | None
    accuracy_b: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    gained: list[str]
    lost: list[str]
    scorecard: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Comparison:
    """name_a, name_b: the runs. overall: all benchmarks. probe: as `Paired.scorecard`, of the forced-error probe.

    allowed: what differs between the runs and was allowed to, one sentence each.
    """

    name_a: str
    name_b: str
    benchmarks: dict[str, Paired]
    overall: Paired
    probe: dict[str, dict[str, Any]]
    allowed: list[str]


def compare(run_a: Path, run_b: Path, seed: int = 0, allow: Collection[str] = ()) -> Comparison:
    """Compare two evaluations question by question.

    Args:
        run_a, run_b: folders with `results.json` and `samples.jsonl`; A is the one to improve on.
        seed: of the bootstrap.
        allow: what may differ all the same, of `ALLOWABLE`: the prompt `template`; `prompts`, the number of worked
            examples or their text; `decoding`. The seed of decoding may always differ. With another template the
            texts of worked examples cannot be compared, only their number.

    Raises:
        InputError: a folder holds no finished evaluation, or the runs differ in what is not allowed; all differences
            are named.

    Example:
        >>> found = compare(Path("runs/sft"), Path("runs/lemma"))                        # doctest: +SKIP
        >>> found.overall.difference, found.overall.low, found.overall.high              # doctest: +SKIP
        (0.132, 0.109, 0.155)
    """
    unknown = sorted(set(allow) - set(ALLOWABLE))
    if unknown:
        raise InputError(f"allow: {unknown[0]!r} is not a difference that can be allowed; name {_listed(ALLOWABLE)}.")
    a, b = read_compared_run(run_a), read_compared_run(run_b)
    differences = [*_settings_differ(a, b), *_questions_differ(a, b)]
    refused = [(kind, said) for kind, said in differences if kind not in allow]
    if refused:
        kinds = list(dict.fromkeys(kind for kind, _ in refused))
        allowing = f", or allow {' and '.join(kinds)} to compare all the same" if set(kinds) <= set(ALLOWABLE) else ""
        raise InputError(
            f"{run_a} and {run_b} cannot be compared: {'; '.join(said for _, said in refused)}. "
            f"Evaluate both alike{allowing}."
        )
    return _compared(a, b, seed, [said for _, said in differences])


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain JSON values."""
    return asdict(comparison)


def as_text(comparison: Comparison) -> str:
    """The comparison as tables for a terminal, in percent and percentage points.

    Example:
        >>> print(as_text(compare(Path("runs/sft"), Path("runs/lemma"))))                # doctest: +SKIP
        A: sft
        B: lemma
        ...
    """
    lines = [f"A: {one_line(comparison.name_a)}", f"B: {one_line(comparison.name_b)}"]
    lines += [f"Allowed: {said}." for said in comparison.allowed]
    header = ("", "questions", "A", "B", "B - A", "95% interval", "p", "gained", "lost")
    several = len(comparison.benchmarks) > 1
    entries = [*comparison.benchmarks.items(), *([("average", comparison.overall)] if several else [])]
    lines += ["", *_table([header, *(_row(one_line(name), paired) for name, paired in entries)])]
    overall = comparison.overall
    if overall.ungradable:
        lines.append(f"Left out: {overall.ungradable:,} questions whose reference cannot be read.")
    for said, ids in (("Gained (A wrong, B right)", overall.gained), ("Lost (A right, B wrong)", overall.lost)):
        if ids:
            more = f" and {len(ids) - _LISTED:,} more" if len(ids) > _LISTED else ""
            lines.append(f"{said}: {', '.join(map(one_line, ids[:_LISTED]))}{more}")
    for title, rates in (("Self-correction", overall.scorecard), ("Forced-error probe", comparison.probe)):
        if rates:
            rows = [(name.replace("_", " "), _share(pair["a"]), _share(pair["b"])) for name, pair in rates.items()]
            lines += ["", *_table([(title, "A", "B"), *rows])]
    return "\n".join(lines)


def _settings_differ(a: ComparedRun, b: ComparedRun) -> Iterable[tuple[str, str]]:
    def pair(key: str, of: Mapping[str, Any] = a.results, other: Mapping[str, Any] = b.results) -> tuple[Any, Any]:
        return of.get(key), other.get(key)

    def told(name: str, values: tuple[Any, Any]) -> str:
        return f"{name} is {values[0]!r} in A and {values[1]!r} in B"

    templates = pair("template_fingerprint")
    if templates[0] != templates[1]:
        yield "template", told("template_fingerprint", templates)
    versions = pair("grader_version")
    if versions[0] != versions[1]:
        yield "grader", told("grader_version", versions)
    ways = [way if isinstance(way, dict) else {} for way in pair("decoding")]
    for key in sorted((ways[0].keys() | ways[1].keys()) - {"seed"}):
        values = pair(key, *ways)
        if values[0] != values[1]:
            yield "decoding", told(f"decoding.{key}", values)
    for name in a.questions.keys() & b.questions.keys():
        entries = a.results["benchmarks"][name], b.results["benchmarks"][name]
        # The fingerprint of the prompts covers the template too: of another one it says nothing about the examples.
        for key in ("shots", "prompt_fingerprint") if templates[0] == templates[1] else ("shots",):
            values = pair(key, *entries)
            if values[0] != values[1]:
                yield "prompts", told(f"{key} of {name}", values)


def _questions_differ(a: ComparedRun, b: ComparedRun) -> Iterable[tuple[str, str]]:
    for run, other, letter in ((a, b, "A"), (b, a, "B")):
        only = [name for name in run.questions if name not in other.questions]
        if only:
            yield "questions", f"only {letter} has the benchmarks {', '.join(only)}"
    for name in [name for name in a.questions if name in b.questions]:
        of_a, of_b = a.questions[name], b.questions[name]
        for mine, others, letter in ((of_a, of_b, "A"), (of_b, of_a, "B")):
            alone = [question for question in mine if question not in others]
            if alone:
                yield "questions", f"{len(alone):,} questions of {name} are only in {letter}, such as {alone[0]}"
        altered = [question for question in of_a if question in of_b and of_a[question].text != of_b[question].text]
        if altered:
            yield "questions", f"{len(altered):,} questions of {name} have another text or reference, as {altered[0]}"


def _compared(a: ComparedRun, b: ComparedRun, seed: int, allowed: list[str]) -> Comparison:
    benchmarks: dict[str, Paired] = {}
    shares: list[tuple[np.ndarray, np.ndarray]] = []
    for name, of_a in a.questions.items():
        of_b = b.questions[name]
        graded = [question for question in of_a if of_a[question].gradable and of_b[question].gradable]
        share_a = np.array([of_a[question].share for question in graded])
        share_b = np.array([of_b[question].share for question in graded])
        gained = [question for question, less, more in zip(graded, share_a, share_b, strict=True) if more > less]
        lost = [question for question, more, less in zip(graded, share_a, share_b, strict=True) if more > less]
        cards = [run.results["benchmarks"][name].get("scorecard") for run in (a, b)]
        rates = _rates(cards[0], cards[1], _CARD)
        here = [(share_a, share_b)] if graded else []
        shares += here
        benchmarks[name] = _paired(here, len(of_a) - len(graded), gained, lost, rates, seed)
    overall = _paired(
        shares,
        sum(paired.ungradable for paired in benchmarks.values()),
        [question for paired in benchmarks.values() for question in paired.gained],
        [question for paired in benchmarks.values() for question in paired.lost],
        _rates(a.results.get("scorecard"), b.results.get("scorecard"), _CARD),
        seed,
    )
    probe = _rates(a.results.get("probe"), b.results.get("probe"), _PROBE)
    return Comparison(a.name, b.name, benchmarks, overall, probe, allowed)


def _paired(
    shares: list[tuple[np.ndarray, np.ndarray]],
    ungradable: int,
    gained: list[str],
    lost: list[str],
    scorecard: dict[str, dict[str, Any]],
    seed: int,
) -> Paired:
    if not shares:
        return Paired(0, ungradable, None, None, None, None, None, None, gained, lost, scorecard)
    a, b = (float(np.mean([pair[i].mean() for pair in shares])) for i in (0, 1))
    low, high = bootstrap(*(share_b - share_a for share_a, share_b in shares), seed=seed)
    questions = sum(len(share_a) for share_a, _ in shares)
    p = mcnemar_exact(len(gained), len(lost))
    return Paired(questions, ungradable, a, b, b - a, low, high, p, gained, lost, scorecard)


def _rates(a: Any, b: Any, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Those rates that at least one of the runs has."""
    cards = [card if isinstance(card, dict) else {} for card in (a, b)]
    return {
        name: {"a": cards[0].get(name), "b": cards[1].get(name)}
        for name in names
        if any(card.get(name) is not None for card in cards)
    }


def _row(name: str, paired: Paired) -> tuple[str, ...]:
    figures: tuple[str, ...] = ("-",) * 5
    if paired.difference is not None and paired.p is not None:
        a, b, difference, low, high = (
            100 * value
            for value in (paired.accuracy_a, paired.accuracy_b, paired.difference, paired.low, paired.high)
            if value is not None
        )
        p = "<0.0001" if paired.p < 0.0001 else f"{paired.p:.4f}"
        figures = (f"{a:.1f}", f"{b:.1f}", f"{difference:+.1f}", f"[{low:+.1f}, {high:+.1f}]", p)
    return (name, f"{paired.questions:,}", *figures, f"{len(paired.gained):,}", f"{len(paired.lost):,}")


def _share(rate: Any) -> str:
    """A proportion of results.json as text; a dash where it has no value."""
    if not isinstance(rate, dict) or rate.get("value") is None:
        return "-"
    interval = "" if rate.get("low") is None else f" [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"
    return f"{100 * rate['value']:.1f}{interval} of {rate.get('n', 0):,}"


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    """Columns as wide as their widest cell, the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def _listed(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"
