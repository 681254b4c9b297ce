"""The order of the stages, and what each of them needs.

Enters: settings, and which part of the work is wanted. Leaves: the stage files, and the data set. The order stands in
`_STAGES`; each stage reads the files of those before it, so that one can be run alone, again, or not at all.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lemma_train.collection import analysis, correction, graded, injection, sampling, smoothing
from lemma_train.collection.asking import Asker, Teacher
from lemma_train.collection.engine import Unfinished, run_items
from lemma_train.collection.frame import frame_of, replies_file
from lemma_train.collection.journal import Journal
from lemma_train.collection.meter import Meter
from lemma_train.collection.models import Role, identity, items_at_once, open_model, open_renderer
from lemma_train.collection.progress import StageProgress
from lemma_train.collection.prompting import Prompts
from lemma_train.collection.questions import question_lines
from lemma_train.collection.settings import CollectSettings
from lemma_train.collection.shards import Shard
from lemma_train.collection.stage_files import Line, path_of, write_stage
from lemma_train.collection.taxonomy import Taxonomy
from lemma_train.collection.verdicts import Verdicts
from lemma_train.grading.grader import Grader
from lemma_train.llm.protocol import LanguageModel

MIN_WINDOW = 64  # items in work at once


@dataclass
class Run:
    """What the stages share: settings, folders, models, journals. Opened and closed by `collect`."""

    settings: CollectSettings
    folder: Path
    shard: Shard | None
    taxonomy: Taxonomy
    prompts: Prompts
    meter: Meter
    replies: Journal
    verdicts: Verdicts
    models: dict[str, LanguageModel] = field(default_factory=dict)
    progress: StageProgress | None = None

    def asker(self, role: Role) -> Asker:
        settings = getattr(self.settings, role)
        return Asker(
            lambda: self._model(role),
            identity(settings, role),
            settings,
            self.replies,
            self.meter,
            sent=lambda: self.progress.sent() if self.progress else None,
            set_aside_unanswered=self.settings.on_failure == "set_aside",
        )

    def teacher(self) -> Teacher:
        return Teacher(self.asker("teacher"), self.prompts, self.settings.attempts, self.settings.seed)

    def say(self, message: str) -> None:
        if self.progress is not None:
            self.progress.say(message)

    def _model(self, role: Role) -> LanguageModel:
        if role not in self.models:
            self.models[role] = open_model(getattr(self.settings, role), role, self.say)
        return self.models[role]


async def run_stages(run: Run, stages: Iterable[str]) -> None:
    """Run these stages, in the order given.

    Raises:
        Unfinished: one of them could not be completed; those after it did not begin.
    """
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)  # type: ignore[union-attr]
    try:
        for stage in stages:
            await _STAGES[stage](run)
            if stage == "sampling" and "student" in run.models:
                await run.models.pop("student").close()  # a local student's memory is not needed any more
    finally:
        for model in run.models.values():
            await model.close()


async def _problems(run: Run) -> None:
    with write_stage(run.folder, "problems") as put:
        for line in question_lines(run.settings):
            if run.shard is None or run.shard.holds(line.order):
                put(line)


async def _sampling(run: Run) -> None:
    student, renderer = run.asker("student"), open_renderer(run.settings.student)

    async def work(item: sampling.Sample) -> Line:
        return await sampling.work(item, student, renderer, run.settings.seed)

    await _run(run, "sampling", lambda: sampling.items(run.folder, run.settings.sampling.samples), work, "student")


async def _grading(run: Run) -> None:
    async def work(item: graded.Answered) -> Line:
        return await graded.work(item, run.verdicts)

    await _run(run, "grading", lambda: graded.items(run.folder), work, None)


async def _analysis(run: Run) -> None:
    teacher = run.teacher()

    async def work(item: analysis.Wrong) -> Line:
        return await analysis.work(item, teacher, run.taxonomy)

    await _run(run, "analysis", lambda: analysis.items(run.folder, run.settings.analysis.per_question), work, "teacher")


async def _injection(run: Run) -> None:
    settings = run.settings
    measured = {}
    if settings.injection.types == "data_set" and settings.sampling.enabled:
        measured = injection.measured_types(_analysed_folders(run))

    def items() -> Iterable[injection.Order]:
        return injection.items(
            run.folder,
            settings.injection,
            settings.correction,
            run.taxonomy,
            settings.seed,
            settings.sampling.enabled,
            measured,
        )

    teacher = run.teacher()

    async def work(item: injection.Order) -> Line:
        return await injection.work(item, teacher, run.taxonomy, run.verdicts)

    await _run(run, "injection", items, work, "teacher")


async def _correction(run: Run) -> None:
    settings, teacher = run.settings, run.teacher()

    async def work(item: correction.Error) -> Line:
        return await correction.work(item, settings.correction, settings.filters, teacher, run.taxonomy, run.verdicts)

    def items() -> Iterable[correction.Error]:
        return correction.items(run.folder, settings.correction, settings.injection, settings.sampling.enabled)

    await _run(run, "correction", items, work, "teacher")


async def _smoothing(run: Run) -> None:
    settings, teacher = run.settings, run.teacher()

    async def work(item: smoothing.Rough) -> Line:
        if not settings.smoothing.enabled:
            return smoothing.pass_on(item)
        return await smoothing.work(item, settings.filters, teacher, run.verdicts)

    await _run(run, "smoothing", lambda: smoothing.items(run.folder), work, "teacher")


# Name -> what runs it. Assembly is not among them: it has no model, and works on the whole set at once.
_STAGES: dict[str, Callable[[Run], Awaitable[None]]] = {
    "problems": _problems,
    "sampling": _sampling,
    "grading": _grading,
    "analysis": _analysis,
    "injection": _injection,
    "correction": _correction,
    "smoothing": _smoothing,
}


async def _run(
    run: Run,
    stage: str,
    items: Callable[[], Iterable[Any]],
    work: Callable[[Any], Awaitable[Line]],
    role: Role | None,
) -> None:
    total = sum(1 for _ in items())
    model = getattr(run.settings, role) if role else None
    with StageProgress(stage, total, run.meter, run.settings.currency) as progress:
        run.progress = progress

        async def counted(item: Any) -> Line:
            # Counted when it is done, not when it is written: one slow item holds up the file, not the display.
            line = await work(item)
            progress.finished(line)
            return line

        with write_stage(run.folder, stage) as put:
            await run_items(items(), counted, put, items_at_once(model, MIN_WINDOW) if model else MIN_WINDOW)


def _analysed_folders(run: Run) -> list[Path]:
    """Where the analyses of the whole data set lie.

    Raises:
        Unfinished: another shard has none yet.
    """
    if run.shard is None:
        return [run.folder]
    missing = [shard for shard in run.shard.all() if not path_of(shard.folder, "analysis").is_file()]
    if missing:
        names = ", ".join(f"{shard.number}/{shard.count}" for shard in missing)
        raise Unfinished(
            f"injection.types: data_set draws from the errors of all shards, and {names} are not analysed yet; start "
            "this shard again when they are."
        )
    return [shard.folder for shard in run.shard.all()]


def open_run(settings: CollectSettings, folder: Path, shard: Shard | None, stack: ExitStack) -> Run:
    """Open the journals and everything else that needs no model.

    Raises:
        InputError: the prompts or the taxonomy are at fault, or a journal is damaged.
    """
    frame = frame_of(settings, shard.count if shard else 1)
    replies = stack.enter_context(
        Journal(replies_file(folder), seen=lambda entry: frame.meter.count(entry["task"], entry))
    )
    grades = stack.enter_context(Journal(folder / "journal" / "grades.jsonl"))
    verdicts = Verdicts(stack.enter_context(Grader()), grades)
    return Run(settings, folder, shard, frame.taxonomy, frame.prompts, frame.meter, replies, verdicts)
