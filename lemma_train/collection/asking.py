"""Asking a model and checking what it says; no reply is paid for twice.

Enters: a task, the values of its prompt, and a check. Leaves: an `Answer` with the checked value, or with the reason
why the item is set aside; and with every reply on the way. A reply is taken from the journal where it stands there,
and is in the journal before it is looked at.
"""

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, NoReturn, TypeVar

import orjson

from lemma_train.collection.journal import Journal
from lemma_train.collection.meter import Meter
from lemma_train.collection.prompting import Prompts, retry_messages
from lemma_train.collection.replies import ReplyFault, parse_reply
from lemma_train.collection.settings import ModelSettings
from lemma_train.collection.stage_files import Call, Line
from lemma_train.errors import InputError
from lemma_train.llm.protocol import LanguageModel, Rejected, Reply, Request, Unanswered

T = TypeVar("T")
REFUSED_IN_A_ROW = 20  # no row of a data set is at fault then


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What came of asking. value: None where the item is set aside for `reason`."""

    value: T | None
    calls: list[Call] = field(default_factory=list)
    reason: str | None = None
    detail: str | None = None

    def line(self, item: str, problem_id: str, order: int, otherwise: Any = None) -> Line:
        """The stage's line of this item. otherwise: the record of an item that is set aside."""
        kept = self.value is not None
        record = self.value if kept else otherwise
        return Line(item, problem_id, order, kept, record, self.reason, self.detail, self.calls)


