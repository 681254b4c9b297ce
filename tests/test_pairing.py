"""Two runs question by question."""

from pathlib import Path

import numpy as np
import pytest

from lemma_train.evaluation.finished_run import Answered, FinishedRun
from lemma_train.evaluation.intervals import bootstrap
from lemma_train.evaluation.pairing import Shares, paired, probe_shares, same_questions, shares_of


def answered(*rights, text=0, samples=1):
    """Questions q0, q1, ... with so many right samples each; None: one that could not be graded."""
    return {f"q{i}": Answered(text + i, samples, right or 0, right is not None) for i, right in enumerate(rights)}


def probed(**verdicts):
    told = {item: {"recovered": pair[0], "reflected": pair[1]} for item, pair in verdicts.items()}
    return FinishedRun(Path("run"), "run", {"benchmarks": {}}, [], probed=told or None)


def test_questions_are_the_same_where_ids_and_texts_are():
    assert same_questions(answered(1, 0), answered(0, 0))
    assert not same_questions(answered(1, 0), answered(1))
    assert not same_questions(answered(1), answered(1, text=7))


def test_what_one_of_them_could_not_grade_is_left_out():
    shares = shares_of(answered(1, 2, None, 0, samples=2), answered(2, 0, 1, None, samples=2))
    assert (shares.ids, shares.a.tolist(), shares.b.tolist(), shares.ungradable) == (
        ["q0", "q1"],
        [0.5, 1.0],
        [1.0, 0.0],
        2,
    )


def test_each_benchmark_has_the_same_weight():
    large, small = (
        Shares(list("abcd"), np.zeros(4), np.array([1.0, 1, 0, 0]), 0),
        Shares(["e"], np.ones(1), np.ones(1), 3),
    )
    found = paired([large, small], seed=5)
    assert (found.accuracy_a, found.accuracy_b, found.difference) == (0.5, 0.75, 0.25)
    assert (found.questions, found.ungradable, found.gained, found.lost) == (5, 3, ["a", "b"], [])
    assert (found.low, found.high) == bootstrap([1, 1, 0, 0], [0], seed=5)


def test_nothing_graded_gives_no_figures():
    found = paired([Shares([], np.array([]), np.array([]), 2)], seed=0)
    assert (found.questions, found.ungradable, found.difference, found.p) == (0, 2, None, None)


def test_items_of_the_probe_are_paired_by_id():
    base, tuned = (
        probed(a=(False, False), b=(True, False), c=(None, True)),
        probed(b=(True, True), a=(True, True), c=(True, True)),
    )
    recovered, reflected = (probe_shares(base, tuned, verdict) for verdict in ("recovered", "reflected"))
    assert (recovered.ids, recovered.a.tolist(), recovered.b.tolist()) == (["a", "b"], [0, 1], [1, 1])
    assert recovered.ungradable == 1 and reflected.ids == ["a", "b", "c"]
    assert paired([recovered], seed=0).difference == pytest.approx(0.5)


def test_other_items_and_a_missing_probe_are_not_paired():
    one = probed(a=(True, True))
    assert probe_shares(one, probed(b=(True, True)), "recovered") is None
    assert probe_shares(one, probed(), "recovered") is None
