"""The engine of a stage: many items at once, results in the order of the items, memory that does not grow.

Enters: items, and an asynchronous function from an item to its `Line`. Leaves: the lines, in order, each as soon as
those before it are there. What an item is, and what is asked for it, is the stage's business.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from lemma_train.collection.stage_files import Line
from lemma_train.errors import Stopped
from lemma_train.llm.protocol import Unanswered

T = TypeVar("T")


class Unfinished(Stopped):
    """A stage that cannot be completed now; starting again goes on. Its text tells why."""


async def run_items(
    items: Iterable[T],
    work: Callable[[T], Awaitable[Line]],
    put: Callable[[Line], None],
    window: int,
    otherwise: str = ", or set on_failure: set_aside to go on without them",
) -> None:
    """Work on up to `window` items at once and hand their lines to `put` in the order of the items.

    An item without an answer (`Unanswered`) does not hold up the others: they are finished first. otherwise: what the
    user can do but start again.

    Raises:
        Unfinished: some items got no answer.
        Exception: whatever else `work` raises first; no further item is begun then, and those in flight are finished,
            so that their replies are not paid for in vain.
    """
    pending: deque[asyncio.Task[Line]] = deque()
    unanswered: list[Unanswered] = []
    failures: list[BaseException] = []

    def watch(task: asyncio.Task[Line]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, Unanswered):
            failures.append(error)

    async def take() -> None:
        try:
            put(await pending[0])
        except Unanswered as error:
            unanswered.append(error)
        pending.popleft()

    try:
        for item in items:
            while len(pending) >= window:
                await take()
            if failures:
                raise failures[0]
            pending.append(asyncio.create_task(_started(work, item)))
            pending[-1].add_done_callback(watch)
            await asyncio.sleep(0)  # it begins; a whole window that began at once would hold up the first requests
        while pending:
            await take()
    except (asyncio.CancelledError, KeyboardInterrupt):
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        raise
    except BaseException:
        await asyncio.gather(*pending, return_exceptions=True)
        raise
    if unanswered:
        raise Unfinished(
            f"{len(unanswered)} {'request' if len(unanswered) == 1 else 'requests'} got no answer; the last one: "
            f"{unanswered[-1]}. Everything else is kept. Start the same command again to try them once more{otherwise}."
        )


async def _started(work: Callable[[T], Awaitable[Line]], item: T) -> Line:
    return await work(item)
