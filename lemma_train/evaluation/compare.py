"""Is one evaluation better than another: the same questions, paired.

Enters: the folders of two finished evaluations. Leaves: a `Comparison`, as text or as a plain dictionary. Runs that
were not measured alike are refused. It grades nothing; verdicts are those of `samples.jsonl`.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lemma_train.errors import InputError
from lemma_train.evaluation.finished_run import FinishedRun, read_finished_run
from lemma_train.evaluation.marked_text import one_line
from lemma_train.evaluation.pairing import Paired, paired, probe_shares, shares_of
from lemma_train.evaluation.result_values import Proportion, at, proportion

ALLOWABLE = ("template", "prompts", "decoding", "probe")
"""Differences between two runs that can be allowed. Other questions and another grader cannot."""

_LISTED = 5  # ids of a direction in the text; the dictionary has all
_CARD = ("reflects", "repaired", "spoiled", "wrong_both", "idle_doubt", "repair_rate", "spoil_rate")
_PROBE = ("recovered", "reflected")


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side.

    name_a, name_b: the runs. overall: all benchmarks together.
    probe: rates of the forced-error probe, as `Paired.scorecard`.
    probe_paired: `recovered` and `reflected` over the items of the probe, paired as questions are; empty where a run
        has no probe, or where other items were allowed.
    allowed: what differs between the runs and was allowed to, one sentence each.
    """

    name_a: str
    name_b: str
    benchmarks: dict[str, Paired]
    overall: Paired
    probe: dict[str, dict[str, Any]]
    probe_paired: dict[str, Paired]
    allowed: list[str]


