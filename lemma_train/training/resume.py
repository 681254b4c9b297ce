"""Where a run starts: from the base model, or from a checkpoint of the same training.

Enters: a recipe and the course of the present run. Leaves: the checkpoint to resume from, or the refusal. It changes
nothing on disk and loads nothing.
"""

from pathlib import Path

from lemma_train.errors import InputError
from lemma_train.training import other_ranks
from lemma_train.training.checkpoints import (
    MARKER,
    SPLIT_KEYS,
    Course,
    find_checkpoints,
    is_complete,
    saved_course,
    step_of,
)
from lemma_train.training.recipe import Recipe
from lemma_train.training.sharding import nvme_folders


def checkpoint_to_resume(recipe: Recipe, course: Course) -> tuple[Path | None, list[str]]:
    """Decide where the run starts, without changing anything on disk.

    Returns:
        the checkpoint, or None for a start from the base model; and what the user should be told.

    Raises:
        InputError: the named checkpoint is missing or incomplete, the run has changed since the newest checkpoint,
            or `resume: never` meets a folder with checkpoints.
    """
    wanted, output_dir = recipe["resume"], recipe.output_dir
    if wanted not in ("auto", "never"):
        checkpoint = Path(wanted)
        if not is_complete(checkpoint):
            raise InputError(f"resume: {wanted} is no complete checkpoint (its {MARKER} is missing or files are cut).")
        later = [path.name for path in find_checkpoints(output_dir) if step_of(path) > step_of(checkpoint)]
        if later:
            raise InputError(
                f"resume: {wanted} is older than {later[-1]} in {output_dir}, which a later start would take for the "
                "newest; move the later checkpoints away or choose another output_dir."
            )
        return checkpoint, _explained(recipe, checkpoint, course, forced=True)
    present = find_checkpoints(output_dir)
    complete = [path for path in present if is_complete(path)]
    if wanted == "never":
        if present:
            raise InputError(
                f"resume: never, but {output_dir} holds {present[-1].name}; choose another output_dir or move it away."
            )
        return None, []
    newest = complete[-1] if complete else None
    notes = [
        f"{path} is incomplete (the run was cut off while saving it) and is skipped."
        for path in present
        if path not in complete and (newest is None or step_of(path) > step_of(newest))
    ]
    return (newest, notes + _explained(recipe, newest, course, forced=False)) if newest else (None, notes)


def _explained(recipe: Recipe, checkpoint: Path, course: Course, forced: bool) -> list[str]:
    saved = saved_course(checkpoint)
    differences = saved.differences(course)
    if not differences:
        return [f"Resuming from {checkpoint}."]
    if (saved.zero_stage or course.zero_stage) and saved.zero_stage != course.zero_stage:
        raise InputError(
            f"{checkpoint} cannot be resumed here: {differences[-1]}, and DeepSpeed's optimizer state is split by "
            "them. Start it as before, or make a plain model of it with `lemma merge` and start from that."
        )
    offloaded = [bool(nvme_folders(side.keys.get("deepspeed"))) for side in (saved, course)]
    if any(offloaded) and (not all(offloaded) or saved.processes != course.processes):
        raise InputError(
            f"{checkpoint} cannot be resumed here: {'; '.join(differences)}; with its optimizer state on NVMe a run "
            "goes on from such a checkpoint and with as many processes alone. Start it as before."
        )
    if saved.processes != course.processes:
        other_ranks.demand_movable(recipe, checkpoint, saved, course)
        differences = saved.differences(course, besides=SPLIT_KEYS)
        if not differences:
            return [
                f"Resuming from {checkpoint} on {course.processes} processes instead of {saved.processes}: the same "
                "rows in the same order; sums are rounded otherwise, so losses agree closely and not bit for bit."
            ]
    if not forced:
        raise InputError(
            f"{checkpoint} belongs to another run than this recipe: {'; '.join(differences)}. Undo that, choose "
            f"another output_dir, or resume in spite of it with resume: {checkpoint}."
        )
    return [f"Resuming from {checkpoint} although this run differs: {'; '.join(differences)}."]
