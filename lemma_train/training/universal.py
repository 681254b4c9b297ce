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
from pickle import UnpicklingError

from lemma_train.errors import InputError, first_line
from lemma_train.training.checkpoints import MARKER, UNIVERSAL, flush, is_complete
from lemma_train.training.lock import claim

WORKERS = 2  # processes that read and write; each holds the share of one rank: 12 bytes a parameter, over all ranks


def state_file(checkpoint: Path) -> Path | None:
    """What the copy says about the optimizer besides its tensors; None where a checkpoint has no copy."""
    pointer = checkpoint / UNIVERSAL
    name = pointer.read_text(encoding="utf-8").strip() if pointer.exists() else ""
    file = checkpoint / name / "zero" / "optimizer_state.pt"
    return file if name and file.exists() else None


def make_universal(checkpoint: Path) -> Path:
    """Write the copy and return its folder; what an interrupted call has left is written anew.

    Raises:
        InputError: there is no such checkpoint, it is not whole, not DeepSpeed's or of a kind that DeepSpeed cannot
            convert, the disk is too full, or a run is at work in the output folder.
    """
    if not is_complete(checkpoint):
        raise InputError(
            f"{checkpoint} is no complete checkpoint (its {MARKER} is missing or files are cut); name a checkpoint-N "
            "folder."
        )
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
    if state_file(checkpoint) is not None:
        return target
    with claim(checkpoint.parent):
        # DeepSpeed points at its copy before the copy is flushed or ours: it does so in a folder that does not count.
        unfinished = checkpoint / ".universal.unfinished"
        try:
            for left in (unfinished, target):
                shutil.rmtree(left, ignore_errors=True)
            unfinished.mkdir()
            _demand_room(source)
            _convert(source, unfinished / target.name)
            flush(unfinished)
            (unfinished / target.name).rename(target)
            (unfinished / UNIVERSAL).replace(checkpoint / UNIVERSAL)
        except InputError:
            raise
        except (OSError, EOFError, RuntimeError, ValueError, LookupError, AssertionError, UnpicklingError) as error:
            raise InputError(f"{checkpoint} cannot be converted: {first_line(error)}") from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return target


def _demand_room(source: Path) -> None:
    """The copy takes as much as the partitions, the fragments that it is joined from as much again, and for stage 3
    the first rank's partition lies beside them for a while."""
    partitions = [file.stat().st_size for file in source.glob("*_optim_states.pt")]
    needed = 2 * sum(partitions) + max(partitions, default=0)
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
