"""Two evaluations question by question: what they share, and how sure the difference is.

Enters: two finished runs. Leaves: `Paired` figures for one benchmark, for several together, and for the forced-error
probe. Whether the runs may be compared at all the caller decides; here only the questions must be the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lemma_train.evaluation.finished_run import Answered, FinishedRun
from lemma_train.evaluation.intervals import bootstrap, mcnemar_exact


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
    scorecard: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Shares:
    """For each question that both runs could grade the share of right samples in A and in B, in [0, 1]."""

    ids: list[str]
    a: NDArray[np.float64]
    b: NDArray[np.float64]
    ungradable: int


def same_questions(a: Mapping[str, Answered], b: Mapping[str, Answered]) -> bool:
    """Whether two runs answered the same questions of a benchmark, with the same texts and references."""
    return a.keys() == b.keys() and all(a[question].text == b[question].text for question in a)


def shares_of(a: Mapping[str, Answered], b: Mapping[str, Answered]) -> Shares:
    """The shares of two runs on one benchmark; `a` and `b` hold the same questions."""
    graded = [question for question in a if a[question].gradable and b[question].gradable]
    share_a, share_b = (np.array([run[question].share for question in graded]) for run in (a, b))
    return Shares(graded, share_a, share_b, len(a) - len(graded))


def probe_shares(a: FinishedRun, b: FinishedRun, verdict: str) -> Shares | None:
    """As `shares_of`, of the forced-error probe, where the items of one question are its samples; None where one run
    has none, or the two have other items.

    Args:
        verdict: `recovered` or `reflected`.
    """
    if not a.probed or not b.probed or a.probed.keys() != b.probed.keys():
        return None
    graded: dict[str, dict[str, tuple[bool, bool]]] = {}
    ungradable = 0
    for item, told in a.probed.items():
        pair = told[verdict], b.probed[item][verdict]
        if None in pair:
            ungradable += 1
        else:
            graded.setdefault(told.get("question", item), {})[item] = pair
    pairs = [np.array(list(of.values()), dtype=float).mean(axis=0) for of in graded.values()]
    share_a, share_b = np.array(pairs).reshape(-1, 2).T
    return Shares([next(iter(of)) for of in graded.values()], share_a, share_b, ungradable)


def paired(parts: Sequence[Shares], seed: int, scorecard: dict[str, dict[str, Any]] | None = None) -> Paired:
    """The difference over one benchmark, or over several with the same weight each.

    Example:
        >>> shares = Shares(["q1", "q2"], np.array([0.0, 1.0]), np.array([1.0, 1.0]), ungradable=0)
        >>> found = paired([shares], seed=0)
        >>> found.difference, found.gained, found.p
        (0.5, ['q1'], 1.0)
    """
    gained = [name for part in parts for name, a, b in zip(part.ids, part.a, part.b, strict=True) if b > a]
    lost = [name for part in parts for name, a, b in zip(part.ids, part.a, part.b, strict=True) if b < a]
    ungradable = sum(part.ungradable for part in parts)
    held = [part for part in parts if part.ids]
    if not held:
        return Paired(0, ungradable, None, None, None, None, None, None, gained, lost, scorecard or {})
    a, b = (float(np.mean([getattr(part, side).mean() for part in held])) for side in "ab")
    low, high = bootstrap(*(part.b - part.a for part in held), seed=seed)
    questions, p = sum(len(part.ids) for part in held), mcnemar_exact(len(gained), len(lost))
    return Paired(questions, ungradable, a, b, b - a, low, high, p, gained, lost, scorecard or {})
