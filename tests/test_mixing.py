"""Mixing: how many rows each side of a proportion gives."""

import random
from itertools import product

import pytest

from lemma_train.collection.mixing import Shares, quotas

FIX, RESTART = "fix_and_continue", "fresh_and_restart"
HALVES = {FIX: 0.5, RESTART: 0.5}
ORIGINS = {"student": 0.5, "injected": 0.5}


def test_quotas_meet_both_shares_where_the_cells_are_uneven():
    available = {(FIX, "student"): 10, (FIX, "injected"): 90, (RESTART, "student"): 90, (RESTART, "injected"): 10}
    assert quotas(available, Shares(strategies=HALVES, origins=ORIGINS)) == available


@pytest.mark.parametrize("seed", range(40))
def test_quotas_are_the_most_that_the_shares_allow(seed):
    draw = random.Random(seed)
    available = {cell: draw.randrange(30) for cell in product((FIX, RESTART), ORIGINS)}
    p, q = draw.choice([0.5, 0.25, 0.7]), draw.choice([0.5, 0.6])
    shares = Shares(strategies={FIX: p, RESTART: 1 - p}, origins={"student": q, "injected": 1 - q})
    found = quotas(available, shares)
    total = sum(found.values())
    assert all(0 <= count <= available[pool] for pool, count in found.items())
    fix = sum(count for (strategy, _), count in found.items() if strategy == FIX)
    student = sum(count for (_, origin), count in found.items() if origin == "student")
    assert abs(fix - p * total) <= 0.5 + 1e-9
    assert abs(student - q * total) <= 0.5 + 1e-9
    # No larger set fits: tried by hand over every possible number of corrected student errors.
    for larger in range(total + 1, sum(available.values()) + 1):
        fixes, students = int(p * larger + 0.5), int(q * larger + 0.5)
        for both in range(larger + 1):
            table = (both, fixes - both, students - both, larger - fixes - students + both)
            assert not all(0 <= n <= m for n, m in zip(table, available.values(), strict=True))


def test_nothing_is_taken_where_a_side_has_no_row():
    assert quotas({(FIX, "student"): 10}, Shares(origins=ORIGINS)) == {}
    assert quotas({(FIX, "student"): 10, ("reference", None): 5}, Shares(strategies=HALVES, references=5)) == {}
    assert quotas({("reference", None): 5}, Shares(strategies=HALVES, references=1.0)) == {("reference", None): 5}
    # A fifth of a set of two rows is none: that is no way to keep the share.
    assert quotas({(FIX, "student"): 10}, Shares(right_samples=0.2)) == {}


def test_rows_added_by_number_come_on_top_of_the_limit():
    available = {(FIX, "student"): 10, ("reference", None): 5, ("sample", None): 3}
    assert quotas(available, Shares(rows=4, references=9, right_samples=2)) == {
        ("reference", None): 5,
        ("sample", None): 2,
        (None, None): 4,
    }
