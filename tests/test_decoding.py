"""Draws follow the model's probabilities; batches keep their bounds, and what does not fit is run in halves."""

import pytest
import torch

from lemma_train.errors import InputError
from lemma_train.llm.decoding import Row, draw
from lemma_train.llm.local_transformers import batches, run_in_halves


def test_draws_follow_the_models_probabilities():
    """Shares of 4,000 draws at temperature 2 against the softmax: a chi-square statistic of 3 degrees of freedom."""
    logits = torch.tensor([2.0, 1.0, 0.0, -4.0]).repeat(4000, 1)
    rows = [Row((1,), 1, 2.0, 1.0, seed, lambda ids: False) for seed in range(4000)]
    drawn = draw(logits, rows, [row.generator(logits.device) for row in rows])
    expected = (logits[0] / 2).softmax(dim=0) * 4000
    statistic = ((torch.bincount(drawn, minlength=4) - expected) ** 2 / expected).sum()
    assert statistic < 16.3  # one in a thousand; the seeds are fixed


def test_top_p_leaves_out_what_lies_beyond_it():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().repeat(500, 1)
    for top_p, allowed in ((0.5, {0}), (0.51, {0, 1}), (0.8, {0, 1}), (0.9, {0, 1, 2}), (1.0, {0, 1, 2, 3})):
        rows = [Row((1,), 1, 1.0, top_p, seed, lambda ids: False) for seed in range(500)]
        drawn = draw(logits, rows, [row.generator(logits.device) for row in rows])
        assert set(drawn.tolist()) == allowed, top_p


def row(prompt: int, limit: int = 10):
    return Row((1,) * prompt, limit, 0.0, 1.0, 0, lambda ids: False)


def test_batches_hold_each_row_once_and_keep_both_bounds():
    rows = [row(n % 37 + 1, n % 11 + 1) for n in range(200)]
    cut = batches(rows, size=7, tokens=200)
    assert sorted(place for batch in cut for place in batch) == list(range(200))
    for batch in cut:
        assert len(batch) <= 7
        widest = max(len(rows[i].prompt_ids) for i in batch) + max(rows[i].max_tokens for i in batch)
        assert len(batch) * widest <= 200
    assert max(map(len, cut)) == 7


def test_a_row_above_the_bound_makes_a_batch_of_its_own():
    assert batches([row(5), row(500), row(5)], size=4, tokens=100) == [[1], [0, 2]]


def test_a_batch_that_does_not_fit_is_run_in_halves_from_the_start():
    tried = []

    def run(rows):
        tried.append(len(rows))
        for one in rows:
            assert one.ids == []
            one.ids.append(7)
        if len(rows) > 2:
            raise torch.OutOfMemoryError("out of memory")

    rows = [row(3) for _ in range(7)]
    assert run_in_halves(rows, run) == 2
    assert tried == [7, 3, 1, 2, 4, 2, 2]
    assert all(one.ids == [7] for one in rows)


def test_one_row_that_does_not_fit_is_the_users_to_mend():
    def run(rows):
        raise torch.OutOfMemoryError("no memory left")

    with pytest.raises(InputError, match=r"no memory left.*smaller model"):
        run_in_halves([row(3)], run)
