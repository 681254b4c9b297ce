"""Intervals against values computed by hand, against exact binomial sums, and by their coverage."""

from math import comb

import numpy as np
import pytest

from lemma_train.evaluation.intervals import (
    bootstrap,
    clustered_proportion,
    mcnemar_exact,
    mean_proportion,
    proportion,
    wilson,
)


# 81 of 263 and 0 of 20: R. G. Newcombe, Two-sided confidence intervals for the single proportion (1998), table I,
# method 3. The others by hand.
@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (8, 10, 0.4902, 0.9433),
        (20, 20, 0.8389, 1.0),
    ],
)
def test_wilson_gives_published_intervals(successes, trials, low, high):
    assert wilson(successes, trials) == pytest.approx((low, high), abs=6e-5)


def test_wilson_solves_its_own_equation_at_other_confidences():
    """Each end p satisfies |share - p| = z * sqrt(p (1 - p) / n), the definition; z of 90% is 1.644854."""
    for end in wilson(37, 120, confidence=0.9):
        assert abs(37 / 120 - end) == pytest.approx(1.644854 * (end * (1 - end) / 120) ** 0.5, rel=1e-6)


def test_wilson_knows_nothing_without_trials():
    assert wilson(0, 0) == (0.0, 1.0)


def test_a_proportion_of_nothing_has_no_value():
    assert proportion(0, 0) == {"value": None, "low": None, "high": None, "n": 0, "k": 0}


def test_samples_that_are_each_a_question_of_their_own_make_a_plain_proportion():
    assert clustered_proportion([(1, 1)] * 7 + [(0, 1)] * 33 + [(0, 0)] * 9) == proportion(7, 40)
    assert clustered_proportion([]) == clustered_proportion([(0, 0)]) == proportion(0, 0)


@pytest.mark.parametrize("groups", [[(4, 4)] * 9, [(0, 4)] * 40, [(4, 4), (1, 4), (0, 4)]])
def test_few_questions_and_samples_that_are_all_alike_count_as_asked_once(groups):
    told, hits = clustered_proportion(groups), sum(group[0] for group in groups)
    assert (told["k"], told["n"]) == (hits, 4 * len(groups))
    assert (told["low"], told["high"]) == wilson(hits / 4, len(groups))


def test_copies_of_one_verdict_are_worth_one_and_independent_samples_all():
    copied = clustered_proportion([(8, 8)] * 30 + [(0, 8)] * 20)
    once = clustered_proportion([(1, 1)] * 30 + [(0, 1)] * 20)
    assert copied["k"] == 240 and once["k"] == 30
    assert (copied["low"], copied["high"]) == pytest.approx((once["low"], once["high"]), abs=2e-3)
    counts = np.random.default_rng(5).binomial(8, 0.6, size=400)
    apart = clustered_proportion([(int(count), 8) for count in counts])
    assert apart["high"] - apart["low"] == pytest.approx(np.subtract(*wilson(int(counts.sum()), 3200)[::-1]), rel=0.15)


def test_intervals_of_samples_cover_what_they_claim_where_a_plain_proportion_does_not():
    random, covered, plain = np.random.default_rng(11), 0, 0
    for _ in range(400):
        trials = random.integers(1, 9, size=60)
        hits = random.binomial(trials, random.beta(0.6, 1.4, size=60))
        told = clustered_proportion(list(zip(hits.tolist(), trials.tolist(), strict=True)))
        low, high = wilson(int(hits.sum()), int(trials.sum()))
        covered += told["low"] <= 0.3 <= told["high"]
        plain += low <= 0.3 <= high
    assert covered / 400 > 0.92 and plain / 400 < 0.8


def test_a_mean_of_verdicts_is_a_proportion_with_wilsons_interval():
    assert mean_proportion([1, 0, 1.0, True]) == proportion(3, 4)
    assert mean_proportion([]) == proportion(0, 0)


