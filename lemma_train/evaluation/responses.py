"""A model's answers to a list of questions, kept as they arrive.

Enters: questions with their prompts as token ids. Leaves: replies in the order of the questions, from the journal where
they stand there, so that a killed evaluation goes on where it was. Nothing is graded here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from lemma_train.collection.asking import Asker, seed_of
from lemma_train.collection.engine import run_items
from lemma_train.collection.journal import Journal
from lemma_train.collection.meter import Meter
from lemma_train.collection.models import identity, open_model
from lemma_train.collection.progress import StageProgress
from lemma_train.collection.settings import Prices
from lemma_train.collection.stage_files import Line
from lemma_train.evaluation.settings import EvaluatedModel
from lemma_train.llm.protocol import LanguageModel, Rejected, Reply, Request

MIN_WINDOW = 256


@dataclass(frozen=True)
class Prompt:
    """One answer to ask for. id: names question and sample. ids: what the model reads, exactly as in training."""

    id: str
    text: str
    ids: tuple[int, ...]
    inputs: dict[str, str] = field(default_factory=dict)


def ask_all(prompts: Sequence[Prompt], model: EvaluatedModel, seed: int, folder: Path, stage: str) -> Iterator[Reply]:
    """The reply to each prompt, in their order.

    Args:
        stage: what the progress display calls this.
        folder: its `journal/replies.jsonl` keeps the replies.

    Raises:
        Stopped: the server is down or left questions unanswered; the same command goes on.
    """
    replies: list[Reply] = []
    opened: list[LanguageModel] = []
    meter = Meter({"student": model.prices, "teacher": Prices()}, None)
    with Journal(folder / "journal" / "replies.jsonl") as journal, StageProgress(stage, len(prompts), meter, "") as bar:

        def load() -> LanguageModel:
            if not opened:
                opened.append(open_model(model, "model", bar.say))
            return opened[0]

        asker = Asker(load, identity(model, "model"), model, journal, meter, sent=bar.sent)

        async def work(prompt: Prompt) -> Line:
            request = Request(
                "sampling",
                prompt.inputs,
                prompt=prompt.text,
                prompt_ids=prompt.ids,
                temperature=model.temperature,
                top_p=model.top_p,
                max_tokens=model.max_tokens,
                seed=seed_of(seed, prompt.id),
                stop=tuple(model.stop),
            )
            try:
                _, reply = await asker.reply(request, prompt.id, 0, None)
            except Rejected as error:  # too long for the model: an answer that is empty, and counted as such
                bar.say(f"{prompt.id}: {error}")
                reply = Reply("")
            line = Line(prompt.id, prompt.id, 0, True, reply)
            bar.finished(line)
            return line

        async def run() -> None:
            try:
                window = max(MIN_WINDOW, 8 * model.concurrency * max(1, len(model.base_urls)))
                await run_items(prompts, work, lambda line: replies.append(line.record), window)
            finally:
                for one in opened:
                    await one.close()

        uvloop.run(run())
    yield from replies
