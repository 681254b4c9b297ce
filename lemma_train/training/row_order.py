"""In which order rows are trained on, and which of them share a micro-batch.

Enters: the trainer's own sampler. Leaves: it, or one that draws the rows of each step at random and sorts only within
the step: rows of like length share a micro-batch, padding goes, and each step's loss and gradient stay what they were,
since the loss is normalised over the whole step. transformers' `group_by_length` sorts over many steps instead, which
makes neighbouring steps alike in length.
"""

from transformers.trainer_pt_utils import BatchRebalanceSampler


def seeded(sampler: BatchRebalanceSampler, seed: int, drop_last: bool) -> BatchRebalanceSampler:
    """The same sampler drawing with `seed`: transformers leaves it at 42 whatever the recipe says.

    drop_last: leave out the rows that do not fill a step. An epoch of less than one step keeps them.
    """
    enough = len(sampler.lengths) >= sampler.effective_batch_size
    return BatchRebalanceSampler(
        sampler.lengths,
        sampler.effective_batch_size,
        sampler.dp_size,
        sampler.grad_accum,
        seed=seed,
        rank=sampler.rank,
        drop_last=drop_last and enough,
    )
