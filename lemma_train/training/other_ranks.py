"""Going on with another number of processes than those that wrote a checkpoint.

Enters: the course of a checkpoint and the present one. Leaves: why that cannot be, or what the trainer has to do
differently. Batches are dealt out to the ranks in turn, so a step has the same rows on any number of them, as long as
the global batch is the same; sums and dropout are another matter, so the losses agree closely and not bit for bit.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lemma_train.errors import InputError
from lemma_train.training import universal
from lemma_train.training.checkpoints import Course, saved_course
from lemma_train.training.plan_steps import Rows, count_steps
from lemma_train.training.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Sized

    from lemma_train.training.trainer import LemmaTrainer


def demand_movable(recipe: Recipe, checkpoint: Path, saved: Course, course: Course) -> None:
    """Refuse another number of processes where the position in the rows or the optimizer state would be lost.

    Raises:
        InputError: why, and what would do.
    """
    cannot = f"{checkpoint} was written by {saved.processes} processes and cannot go on with {course.processes}"
    before, now = saved.global_batch, course.global_batch
    if before != now:
        keep = before / (course.processes * course.split[0])
        mend = f"gradient_accumulation_steps: {keep:.0f} keeps them" if keep.is_integer() else "keep them"
        raise InputError(f"{cannot}: a step had {before} rows and would have {now}; {mend}.")
    if recipe["train_sampling_strategy"] == "group_by_length":
        raise InputError(
            f"{cannot}: train_sampling_strategy: group_by_length orders the rows by how many one process gets."
        )
    if recipe["accelerator_config"] or saved.keys.get("accelerator_config"):
        raise InputError(f"{cannot}: with accelerator_config it is not known which process gets which rows.")
    if saved.keys.get("sharded by FSDP"):
        raise InputError(f"{cannot}: for checkpoints of FSDP this has not been tried.")
    if saved.zero_stage and universal.state_file(checkpoint) is None:
        raise InputError(
            f"{cannot} as it is: DeepSpeed's optimizer state is split by them. `lemma universal {checkpoint}` adds a "
            "copy that is not; then start again."
        )


def former_course(checkpoint: Path | None, course: Course) -> Course | None:
    """The course of a checkpoint that another number of processes wrote; None where there is nothing to adapt."""
    saved = saved_course(checkpoint) if checkpoint is not None else None
    return saved if saved is not None and saved.processes != course.processes else None


def go_on(trainer: "LemmaTrainer", recipe: Recipe, checkpoint: Path, saved: Course, course: Course) -> None:
    """Make a trainer, before it trains, resume from the checkpoint of another number of processes.

    Raises:
        InputError: an epoch would have another number of steps, so the position in it would be another one.
    """
    rows = len(cast("Sized", trainer.train_dataset))
    steps = [_steps_per_epoch(recipe, rows, side) for side in (saved, course)]
    if steps[0] != steps[1]:
        raise InputError(
            f"{checkpoint}: an epoch had {steps[0]} steps on {saved.processes} processes and would have {steps[1]} on "
            f"{course.processes}, because the rows do not fill them evenly; go on with {saved.processes}."
        )
    if course.zero_stage:
        config = trainer.accelerator.state.deepspeed_plugin.hf_ds_config.config
        config["checkpoint"] = {**config.get("checkpoint", {}), "load_universal": True}
        kept = universal.state_file(checkpoint)
        assert kept is not None, "demand_movable has seen it"
        trainer.add_callback(_after_loading(trainer, kept))


def unlogged_share(files: list[Path], rank: int, ranks: int) -> dict[str, Any] | None:
    """What this rank has to go on summing up towards the next log, from what the former ranks had summed up.

    The loss is averaged over the ranks when it is logged, tokens are added up. Example: of the tokens of two former
    ranks, the only new one gets the sum; of two new ones the first gets all.
    """
    by_rank = sorted(files, key=lambda file: int(file.stem.rpartition("_")[2]))
    kept = [json.loads(file.read_text(encoding="utf-8")) for file in by_rank]
    if not kept:
        return None
    if len(kept) == ranks:
        return kept[rank]
    counted = {
        name: [
            sum(counts) if rank == 0 else 0 for counts in zip(*(one["throughput"][name] for one in kept), strict=True)
        ]
        for name in ("tokens", "head")
    }
    loss = sum(one["loss"] for one in kept) / len(kept)
    return {**kept[0], "loss": loss, "throughput": {**kept[0]["throughput"], **counted}}


def _steps_per_epoch(recipe: Recipe, rows: int, side: Course) -> int | None:
    counted = Rows(rows, 1.0, 1, padded=True, worst_case=False, origin="", mean_origin="")
    return count_steps(recipe, counted, side.processes, *side.split).steps_per_epoch


def _after_loading(trainer: "LemmaTrainer", kept: Path) -> Any:
    import torch
    from transformers import TrainerCallback

    class AfterLoading(TrainerCallback):
        """Later loads are of checkpoints that this run has written; and what DeepSpeed's stage 3 muddles is set right.

        It gives every parameter group the settings of the first, its weight decay included, and all partitions one
        count of steps, which then goes up once for each of them (tests/test_other_ranks.py fails without this).
        """

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            engine = cast(Any, trainer.deepspeed)
            engine._config.load_universal_checkpoint = False
            stored = torch.load(kept, map_location="cpu", weights_only=False)
            groups = stored.get("optimizer_state_dict", stored)["param_groups"]
            optimizer = engine.optimizer.optimizer
            for group, former in zip(optimizer.param_groups, groups, strict=True):
                group.update({key: value for key, value in former.items() if key != "params"})
            for state in optimizer.state.values():
                if torch.is_tensor(state.get("step")):
                    state["step"] = state["step"].clone()

    return AfterLoading()
