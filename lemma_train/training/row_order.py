"""In which order rows are trained on, and which of them share a micro-batch.

Enters: the trainer's own sampler. Leaves: it, or one that draws the rows of each step at random and sorts only within
the step: rows of like length share a micro-batch, padding goes, and each step's loss and gradient stay what they were,
since the loss is normalised over the whole step. transformers' `group_by_length` sorts over many steps instead, which
makes neighbouring steps alike in length.
"""

from collections.abc import Iterator

import torch
from datasets import Dataset, concatenate_datasets
from transformers.trainer_pt_utils import BatchRebalanceSampler, LengthGroupedSampler

from lemma_train.template import IGNORED


class SeededByLength(LengthGroupedSampler):
    """transformers' `group_by_length`, with an order that follows from seed and epoch alone.

    transformers draws it from torch's global state, which a resumed run restores only after it has drawn: broken off
    within a later epoch, such a run would train some rows twice and others never.
    """

    seed = 0
    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.generator = torch.Generator().manual_seed(self.seed + self.epoch)
        return super().__iter__()


def seeded(
    sampler: BatchRebalanceSampler | LengthGroupedSampler, seed: int, drop_last: bool
) -> BatchRebalanceSampler | SeededByLength:
    """The same sampler drawing with `seed`: transformers leaves one at 42 whatever the recipe says, the other unseeded.

    `batch_rebalance` also counts a row by its length alone. By transformers' measure one of 4096 tokens weighs as much
    as five times its length, so that short rows would pile up in micro-batches of more tokens than `lemma plan` counts.

    drop_last: `batch_rebalance` leaves out the rows that do not fill a step. An epoch of less than one step keeps them.
    """
    if isinstance(sampler, LengthGroupedSampler):
        grouped = SeededByLength(sampler.batch_size, lengths=sampler.lengths)
        grouped.seed = seed
        return grouped
    enough = len(sampler.lengths) >= sampler.effective_batch_size
    made = BatchRebalanceSampler(
        sampler.lengths,
        sampler.effective_batch_size,
        sampler.dp_size,
        sampler.grad_accum,
        seed=seed,
        rank=sampler.rank,
        drop_last=drop_last and enough,
    )
    made.QUADRATIC_COST_COEF = 0.0
    return made


def filled_up(rows: Dataset, multiple: int) -> Dataset:
    """The rows, and behind them rows without a label until their number is a multiple of `multiple`.

    rows: prepared ones, with `labels`. What is added is the first row, unsupervised, so that a mean over tokens stays
    what it is.
    """
    lacking = -len(rows) % multiple
    if not lacking:
        return rows
    blank = rows.select([0]).map(
        lambda row: {"labels": [IGNORED] * len(row["labels"])}, features=rows.features, keep_in_memory=True
    )
    return concatenate_datasets([rows, *[blank] * lacking])
