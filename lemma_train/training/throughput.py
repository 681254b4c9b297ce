"""Counts what goes by while training, and turns it into the figures of a log line.

Enters: micro-batches, the sums that the head gives, and the clock. Leaves: tokens a second, padding, memory, MFU and,
where asked for, entropy and accuracy. Everything is counted on the device and read once a log, so that nothing waits
for the device between two logs.
"""

import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from trl.trainer.utils import compute_flops_per_token, compute_mfu, get_peak_flops

from lemma_train.template import IGNORED

if TYPE_CHECKING:
    from transformers import TrainingArguments


class Throughput:
    """The counts of one rank since the last log.

    args: the training arguments. text_config, mean_length: for the FLOPs of a token.
    """

    def __init__(self, args: "TrainingArguments", text_config: Any, mean_length: int):
        self._args, self._text_config, self._mean_length = args, text_config, mean_length
        self._tokens = torch.zeros(3, dtype=torch.long)  # real, supervised, padding
        self._head = torch.zeros(3, dtype=torch.float64)  # entropy, right guesses, tokens that they are of
        self._logged_at: float | None = None
        self.total_tokens = 0  # real tokens of all ranks until the last log

    def start(self) -> None:
        """The first interval begins with the first batch, not with the loading before it."""
        if self._logged_at is None:
            self._logged_at = time.perf_counter()

    def count(self, batch: Mapping[str, torch.Tensor]) -> None:
        labels = batch["labels"]
        real = batch["attention_mask"].sum() if "attention_mask" in batch else labels.new_tensor(labels.numel())
        counted = torch.stack([real, labels.ne(IGNORED).sum(), labels.new_tensor(labels.numel()) - real])
        self._tokens = self._tokens.to(counted.device) + counted

    def count_guesses(self, entropy: torch.Tensor, correct: torch.Tensor, tokens: torch.Tensor) -> None:
        """Sums over the supervised tokens of a micro-batch, as the head gives them."""
        sums = torch.stack([entropy.detach().double(), correct.double(), tokens.double()])
        self._head = self._head.to(sums.device) + sums

    def figures(self, reduce: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, float]:
        """The figures since the last call; `reduce` sums a tensor over all ranks."""
        now = time.perf_counter()
        device = self._args.device
        real, supervised, padded = reduce(self._tokens.to(device)).tolist()
        seconds = max(now - (self._logged_at or now), 1e-9)
        self._logged_at = now
        self.total_tokens += real
        self._tokens = torch.zeros(3, dtype=torch.long)
        measured = {
            "num_tokens": self.total_tokens,
            "tokens_per_second": round(real / seconds, 1),
            "supervised_tokens": supervised,
            "supervised_tokens_per_second": round(supervised / seconds, 1),
            "padding_share": round(padded / max(1, real + padded), 4),
            "peak_memory_gib": round(peak_memory_bytes(device) / 2**30, 3),
        }
        mfu = self._mfu(real / seconds)
        return measured if mfu is None else {**measured, "mfu_percent": round(mfu, 2)}

    def guesses(self, reduce: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, float]:
        """Mean entropy and share of right guesses since the last call, for `token_metrics`."""
        entropy, correct, tokens = reduce(self._head.to(self._args.device)).tolist()
        self._head = torch.zeros(3, dtype=torch.float64)
        return {"entropy": entropy / max(1.0, tokens), "mean_token_accuracy": correct / max(1.0, tokens)}

    def state(self) -> dict[str, Any]:
        return {"tokens": self._tokens.tolist(), "head": self._head.tolist(), "total_tokens": self.total_tokens}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Add what `state` had kept: the first batches after a resume may have been counted already."""
        self._tokens += torch.tensor(state["tokens"], device=self._tokens.device)
        self._head += torch.tensor(state["head"], dtype=torch.float64, device=self._head.device)
        self.total_tokens = state["total_tokens"]

    def _mfu(self, tokens_per_second: float) -> float | None:
        """Model FLOPs utilisation in percent, where the device's peak is known.

        Counts the forward and backward pass of a full fine-tuning; for adapters it is an upper estimate.
        """
        if self._args.device.type != "cuda":
            return None
        dtype = "bfloat16" if self._args.bf16 else "float16" if self._args.fp16 else "float32"
        peak = get_peak_flops(torch.cuda.get_device_name(), dtype)
        if peak is None:
            return None
        flops = compute_flops_per_token(self._text_config, self._mean_length)
        return compute_mfu(flops, tokens_per_second, self._args.world_size, peak)


def peak_memory_bytes(device: torch.device) -> int:
    """Peak memory of this process: on the GPU where there is one, else resident in RAM."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
