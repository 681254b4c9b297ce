"""Stage sampling: the student answers every question several times.

Enters: problems. Leaves: one `Attempt` for each answer, not graded yet. The prompt is the one that training uses; with
a tokenizer at hand it travels as token ids, so that no server can add a second BOS.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lemma_train.collection.asking import Asker, seed_of
from lemma_train.collection.records import Attempt
from lemma_train.collection.stage_files import Call, Line, read_stage
from lemma_train.errors import InputError
from lemma_train.llm.protocol import Rejected, Request, Unanswered
from lemma_train.problems import Problem
from lemma_train.template import CHAT, PROMPTS, Renderer


@dataclass(frozen=True)
class Sample:
    """One answer to ask for."""

    problem: Problem
    order: int
    number: int


def items(folder: Path, samples: int) -> Iterator[Sample]:
    for line in read_stage(folder, "problems"):
        for number in range(samples if line.kept else 0):
            yield Sample(Problem(**line.record), line.order, number)


async def work(item: Sample, student: Asker, renderer: Renderer | None, seed: int) -> Line:
    """Ask the student once.

    Raises:
        Unanswered: as the model raises it, unless such items are to be set aside.
    """
    problem = item.problem
    name = f"{problem.id}/s{item.number}"

    def line(kept: bool, record: Attempt | None, reason: str | None, detail: str | None, calls: list[Call]) -> Line:
        return Line(name, problem.id, item.order, kept, record, reason, detail, calls)

    request = _request(item, student, renderer, seed_of(seed, "sampling", name))
    try:
        key, reply = await student.reply(request, name, 0, None)
    except Rejected as error:
        return line(False, None, error.reason, str(error), [])
    except Unanswered as error:
        if not student.set_aside_unanswered:
            raise
        return line(False, None, "unanswered", str(error), [])
    attempt = Attempt(name, problem.id, "student", reply.text.strip(), reply.finish_reason)
    reason = "empty" if not attempt.text else "refusal" if reply.finish_reason == "refusal" else None
    return line(reason is None, attempt, reason, None, [Call(key, "sampling", 0, None, reason)])


def _request(item: Sample, student: Asker, renderer: Renderer | None, seed: int) -> Request:
    settings, question = student.settings, item.problem.question
    prompt: str | None = None
    ids: tuple[int, ...] | None = None
    messages: tuple[dict[str, str], ...] | None = None
    if renderer is not None:
        prompt, ids = renderer.prompt_text(question), tuple(renderer.prompt_ids(question))
    elif settings.template == CHAT:
        messages = ({"role": "user", "content": question},)
    else:
        prompt = prompt_format(settings.template).replace("{instruction}", question)
    return Request(
        task="sampling",
        inputs={
            "question": question,
            "reference_solution": item.problem.solution,
            "reference_answer": item.problem.answer,
            "sample": item.number,
        },
        messages=messages,
        prompt=prompt,
        prompt_ids=ids,
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_tokens=settings.max_tokens,
        seed=seed,
        stop=tuple(settings.stop),
    )


def prompt_format(template: str) -> str:
    """The text of a template that needs no tokenizer.

    Raises:
        InputError: it is unknown.
    """
    if template in PROMPTS:
        return PROMPTS[template]
    if "{instruction}" not in template:
        raise InputError(
            f"student.template: {template!r} is neither {', '.join(PROMPTS)}, {CHAT} nor a text that holds "
            "{instruction}."
        )
    return template.rstrip(" ")
