"""A DeepSpeed checkpoint becomes one that any number of processes can resume from.

Enters: a checkpoint-N of ZeRO-1, 2 or 3, whose optimizer state is split by the processes that wrote it. Leaves: beside
that split a copy by parameter, in DeepSpeed's universal format, in the same folder; the trainer takes it where the
number of processes is another. DeepSpeed does the work (`deepspeed.checkpoint.ds_to_universal`); no GPU is needed.
"""

import argparse
import contextlib
import io
import shutil
from pathlib import Path

from lemma_train.errors import InputError, first_line
from lemma_train.training.checkpoints import MARKER, UNIVERSAL, flush, is_complete
from lemma_train.training.lock import claim

WORKERS = 2  # processes that read and write; each holds the share of one rank: 12 bytes a parameter, over all ranks


def state_file(checkpoint: Path) -> Path:
    """What the copy says about the optimizer besides its tensors."""
    return checkpoint / (checkpoint / UNIVERSAL).read_text(encoding="utf-8").strip() / "zero" / "optimizer_state.pt"


def make_universal(checkpoint: Path) -> Path:
    """Write the copy and return its folder; what an interrupted call has left is written anew.

    Raises:
        InputError: there is no such checkpoint, it is not whole, not DeepSpeed's or of a kind that DeepSpeed cannot
            convert, the disk is too full, or a run is at work in the output folder.
    """
    if not is_complete(checkpoint):
        raise InputError(f"{checkpoint} is no complete checkpoint (its {MARKER} is missing or files are cut).")
    if not (checkpoint / "latest").exists():
        raise InputError(
            f"{checkpoint} holds no partitions of DeepSpeed; it resumes on any number of processes as it is."
        )
    source = checkpoint / (checkpoint / "latest").read_text(encoding="utf-8").strip()
    if (source / "offloaded_tensors").exists():
        raise InputError(
            f"{checkpoint} keeps its optimizer state as NVMe offload left it, one folder a rank, and DeepSpeed cannot "
            "join those; go on with as many processes as before."
        )
    target = checkpoint / f"{source.name}_universal"
    if (checkpoint / UNIVERSAL).exists():
        return target
    with claim(checkpoint.parent):
        shutil.rmtree(target, ignore_errors=True)
        _demand_room(source)
        try:
            _convert(source, target)
        except (OSError, RuntimeError, ValueError, LookupError, AssertionError, NotImplementedError) as error:
            shutil.rmtree(target, ignore_errors=True)
            raise InputError(f"{checkpoint} cannot be converted: {first_line(error)}") from error
        finally:
            (checkpoint / UNIVERSAL).unlink(missing_ok=True)  # DeepSpeed's own, written before anything is flushed
        flush(target)
        # DeepSpeed finds the copy by this file, so it comes last.
        (checkpoint / UNIVERSAL).write_text(target.name, encoding="utf-8")
    return target


def _demand_room(source: Path) -> None:
    """The copy takes as much as the partitions, and the fragments that it is joined from as much again."""
    needed = 2 * sum(file.stat().st_size for file in source.glob("*_optim_states.pt"))
    free = shutil.disk_usage(source).free
    if free < needed:
        raise InputError(f"{source}: converting it takes {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} are free.")


def _convert(source: Path, target: Path) -> None:
    import torch
    from deepspeed.checkpoint import ds_to_universal

    options = argparse.Namespace(
        input_folder=str(source),
        output_folder=str(target),
        num_extract_workers=WORKERS,
        num_merge_workers=WORKERS,
        keep_temp_folder=False,
        strict=True,
        inject_missing_state=True,  # stages 1 and 2 ask for a description that only Megatron's models bring along
    )
    with contextlib.redirect_stdout(io.StringIO()):
        ds_to_universal.main(options)
    # For stage 3 DeepSpeed copies the first rank's whole share into this file, which every rank would then read.
    file = target / "zero" / "optimizer_state.pt"
    state = torch.load(file, map_location="cpu", weights_only=False)
    inner = state.get("optimizer_state_dict")
    if inner is not None:
        state.pop("fp32_flat_groups")
        inner["state"] = {0: {"step": inner["state"][0]["step"]}}
        torch.save(state, file)