def compare(run_a: Path, run_b: Path, seed: int = 0, allow: Collection[str] = ()) -> Comparison:
    """Compare two evaluations question by question.

    Args:
        run_a, run_b: folders with `results.json` and `samples.jsonl`; A is the one to improve on.
        seed: of the bootstrap.
        allow: what may differ all the same, of `ALLOWABLE`: the prompt `template`; `prompts`, the number of worked
            examples or their text; `decoding`; the items of the `probe`, whose rates then stand side by side unpaired.
            The seed of decoding may always differ. With another template the texts of worked examples cannot be
            compared, only their number.

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
    a, b = read_finished_run(run_a), read_finished_run(run_b)
    differences = [*_settings_differ(a, b), *_questions_differ(a, b), *_probes_differ(a, b)]
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
    lines += ["", *_table([header, *(_row(one_line(name), found) for name, found in entries)])]
    overall = comparison.overall
    if overall.ungradable:
        lines.append(f"Left out: {overall.ungradable:,} questions whose reference cannot be read.")
    for said, ids in (("Gained (A wrong, B right)", overall.gained), ("Lost (A right, B wrong)", overall.lost)):
        if ids:
            more = f" and {len(ids) - _LISTED:,} more" if len(ids) > _LISTED else ""
            lines.append(f"{said}: {', '.join(map(one_line, ids[:_LISTED]))}{more}")
    if comparison.probe_paired:
        titled = ("Forced-error probe", *header[1:])
        rows = [_row(name, found) for name, found in comparison.probe_paired.items()]
        lines += ["", *_table([titled, *rows])]
        unread = comparison.probe_paired["recovered"].ungradable
        lines += [f"Left out of recovered: {unread:,} items whose reference cannot be read."] if unread else []
    probe = {} if comparison.probe_paired else comparison.probe
    for title, rates in (("Self-correction", overall.scorecard), ("Forced-error probe", probe)):
        if rates:
            rows = [(name.replace("_", " "), _text(pair["a"]), _text(pair["b"])) for name, pair in rates.items()]
            lines += ["", *_table([(title, "A", "B"), *rows])]
    return "\n".join(lines)


def _settings_differ(a: FinishedRun, b: FinishedRun) -> Iterable[tuple[str, str]]:
    def pair(key: str, of: Mapping[str, Any] = a.results, other: Mapping[str, Any] = b.results) -> tuple[Any, Any]:
        return of.get(key), other.get(key)

    def told(name: str, values: tuple[Any, Any]) -> str:
        a, b = (one_line(repr(value)) for value in values)
        return f"{one_line(name)} is {a} in A and {b} in B"

    templates = pair("template_fingerprint")
    if templates[0] != templates[1]:
        yield "template", told("template_fingerprint", templates)
    for key in ("grader_version", "scorecard_version"):
        versions = pair(key)
        if versions[0] != versions[1]:
            yield "grader", told(key, versions)
    numbers = pair("dtype")
    if None not in numbers and numbers[0] != numbers[1]:  # a server does not say in which it computes
        yield "decoding", told("dtype", numbers)
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


def _questions_differ(a: FinishedRun, b: FinishedRun) -> Iterable[tuple[str, str]]:
    for run, other, letter in ((a, b, "A"), (b, a, "B")):
        only = [name for name in run.questions if name not in other.questions]
        if only:
            yield "questions", f"only {letter} has the benchmarks {', '.join(map(one_line, only))}"
    for name in [name for name in a.questions if name in b.questions]:
        of_a, of_b = a.questions[name], b.questions[name]
        for mine, others, letter in ((of_a, of_b, "A"), (of_b, of_a, "B")):
            alone = [question for question in mine if question not in others]
            if alone:
                such = f"{one_line(name)} are only in {letter}, such as {one_line(alone[0])}"
                yield "questions", f"{len(alone):,} questions of {such}"
        altered = [question for question in of_a if question in of_b and of_a[question].text != of_b[question].text]
        if altered:
            such = f"{one_line(name)} have another text or reference, as {one_line(altered[0])}"
            yield "questions", f"{len(altered):,} questions of {such}"


def _probes_differ(a: FinishedRun, b: FinishedRun) -> Iterable[tuple[str, str]]:
    if a.probed is not None and b.probed is not None:
        apart = a.probed.keys() ^ b.probed.keys()
        if apart:
            yield "probe", f"{len(apart):,} items of the probe are only in one of them, such as {one_line(min(apart))}"


def _compared(a: FinishedRun, b: FinishedRun, seed: int, allowed: list[str]) -> Comparison:
    shares = {name: shares_of(of_a, b.questions[name]) for name, of_a in a.questions.items()}
    benchmarks = {}
    for name, held in shares.items():
        cards = [at(run.benchmarks, name, "scorecard") for run in (a, b)]
        benchmarks[name] = paired([held], seed, _rates(cards[0], cards[1], _CARD))
    rates = _rates(a.results.get("scorecard"), b.results.get("scorecard"), _CARD)
    overall = paired(list(shares.values()), seed, rates)
    probe = _rates(a.results.get("probe"), b.results.get("probe"), _PROBE)
    items = {key: probe_shares(a, b, key) for key in _PROBE}
    probe_paired = {key: paired([held], seed) for key, held in items.items() if held is not None}
    return Comparison(a.name, b.name, benchmarks, overall, probe, probe_paired, allowed)


def _rates(a: Any, b: Any, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Those rates that at least one of the runs has."""
    rates = {name: {"a": _plain(at(a, name)), "b": _plain(at(b, name))} for name in names}
    return {name: pair for name, pair in rates.items() if any(pair.values())}


def _plain(rate: Any) -> dict[str, Any] | None:
    """A proportion of results.json with nothing damaged in it, or None where nothing is left of it."""
    share = proportion(rate)
    return None if share.value is None and share.n is None else asdict(share)


def _text(rate: Mapping[str, Any] | None) -> str:
    return str(Proportion(**(rate or {})))


def _row(name: str, found: Paired) -> tuple[str, ...]:
    figures: tuple[str, ...] = ("-",) * 5
    if found.difference is not None and found.p is not None:
        a, b, difference, low, high = (
            100 * value
            for value in (found.accuracy_a, found.accuracy_b, found.difference, found.low, found.high)
            if value is not None
        )
        p = "<0.0001" if found.p < 0.0001 else f"{found.p:.4f}"
        figures = (f"{a:.1f}", f"{b:.1f}", f"{difference:+.1f}", f"[{low:+.1f}, {high:+.1f}]", p)
    return (name, f"{found.questions:,}", *figures, f"{len(found.gained):,}", f"{len(found.lost):,}")


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
