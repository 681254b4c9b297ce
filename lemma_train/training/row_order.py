"""In which order rows are trained on, and which of them share a micro-batch.

Enters: the trainer's own sampler. Leaves: it, or one that draws the rows of each step at random and sorts only within
the step: rows of like length share a micro-batch, padding goes, and each step's loss and gradient stay what they were,
since the loss is normalised over the whole step. transformers' `group_by_length` sorts over many steps instead, which
makes neighbouring steps alike in length.
"""

from datasets import Dataset, concatenate_datasets
from transformers.trainer_pt_utils import BatchRebalanceSampler

from lemma_train.template import IGNORED


def seeded(sampler: BatchRebalanceSampler, seed: int, drop_last: bool) -> BatchRebalanceSampler:
    """The same sampler drawing with `seed`: transformers leaves it at 42 whatever the recipe says.

    It also counts a row by its length alone. By transformers' measure one of 4096 tokens weighs as much as five times
    its length, so that short rows would pile up in micro-batches of more tokens than `lemma plan` counts.

    drop_last: leave out the rows that do not fill a step. An epoch of less than one step keeps them.
    """
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