class Asker:
    """Sends requests to one model, through the journal.

    Args:
        model: called when the first request really has to be sent: a run that finds everything in the journal loads
            no model.
        identity: what the replies depend on besides the request: engine, model name, version.
        sent: called after each reply that came from the model, for the progress display.
        set_aside_unanswered: whether a request without an answer sets its item aside instead of raising.
        keep_rejections: whether a request that the model refuses for good is not to be sent at the next start either.
    """

    def __init__(
        self,
        model: Callable[[], LanguageModel],
        identity: str,
        settings: ModelSettings,
        journal: Journal,
        meter: Meter,
        sent: Callable[[], None] = lambda: None,
        set_aside_unanswered: bool = False,
        keep_rejections: bool = True,
    ) -> None:
        self.identity = identity
        self.settings = settings
        self.set_aside_unanswered = set_aside_unanswered
        self._model = model
        self._journal = journal
        self._meter = meter
        self._sent = sent
        self._keep_rejections = keep_rejections
        self._refused = 0  # requests that the server called bad, since the last that it answered

    async def reply(self, request: Request, item: str, attempt: int, prompt: str | None) -> tuple[str, Reply]:
        """The journal's key of the reply, and the reply.

        Raises:
            Unanswered, Rejected: as the model raises them. BudgetSpent: see there. InputError: the journal is damaged.
        """
        key = _key(self.identity, item, attempt, request)
        stored = self._journal.get(key)
        if stored is None:
            # Four characters a token is the usual estimate; the budget must rather be left than exceeded: two.
            size = len(request.prompt or "") + sum(len(turn["content"]) for turn in request.messages or ())
            async with self._meter.reserved(request.task, size // 2, request.max_tokens):
                try:
                    reply = await self._model().generate(request)
                    stored = {"text": reply.text, "finish_reason": reply.finish_reason}
                    self._refused = 0
                except Rejected as error:
                    if error.reason == "bad_request":  # perhaps the server's set-up: to be sent again once it is mended
                        self._refuse(error)
                    if not self._keep_rejections:
                        raise
                    # Stored as well: the same request would be refused at every start.
                    reply = Reply("")
                    stored = {"text": "", "finish_reason": "stop", "rejected": [error.reason, str(error)]}
                usage: dict[str, float] = {
                    "prompt_tokens": reply.prompt_tokens,
                    "completion_tokens": reply.completion_tokens,
                    "cached_tokens": reply.cached_tokens,
                }
                # At today's prices: another teacher's must not change what this one has cost.
                usage["cost"] = self._meter.price(request.task, *usage.values())
                stored |= {"task": request.task, "item": item, "model": self.identity, "prompt": prompt, **usage}
                await self._journal.put(key, {**stored, "at": int(time.time())})
                self._meter.count(request.task, usage)
            self._sent()
        try:
            rejected = [str(told) for told in stored.get("rejected", ())]
            text, ended = stored["text"], stored["finish_reason"]
            if not isinstance(text, str) or ended not in ("stop", "length", "refusal") or len(rejected) not in (0, 2):
                raise TypeError(key)
        except (KeyError, TypeError) as error:
            raise InputError(
                f"{self._journal.file}: the entry with the key {key} is damaged; delete its line to have the request "
                "sent again."
            ) from error
        if rejected:
            raise Rejected(*rejected)
        return key, Reply(text, ended, stored["prompt_tokens"], stored["completion_tokens"])

    def _refuse(self, error: Rejected) -> NoReturn:
        self._refused += 1
        if self._refused >= REFUSED_IN_A_ROW:
            raise InputError(
                f"The server of {self.settings.model!r} refused {self._refused} requests in a row, the last because: "
                f"{error}. Mend the model's settings or the server and start the same command again."
            ) from error
        raise error


class Teacher:
    """Gives the tasks of `prompts` to a model, checks each reply, and asks again with the reason where it fails.

    Args:
        attempts: how often a task is asked in all.
    """

    def __init__(self, asker: Asker, prompts: Prompts, attempts: int, seed: int) -> None:
        self._asker = asker
        self._prompts = prompts
        self._attempts = attempts
        self._seed = seed

    async def ask(
        self,
        task: str,
        item: str,
        inputs: Mapping[str, Any],
        check: Callable[[dict[str, Any]], Awaitable[T]],
    ) -> Answer[T]:
        """Ask until `check` takes the reply.

        Args:
            item: the id of what is asked for; two items never share a reply.
            check: from the reply's fields to the value wanted; raises `ReplyFault` where they do not do.
        """
        settings, prompt = self._asker.settings, self._prompts.fingerprint(task)
        schema = self._prompts.schema(task)
        request = Request(
            task=task,
            inputs=inputs,
            messages=self._prompts.messages(task, inputs),
            schema=schema,
            temperature=settings.temperature,
            top_p=settings.top_p,
            max_tokens=settings.max_tokens,
            seed=seed_of(self._seed, task, item, 0),
        )
        calls: list[Call] = []
        fault = ReplyFault("unanswered", "")
        for attempt in range(self._attempts):
            try:
                key, reply = await self._asker.reply(request, item, attempt, prompt)
            except Rejected as error:
                return Answer(None, calls, error.reason, str(error))
            except Unanswered as error:
                if not self._asker.set_aside_unanswered:
                    raise
                return Answer(None, calls, "unanswered", str(error))
            try:
                value = await check(parse_reply(reply.text, schema, reply.finish_reason))
            except ReplyFault as error:
                fault = error
                calls.append(Call(key, task, attempt, prompt, error.reason))
                assert request.messages is not None
                request = replace(
                    request,
                    messages=retry_messages(self._prompts.messages(task, inputs), reply.text, error.advice),
                    inputs={**inputs, "fault": error.advice},
                    seed=seed_of(self._seed, task, item, attempt + 1),
                )
            else:
                return Answer(value, [*calls, Call(key, task, attempt, prompt, None)])
        return Answer(None, calls, fault.reason, fault.advice)


def seed_of(seed: int, *parts: object) -> int:
    """A seed of its own for each request, 31 bits, the same on every machine."""
    digest = hashlib.sha256(orjson.dumps([seed, *map(str, parts)])).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _key(identity: str, item: str, attempt: int, request: Request) -> str:
    # The schema is left out: it follows from the prompt, and asking in another mode changes no reply that is there.
    spoken = request.messages or request.prompt_ids or request.prompt
    draw = [request.temperature, request.top_p, request.max_tokens, request.seed, request.stop]
    told = orjson.dumps([identity, item, attempt, request.task, spoken, draw])
    return hashlib.sha256(told).hexdigest()[:32]