def test_a_mean_of_shares_is_bootstrapped_and_counts_questions():
    shares = [0.25, 0.5, 1.0, 0.0] * 25
    told = mean_proportion(shares)
    assert (told["value"], told["n"], told["k"]) == (0.4375, 100, 43.75)
    # The bootstrap of a mean of 100 values comes close to mean +- 1.96 standard errors.
    half = 1.96 * float(np.std(shares)) / 10
    assert (told["low"], told["high"]) == pytest.approx((0.4375 - half, 0.4375 + half), abs=0.004)


def test_the_bootstrap_draws_like_numpys_choice():
    values = np.array([0.0, 0.0, 1.0, 3.0, 3.0, -2.0, 7.5])
    random = np.random.default_rng(5)
    means = random.choice(values, size=(40_000, values.size)).mean(axis=1)
    assert bootstrap(values) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.08)


def test_the_bootstrap_gives_the_exact_quantiles_of_a_binomial():
    """Resampling k ones among n values is a binomial draw; its quantiles are summed here term by term."""
    n, ones = 40, 12
    share, total, wanted = ones / n, 0.0, []
    for k in range(n + 1):
        before, total = total, total + comb(n, k) * share**k * (1 - share) ** (n - k)
        wanted += [k / n for level in (0.025, 0.975) if before < level <= total]
    assert bootstrap([1] * ones + [0] * (n - ones)) == pytest.approx(tuple(wanted), abs=1e-12)


def test_the_bootstrap_of_several_groups_weighs_each_group_the_same():
    small, large = [1.0, 0.0] * 5, [0.0] * 1000
    low, high = bootstrap(small, large)
    alone = bootstrap(small)
    assert (low, high) == pytest.approx((alone[0] / 2, alone[1] / 2), abs=0.051)
    assert low < 0.25 < high


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    values = np.random.default_rng(1).random(300)
    assert bootstrap(values, seed=3) == bootstrap(values, seed=3)
    assert bootstrap(values, seed=3) != bootstrap(values, seed=4)


def test_many_distinct_values_are_drawn_in_blocks():
    values = np.random.default_rng(2).normal(10, 1, size=5000)
    low, high = bootstrap(values)
    assert (low, high) == pytest.approx((values.mean() - 0.0277, values.mean() + 0.0277), abs=0.003)


def test_equal_values_give_a_point():
    assert bootstrap([0, 0, 0]) == (0.0, 0.0)


@pytest.mark.parametrize("values", [[0.5], [0.25] * 3, [0.5] * 400])
def test_a_mean_of_equal_shares_is_no_certainty(values):
    told = mean_proportion(values)
    assert told["low"] < told["value"] < told["high"]


def test_few_questions_hold_the_truth_about_95_times_in_100():
    """Four samples of each of ten questions, right with another probability for each question."""
    random = np.random.default_rng(3)
    held = 0
    for trial in range(600):
        shares = random.binomial(4, random.beta(1, 1, size=10)) / 4
        told = mean_proportion(shares.tolist(), seed=trial)
        held += told["low"] <= 0.5 <= told["high"]
    assert held / 600 >= 0.94


def test_a_95_percent_interval_holds_the_truth_about_95_times_in_100():
    random = np.random.default_rng(11)
    held = 0
    for trial in range(400):
        low, high = bootstrap(random.integers(0, 5, size=80) / 4, seed=trial)
        held += low <= 0.5 <= high
    assert 0.91 <= held / 400 <= 0.98


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [
        (0, 0, 1.0),
        (5, 5, 1.0),
        (9, 1, 22 / 1024),  # 2 * (1 + 10) / 2^10
        (1, 9, 22 / 1024),
        (0, 6, 2 / 64),
        (3, 0, 0.25),
    ],
)
def test_mcnemar_gives_binomial_tails(gained, lost, p):
    assert mcnemar_exact(gained, lost) == p


def test_mcnemar_is_exact_for_thousands_of_changes():
    """Against the normal tail: z = 200 / sqrt(5000), less half a step for continuity."""
    from statistics import NormalDist

    normal = 2 * NormalDist().cdf(-(200 - 1) / 5000**0.5)
    assert mcnemar_exact(2600, 2400) == pytest.approx(normal, rel=0.01)
    assert 0 <= mcnemar_exact(5000, 10) < 1e-300
