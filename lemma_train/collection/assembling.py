"""The last stage as the recipe wants it: candidates from the stage files, the data set, its card, the upload.

Enters: settings and the folder with the stage files. Leaves: `dataset.jsonl`, `dataset.parquet`, `README.md` and its
pictures. How rows are chosen is told in `assembly`.
"""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path

from lemma_train.collection.assembly import assemble
from lemma_train.collection.candidates import Candidate, reference_rows, sample_rows, trajectory_rows
from lemma_train.collection.data_card import write_card
from lemma_train.collection.frame import spent
from lemma_train.collection.funnel import funnel, students_error_types
from lemma_train.collection.graded import failure_rate
from lemma_train.collection.injection import rows_of
from lemma_train.collection.models import Role, identity
from lemma_train.collection.questions import CONTAMINATED, benchmarks_of
from lemma_train.collection.settings import CollectSettings
from lemma_train.collection.stage_files import by_question, path_of, read_stage
from lemma_train.errors import InputError
from lemma_train.problems import Problem

TASKS = ("analysis", "injection", "fix_and_continue", "fresh_and_restart", "smoothing")


def write_data_set(settings: CollectSettings, folder: Path, journals: list[Path]) -> Path:
    """Assemble the data set of a folder and describe it.

    Args:
        journals: the folders whose journals hold the replies: the folder itself, or its shards.

    Returns:
        the data set's file.
    """
    wanted = settings.assembly
    summary = assemble(
        _candidates(settings, folder),
        folder,
        seed=settings.seed,
        rows=wanted.rows,
        strategies=wanted.strategies,
        origins=wanted.origins,
        max_per_question=_caps(settings, folder),
        near_duplicate_threshold=wanted.near_duplicate_threshold,
        decontaminate=wanted.decontaminate,
        decontaminate_overlap=wanted.decontaminate_overlap,
        not_asked=[Problem(**line.record) for line in read_stage(folder, "problems") if line.reason == CONTAMINATED],
        references=wanted.references,
        right_samples=wanted.right_samples,
    )
    known = spent(settings, journals)
    roles: tuple[Role, ...] = ("student", "teacher") if settings.sampling.enabled else ("teacher",)
    tasks = [task for task in TASKS if task in known.meter.usage]
    write_card(
        folder,
        name=folder.name,
        seed=settings.seed,
        stages=[asdict(count) for count in funnel(folder)],
        students_error_types=students_error_types(folder),
        assembled=asdict(summary),
        models={role: identity(getattr(settings, role), role) for role in roles},
        prompts={task: known.prompts.fingerprint(task) for task in tasks},
        usage={task: asdict(usage) for task, usage in sorted(known.meter.usage.items())},
        currency=settings.currency,
        license=wanted.license,
    )
    if wanted.push_to_hub:
        from lemma_train.collection.hub import push

        push(folder, wanted.push_to_hub, wanted.private)
    return folder / "dataset.jsonl"


def check_assembly(settings: CollectSettings, uploads: bool = True) -> None:
    """Find what is wrong with the block `assembly` before anything is paid for.

    Args:
        uploads: whether this run is to upload the set; a shard is not.

    Raises:
        InputError: benchmarks that cannot be read, or an upload that cannot be.
    """
    benchmarks_of(settings)
    if settings.assembly.push_to_hub and uploads:
        from lemma_train.collection.hub import check

        check(settings.assembly.push_to_hub)


def _candidates(settings: CollectSettings, folder: Path) -> Iterator[Candidate]:
    problems = {line.problem_id: Problem(**line.record) for line in read_stage(folder, "problems") if line.kept}

    def problem_of(problem_id: str) -> Problem:
        if problem_id not in problems:
            raise InputError(
                f"{path_of(folder, 'problems')} does not hold {problem_id}, which a later stage does: the questions "
                "have changed since; run all stages again."
            )
        return problems[problem_id]

    parts = [trajectory_rows(read_stage(folder, "smoothing"), problem_of)]
    if settings.assembly.references:
        parts.append(reference_rows(read_stage(folder, "problems")))
    if settings.assembly.right_samples and path_of(folder, "grading").is_file():
        parts.append(sample_rows(read_stage(folder, "grading"), problem_of))
    return chain(*parts)


def _caps(settings: CollectSettings, folder: Path) -> int | dict[str, int] | None:
    """The most trajectories of a question; of LEMMA-Hard by its failure rate, problem id -> rows."""
    most = settings.assembly.max_per_question
    if settings.injection.allocation == "fixed":
        return most
    by_rate = {
        asked[0].problem_id: rows_of(settings.injection, failure_rate(graded) or 0.0)
        for asked, graded in by_question(folder, "problems", "grading")
    }
    return {problem: count if most is None else min(count, most) for problem, count in by_rate.items()}
