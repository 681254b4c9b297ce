"""One rank of a measured run: the real trainer on a small model, with every tensor allocation recorded.

Started by benchmarks/memory_model.py through `accelerate launch`; prints nothing, writes one JSON file a rank.
torch's own profiler reports each allocation of the CPU allocator, as torch.cuda.max_memory_allocated would on a GPU;
recording starts before the model is loaded, so that nothing is missed. Model state is counted by walking the live
tensors of model, engine and optimizer between two micro-batches, each storage once.
"""

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from lemma_train.training import run, trainer
from lemma_train.training.compatibility import check_recipe
from lemma_train.training.recipe import load_recipe

# Where DeepSpeed's stages 2 and 3 keep gradients between micro-batches.
GRADIENTS = ("grad_partitions_flat_buffer", "averaged_gradients", "all_grad_tensors")


class Measured(TrainerCallback):
    """Notes when training begins and ends, and counts the live state in its last step."""

    def __init__(self, owner: "trainer.LemmaTrainer"):
        self.owner = owner
        self.began_ns = self.ended_ns = 0
        self.state_bytes: dict[str, int] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.began_ns = time.time_ns()

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.state_bytes = state_bytes(self.owner)  # gradients of the first micro-batch are there, moments too

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.ended_ns = time.time_ns()


def state_bytes(owner: "trainer.LemmaTrainer") -> dict[str, int]:
    """Bytes of weights, master weights, moments and gradients that this rank holds."""
    engine = owner.model_wrapped
    zero = getattr(engine, "optimizer", None)  # DeepSpeed's; without DeepSpeed the Trainer's own
    inner = getattr(zero, "optimizer", None) or owner.optimizer
    inner = getattr(inner, "optimizer", inner)
    parameters = list(owner.model.parameters())
    weights = [p.data for p in parameters] + [p.ds_tensor.data for p in parameters if hasattr(p, "ds_tensor")]
    master_names = ("fp32_partitioned_groups_flat", "single_partition_of_fp32_groups")
    masters = [t for name in master_names for t in tensors(zero, name)]
    moments = [t for state in inner.state.values() for t in state.values() if isinstance(t, torch.Tensor)]
    gradients = [p.grad for p in parameters if p.grad is not None]
    gradients += [t for name in GRADIENTS for t in tensors(zero, name)]
    seen: set[int] = set()
    return {
        name: sum(storage_bytes(group, seen))
        for name, group in (
            ("weights", weights),
            ("master_weights", masters),
            ("moments", moments),
            ("gradients", gradients),
        )
    }


def tensors(owner: Any, name: str) -> Iterator[torch.Tensor]:
    """The tensors under an attribute that may be a tensor, or lists or dicts of them."""
    waiting = [getattr(owner, name, None)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value


def storage_bytes(group: Iterable[torch.Tensor], seen: set[int]) -> Iterator[int]:
    for tensor in group:
        storage = tensor.untyped_storage()
        if storage.nbytes() and storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            yield storage.nbytes()


def peaks(profiler: Any, measured: Measured) -> dict[str, int]:
    """The most that was allocated at one time while training, and in the whole run.

    Each event carries the allocator's own total, which also knows of blocks that another thread has freed.
    """
    training = whole = 0
    waiting = list(profiler.profiler.kineto_results.experimental_event_tree())
    while waiting:
        event = waiting.pop()
        waiting += event.children
        kind, fields = event.typed
        if kind == torch._C._profiler._EventType.Allocation:
            whole = max(whole, fields.total_allocated)
            if measured.began_ns <= event.start_time_ns <= measured.ended_ns:
                training = max(training, fields.total_allocated)
    return {"peak_training": training, "peak_whole": whole}


def main() -> None:
    recipe_file, out = sys.argv[1], Path(sys.argv[2])
    recipe = load_recipe(recipe_file)
    check_recipe(recipe, os.environ)
    kept: list[Measured] = []

    class MeasuredTrainer(trainer.LemmaTrainer):
        def __init__(self, *args: Any, **kwargs: Any):
            super().__init__(*args, **kwargs)
            kept.append(Measured(self))
            self.add_callback(kept[0])

    trainer.LemmaTrainer = MeasuredTrainer  # type: ignore[misc] # `run` imports it when it trains
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        run.train(recipe)
    figures = {"state": kept[0].state_bytes, **peaks(profiler, kept[0])}
    rank = os.environ.get("RANK", "0")
    out.with_name(f"{out.name}.{rank}.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
