"""Prepared rows become a batch, with the weight of each token's loss.

Enters: rows with token ids, labels and, where the recipe weighs tokens, `loss_weights`. Leaves: tensors of one shape,
(rows, longest row). What a weight does to the loss is the trainer's business.
"""

from dataclasses import dataclass
from typing import Any

import torch
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

WEIGHTS = "loss_weights"
WEIGHT_UNIT = 65536  # weights travel as multiples of one part in so many


@dataclass
class WeightedCollator(DataCollatorForLanguageModeling):
    """TRL's collator, which also pads `loss_weights` to the batch's shape (rows, longest row), in whole units."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super().torch_call(examples)
        weights = torch.zeros(batch["labels"].shape)
        for row, example in enumerate(examples):
            weights[row, : len(example[WEIGHTS])] = torch.tensor(example[WEIGHTS])
        # Whole numbers, because transformers would round floating-point inputs to DeepSpeed's bf16.
        return {**batch, WEIGHTS: (weights * WEIGHT_UNIT).round().int()}
