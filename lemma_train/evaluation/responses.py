"""What a model says to a list of questions, kept as it arrives.

Enters: questions with their prompts as token ids. Leaves: replies in the order of the questions, from the journal where
they stand there, so that a killed evaluation goes on where it was. Nothing is graded here.
"""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import orjson
import uvloop

from lemma_train.collection.asking import Asker, seed_of
from lemma_train.collection.engine import run_items
from lemma_train.collection.journal import Journal
from lemma_train.collection.meter import Meter
from lemma_train.collection.models import Role, identity, items_at_once, open_model
from lemma_train.collection.progress import StageProgress
from lemma_train.collection.settings import ModelSettings
from lemma_train.collection.stage_files import Line
from lemma_train.errors import InputError, first_line
from lemma_train.llm.protocol import LanguageModel, Rejected, Request

T = TypeVar("T")

MIN_WINDOW = 256
STARTS = "starts.jsonl"


@dataclass(frozen=True)
class Prompt:
    """One answer to ask for. id: names question and sample. ids: what the model reads, exactly as in training."""

    id: str
    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Answered:
    """What came of one prompt. finish_reason: that of `Reply`, or `rejected`: the server will not answer it."""

    text: str
    finish_reason: str
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Respondent:
    """One model, asked through a journal; it is loaded with the first question that has no reply yet.

    Args:
        role: the recipe's block that `settings` stand in, for messages.
        folder: its `journal/` keeps the replies, and how long each start took over them.
        most_rejected: the share of prompts that may be refused for good; they count as wrong answers.

    Raises:
        Stopped: the server is down or left questions unanswered; the same command goes on.
        InputError: the model or its server is at fault, or the folder cannot be written.
    """

    def __init__(
        self, settings: ModelSettings, role: Role, folder: Path, seed: int, most_rejected: float = 1.0
    ) -> None:
        self.settings, self._most_rejected = settings, most_rejected
        self._role, self._folder, self._seed = role, folder / "journal", seed
        # Of each role its own: what a teacher of error types costs is not the model's speed.
        self._starts = self._folder / (STARTS if role == "model" else f"{role}_{STARTS}")
        # Used only for its counts of new replies; what they cost is nobody's budget here.
        self._meter = Meter({"student": settings.prices, "teacher": settings.prices}, None)
        self._identity = identity(settings, role)
        self._model: LanguageModel | None = None
        # One loop for all questions: a client's connections belong to the loop that opened them.
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._seconds = 0.0
        self._progress: StageProgress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._model is not None:
            self._runner.run(self._model.close())
        self._runner.close()
        self._remember()

    def answers(self, prompts: Sequence[Prompt], stage: str, greedy: bool = False) -> list[Answered]:
        """What is said to each prompt, in their order.

        Args:
            stage: what the progress display calls this.
            greedy: whatever the recipe's temperature.

        Raises:
            InputError: the model refuses more of the prompts than `most_rejected`.
        """
        model = self.settings
        refused: list[str] = []

        async def work(prompt: Prompt, asker: Asker) -> Answered:
            request = Request(
                "sampling",
                prompt=prompt.text,
                prompt_ids=prompt.ids,
                temperature=0.0 if greedy else model.temperature,
                top_p=model.top_p,
                max_tokens=model.max_tokens,
                seed=seed_of(self._seed, prompt.id),
                stop=tuple(model.stop),
            )
            try:
                reply = (await asker.reply(request, prompt.id, 0, None))[1]
            except Rejected as error:
                refused.append(str(error))
                self._say(f"{prompt.id}: {error}")
                return Answered("", "rejected")
            return Answered(reply.text, reply.finish_reason, reply.prompt_tokens, reply.completion_tokens)

        found = self.ask(prompts, work, stage, len(prompts))
        if len(refused) > self._most_rejected * len(prompts):
            raise InputError(
                f"{stage}: {len(refused)} of {len(prompts)} prompts were refused, the last because: {refused[-1]}. "
                "Serve the model with a longer context, lower model.max_tokens, or raise max_rejected_share to count "
                "them as wrong answers."
            )
        return found

    def ask(self, items: Iterable[T], work: Callable[[T, Asker], Awaitable[Any]], stage: str, count: int) -> list[Any]:
        """What `work` makes of each item, in their order; it asks through the `Asker` that it is given."""
        found: list[Any] = []
        began = time.monotonic()
        with (
            Journal(self._folder / "replies.jsonl") as journal,
            StageProgress(stage, count, self._meter, "") as progress,
        ):
            self._progress = progress
            asker = Asker(
                self._load,
                self._identity,
                self.settings,
                journal,
                self._meter,
                sent=progress.sent,
                keep_rejections=False,  # the server's context may be set longer; then they are to be asked again
            )

            async def one(item: T) -> Line:
                line = Line(stage, stage, 0, True, await work(item, asker))
                progress.finished(line)
                return line

            async def every() -> None:
                task = asyncio.current_task()
                assert task is not None
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
                window = items_at_once(self.settings, MIN_WINDOW)
                await run_items(items, one, lambda line: found.append(line.record), window, otherwise="")

            asked = self._replies()
            try:
                self._runner.run(every())
            finally:
                if self._replies() > asked:  # a start that finds everything in the journal says nothing about speed
                    self._seconds += time.monotonic() - began
        return found

    def speed(self) -> dict[str, Any]:
        """What answering cost, over all starts that could end in peace; zeros where none has asked.

        Returns:
            replies, completion_tokens, seconds (loading the model included).
        """
        told = {"replies": 0, "completion_tokens": 0, "seconds": 0.0}
        file = self._starts
        lines = file.read_bytes().splitlines() if file.is_file() else []
        for start in [*map(_start, lines), self._start()]:
            for key in told:
                told[key] += start.get(key, 0)
        return told

    def _load(self) -> LanguageModel:
        if self._model is None:
            self._model = open_model(self.settings, self._role, self._say)
        return self._model

    def _say(self, message: str) -> None:
        if self._progress is not None:
            self._progress.say(message)

    def _replies(self) -> int:
        return sum(usage.replies for usage in self._meter.usage.values())

    def _start(self) -> dict[str, Any]:
        tokens = sum(usage.completion_tokens for usage in self._meter.usage.values())
        return {"replies": self._replies(), "completion_tokens": tokens, "seconds": round(self._seconds, 3)}

    def _remember(self) -> None:
        if not self._replies():
            return
        try:
            with self._starts.open("ab") as out:
                out.write(orjson.dumps(self._start()) + b"\n")
        except OSError as error:
            raise InputError(f"output_dir: {self._folder} cannot be written: {first_line(error)}.") from error


def _start(line: bytes) -> dict[str, Any]:
    """A line of `starts.jsonl`; nothing, where a kill has torn it."""
    try:
        start = orjson.loads(line)
    except ValueError:
        return {}
    return start if isinstance(start, dict) else {}
