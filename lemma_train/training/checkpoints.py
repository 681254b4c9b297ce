"""Which checkpoints are whole, and what each was made by.

Enters: an output folder and what a run is made of. Leaves: checkpoints that count, and their courses. A checkpoint is
complete when `lemma_checkpoint.json` stands in it: it is written last, after every other file has reached the disk,
and lists them with their sizes. It saves and loads no weights; the trainer does.
"""

import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lemma_train.errors import InputError
from lemma_train.training.recipe import Recipe
from lemma_train.training.sharding import deepspeed_config, uses_fsdp, zero_stage

MARKER = "lemma_checkpoint.json"
UNIVERSAL = "latest_universal"  # stands in a checkpoint that any number of processes can resume from
SPLIT_KEYS = ("per_device_train_batch_size", "gradient_accumulation_steps")
# Keys that do not decide the course of the training: a run may go on although they changed.
_FREE_KEYS = frozenset(
    [
        "output_dir",
        "resume",
        "evaluate_after",
        "max_bad_share",
        "logging_strategy",
        "logging_steps",
        "logging_first_step",
        "log_on_each_node",
        "log_level",
        "log_level_replica",
        "logging_nan_inf_filter",
        "disable_tqdm",
        "report_to",
        "run_name",
        "token_metrics",
        "keep_freed_memory",
        "project",
        "trackio_space_id",
        "trackio_bucket_id",
        "trackio_static_space_id",
        "eval_strategy",
        "eval_steps",
        "eval_delay",
        "eval_on_start",
        "per_device_eval_batch_size",
        "prediction_loss_only",
        "eval_accumulation_steps",
        "save_strategy",
        "save_steps",
        "save_total_limit",
        "dataloader_num_workers",
        "dataloader_pin_memory",
        "dataloader_persistent_workers",
        "dataloader_prefetch_factor",
        "dataloader_multiprocessing_context",
        "ddp_timeout",
        "hang_minutes",
        "debug",
        "skip_memory_metrics",
        "include_num_input_tokens_seen",
        "torch_empty_cache_steps",
    ]
)


@dataclass(frozen=True)
class Course:
    """What decides the course of a training: with the same course, resuming continues it bit for bit.

    keys: the recipe's values that matter. processes: world size. zero_stage: 0 without DeepSpeed.
    """

    keys: dict[str, Any]
    data: str
    template: str
    processes: int
    zero_stage: int

    @property
    def split(self) -> tuple[int, int]:
        """Rows of a micro-batch, and micro-batches of a step, on each process."""
        defaults = Recipe(Path(), {})
        batch, accumulation = (self.keys.get(key, defaults[key]) for key in SPLIT_KEYS)
        return batch, accumulation

    @property
    def global_batch(self) -> int:
        """Rows of a step."""
        return self.processes * math.prod(self.split)

    def differences(self, other: "Course", besides: tuple[str, ...] = ()) -> list[str]:
        """Each difference in words; `self` is the checkpoint's course, `other` the present one.

        besides: keys that may differ; where there are any, the number of processes may too.
        """
        found = []
        for key in sorted({*self.keys, *other.keys}.difference(besides)):
            # A key that only one side names is compared with "not set": the library's default may have moved since.
            before, now = self.keys.get(key, "(not set)"), other.keys.get(key, "(not set)")
            if before != now:
                found.append(f"{key} was {before}, now {now}")
        if self.data != other.data:
            found.append("the training rows, the tokenizer or their settings have changed")
        if self.template != other.template:
            found.append("the template has changed")
        if self.processes != other.processes and not besides:
            found.append(f"it ran on {self.processes} processes, now {other.processes}")
        if self.zero_stage != other.zero_stage:
            found.append(f"it ran with ZeRO stage {self.zero_stage}, now {other.zero_stage}")
        return found


def course_of(recipe: Recipe, environ: Mapping[str, str], data: str, template: str) -> Course:
    """The course of a run, from its recipe, the launcher's variables and the fingerprints of data and template."""
    # The data fingerprint covers the rows themselves; where they lie does not matter.
    free = _FREE_KEYS | {"train_files", "eval_files"}
    if recipe["load_best_model_at_end"]:
        free -= {"eval_strategy", "eval_steps", "eval_delay", "save_strategy", "save_steps"}  # they choose the result
    keys = {key: value for key, value in recipe.resolved().items() if key not in free}
    # What the DeepSpeed configuration says counts, not who names it: the recipe's key or the launcher.
    keys["deepspeed"] = deepspeed_config(recipe, environ)
    keys["sharded by FSDP"] = uses_fsdp(recipe, environ)
    processes = int(environ.get("WORLD_SIZE", "1"))
    return Course(keys, data, template, processes, zero_stage(recipe, environ))


def read_course(saved: Mapping[str, Any], where: Path) -> Course:
    """A stored course.

    Raises:
        InputError: another version of this project has stored other things in the folder `where`.
    """
    try:
        return Course(**saved)
    except TypeError as error:
        raise InputError(
            f"{where} was written by another version of lemma_train; choose another output_dir."
        ) from error


def saved_course(checkpoint: Path) -> Course:
    """The course that a complete checkpoint was made by."""
    return read_course(json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))["course"], checkpoint)


def find_checkpoints(output_dir: Path) -> list[Path]:
    """All checkpoint folders, complete or not, by ascending step."""
    folders = [path for path in output_dir.glob("checkpoint-*") if path.is_dir() and path.name[11:].isdigit()]
    return sorted(folders, key=step_of)


def step_of(checkpoint: Path) -> int:
    """The optimizer steps that a checkpoint has behind it, by its name.

    Example:
        >>> step_of(Path("out/checkpoint-347"))
        347
    """
    return int(checkpoint.name.rpartition("-")[2])


def is_complete(checkpoint: Path) -> bool:
    """Whether the marker stands and every file that it lists has its size."""
    try:
        marker = json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))
        return "course" in marker and all(
            (checkpoint / name).stat().st_size == size for name, size in marker["files"].items()
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False


def mark_complete(checkpoint: Path, course: Course) -> None:
    """Flush every file of the checkpoint to disk, then write the marker that makes it count."""
    files = {}
    for path in flush(checkpoint):
        if path.name != MARKER:
            files[path.relative_to(checkpoint).as_posix()] = path.stat().st_size
    write_json_durably(checkpoint / MARKER, {"step": step_of(checkpoint), "course": asdict(course), "files": files})


def flush(folder: Path) -> list[Path]:
    """Make sure that every file below a folder has reached the disk; returns them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    return files


def write_json_durably(path: Path, value: Any) -> None:
    """Write JSON so that the file holds the old or the new text after a crash, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump(value, stream, indent=1, sort_keys=True, default=str)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def discard(checkpoint: Path) -> None:
    """Delete a checkpoint, its marker first: a deletion that is cut short must not leave one that looks complete."""
    (checkpoint / MARKER).unlink(missing_ok=True)
    shutil.rmtree(checkpoint, ignore_errors=True)


def rotate(output_dir: Path, keep: int | None, best: str | None) -> None:
    """After a complete save: delete half-written checkpoints, and complete ones beyond the newest `keep`.

    The best checkpoint, if there is one, is never deleted.
    """
    complete = [path for path in find_checkpoints(output_dir) if is_complete(path)]
    surplus = complete[: -max(keep, 1)] if keep is not None else []
    newest = step_of(complete[-1]) if complete else 0
    broken = [path for path in find_checkpoints(output_dir) if path not in complete and step_of(path) < newest]
    for path in [*surplus, *broken]:
        if best is None or path.resolve() != Path(best).resolve():
            discard(path)
