"""How far each stage of a collection is, for `--status`: done, at work, stopped, or left by an earlier run.

Enters: a collection's folder, in which a run may be at work. Leaves: lines of text. It changes nothing.
"""

from pathlib import Path

from lemma_train.collection.funnel import funnel
from lemma_train.collection.stage_files import STAGES, path_of
from lemma_train.training.lock import is_claimed
from lemma_train.whole_file import unfinished_name

EARLIER = "   (of an earlier run)"


def stage_states(folder: Path) -> tuple[list[str], float]:
    """One line for each stage that has begun, in order.

    A stage is left by an earlier run where a stage before it was made since, or is being made.

    Returns:
        the lines, and when the last of the stages that `assembly` rests on was made: seconds since 1970, infinite while
        one is unfinished.

    Raises:
        InputError: a stage file is damaged.
    """
    counts = {count.stage: count for count in funnel(folder)}
    lines, newest, rests_on = [], 0.0, 0.0
    for stage in STAGES:
        if stage == "assembly":
            rests_on = newest
        try:
            begun = _lines_in(unfinished_name(path_of(folder, stage)))
            newest = float("inf")
            state = "running" if is_claimed(folder) else "stopped; start the same command again"
            lines.append(f"{stage:<12}{begun:>9,} items so far ({state})")
            continue
        except FileNotFoundError:
            pass
        if stage in counts:
            count = counts[stage]
            reasons = ", ".join(f"{reason} {number:,}" for reason, number in count.reasons.items())
            made = path_of(folder, stage).stat().st_mtime
            lines.append(
                f"{stage:<12}{count.entered:>9,} items{count.kept:>9,} kept"
                + (f"   {reasons}" if reasons else "")
                + (EARLIER if made < newest else "")
            )
            newest = max(newest, made)
    return lines, rests_on


def _lines_in(path: Path) -> int:
    with path.open("rb") as lines:
        return sum(1 for _ in lines)
