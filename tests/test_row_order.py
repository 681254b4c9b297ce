"""Rows of like length share a micro-batch, and each step keeps its rows: on any split, in any epoch, after a resume."""

import pytest
from transformers.trainer_pt_utils import BatchRebalanceSampler

from lemma_train.training.row_order import seeded

LENGTHS = [10 + (i * 37) % 90 for i in range(44)]


def steps(seed: int, ranks: int, accumulation: int, epoch: int = 0, drop_last: bool = False) -> list[list[list[int]]]:
    """For each step of a global batch of 8 the micro-batches of all ranks."""
    made = []
    for rank in range(ranks):
        plain = BatchRebalanceSampler(LENGTHS, 8, ranks, accumulation, rank=rank)
        sampler = seeded(plain, seed, drop_last)
        sampler.set_epoch(epoch)
        made.append(list(sampler))
    return [
        [made[rank][i] for rank in range(ranks) for i in range(start, start + accumulation)]
        for start in range(0, len(made[0]), accumulation)
    ]


def rows_of(step: list[list[int]]) -> list[int]:
    return sorted(row for micro_batch in step for row in micro_batch)


def test_a_step_has_the_same_rows_however_it_is_split():
    one = steps(3, 1, 4)
    assert [rows_of(s) for s in one] == [rows_of(s) for s in steps(3, 2, 2)] == [rows_of(s) for s in steps(3, 4, 1)]
    assert sorted(row for step in one for row in rows_of(step)) == list(range(44)), "each row once an epoch"


def test_another_seed_or_epoch_makes_other_steps():
    """transformers itself would draw with 42 whatever the recipe's seed is."""
    assert rows_of(steps(3, 1, 4)[0]) != rows_of(steps(4, 1, 4)[0]) != rows_of(steps(4, 1, 4, epoch=1)[0])


def test_padding_goes():
    def padded(micro_batches: list[list[int]]) -> int:
        return sum(len(rows) * max(LENGTHS[row] for row in rows) for rows in micro_batches)

    grouped = [micro_batch for step in steps(3, 1, 4) for micro_batch in step]
    order = [row for step in steps(3, 1, 4) for row in rows_of(step)]
    assert padded(grouped) - sum(LENGTHS) < 0.5 * (padded([order[i : i + 2] for i in range(0, 44, 2)]) - sum(LENGTHS))


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [8] * 5 + [4]), (True, [8] * 5)])
def test_the_rows_that_do_not_fill_a_step_are_kept_or_dropped(drop_last, sizes):
    assert [len(rows_of(step)) for step in steps(1, 2, 2, drop_last=drop_last)] == sizes


def test_an_epoch_of_less_than_one_step_keeps_its_rows():
    few = BatchRebalanceSampler(LENGTHS[:5], 8, 1, 4)
    assert sorted(row for rows in seeded(few, 1, True) for row in rows) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("micro_batch", [2, 4])
@pytest.mark.parametrize(("long", "short"), [(5, 150), (50, 150), (150, 300), (200, 1000)])
def test_no_micro_batch_takes_more_than_the_longest_rows_would(micro_batch, long, short):
    """`lemma plan` counts micro-batches of the longest rows; transformers' measure piles short rows up beyond it."""
    lengths = [4096] * long + [short] * (256 - long)
    sampler = seeded(BatchRebalanceSampler(lengths, 256, 1, 256 // micro_batch), 1, False)
    positions = [len(made) * max(lengths[row] for row in made) for made in sampler]
    assert max(positions) <= micro_batch * 4096
