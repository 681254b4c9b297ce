"""How many items came into each stage and what became of them, counted from the stage files.

Enters: a collection's folder. Leaves: plain counts, for the data card and `--status`. It streams the files and asks no
model.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from lemma_train.collection.stage_files import STAGES, path_of, read_stage


@dataclass(frozen=True)
class StageCount:
    """entered = kept + the sum of reasons. outcomes: of graded answers, how many are right, wrong and ungraded."""

    stage: str
    entered: int
    kept: int
    reasons: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)


_OUTCOMES = {True: "right", False: "wrong", None: "ungraded"}


def funnel(folder: Path) -> list[StageCount]:
    """One count for each stage that has a file, in the order of the stages.

    Raises:
        InputError: a stage file is damaged.

    Example:
        >>> [(count.stage, count.entered, count.kept) for count in funnel(folder)]        # doctest: +SKIP
        [('problems', 100, 100), ('sampling', 400, 396), ...]
    """
    counts = []
    for stage in STAGES:
        if path_of(folder, stage).is_file():
            kept, reasons, outcomes = 0, Counter[str](), Counter[str]()
            for line in read_stage(folder, stage):
                if line.kept:
                    kept += 1
                else:
                    reasons[line.reason or "unnamed"] += 1
                if stage == "grading" and line.record is not None:
                    outcomes[_OUTCOMES[line.record["correct"]]] += 1
            counts.append(StageCount(stage, kept + reasons.total(), kept, dict(reasons), dict(outcomes)))
    return counts


def students_error_types(folder: Path) -> Counter[str]:
    """How often the analysis found each error type in the student's answers; empty where there was no analysis."""
    if not path_of(folder, "analysis").is_file():
        return Counter()
    return Counter(line.record["error_type"] for line in read_stage(folder, "analysis") if line.kept)
