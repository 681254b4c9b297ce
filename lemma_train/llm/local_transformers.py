"""A language model in this process: transformers on the CPU or a GPU, for students that no server serves.

Enters: requests, one at a time or many at once. Leaves: replies. Requests that wait together are answered in batches,
in a thread of their own, so that the event loop never stands still. It downloads nothing but the model, follows no
JSON schema (the caller checks the reply, as it does anyway) and runs no code that a model's repository brings.

Measured with SmolLM2-135M on two CPU cores with AMX that had other work too, 32 prompts of about 110 tokens, 100
tokens each: 193 tokens/s in bfloat16 and 94 in float32 in batches of 32; 68 and 42 in batches of 16.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from lemma_train.errors import InputError, first_line
from lemma_train.llm.loaded_model import LoadedModel, load
from lemma_train.llm.protocol import Rejected, Reply, Request, Unanswered

if TYPE_CHECKING:
    from lemma_train.llm.decoding import Row

_T = TypeVar("_T")
# Requests of one moment come one after the other out of the event loop; this gathers them into one batch.
_GATHER_SECONDS = 0.02


@dataclass
class _Waiting:
    request: Request
    reply: "asyncio.Future[Reply]"


class LocalModel:
    """Answers requests with a model of transformers; loaded when the first one comes.

    Args:
        model: a folder, or a name on the Hub.
        dtype: `auto` (bfloat16), `float32`, `bfloat16` or `float16`.
        device: `auto` (a GPU if there is one), or as torch names it: `cpu`, `cuda:1`.
        batch_size: most requests answered at once. batch_tokens: most tokens, prompts and limits together, of a batch;
            with an 8B Llama the default takes 6 GiB. A batch that does not fit in a GPU's memory is halved.
        adapter: the folder of a LoRA adapter that is merged into the model, or None.

    A reply depends on its request alone: sampling is seeded with the request's seed and prompt, whatever the batch.
    Rows of different batches may still differ where two tokens are nearly equally likely, because sums in another order
    differ in their last bits: rarely in float32, more often in bfloat16.

    Example:
        >>> model = LocalModel("models/smollm2-135m")                                               # doctest: +SKIP
        >>> reply = await model.generate(Request(task="sampling", prompt="2 + 2 ="))                # doctest: +SKIP
    """

    def __init__(
        self,
        model: str,
        *,
        dtype: str = "auto",
        device: str = "auto",
        batch_size: int = 32,
        batch_tokens: int = 49_152,
        adapter: str | None = None,
    ):
        self._settings = (model, dtype, device, adapter)
        self._batch_size, self._batch_tokens = batch_size, batch_tokens
        self._waiting: list[_Waiting] = []
        self._serving: asyncio.Task[None] | None = None
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="local-model")
        self._closed = threading.Event()
        self._loaded: LoadedModel | None = None

    async def generate(self, request: Request) -> Reply:
        """Answer one request; several may wait at once.

        Raises:
            Rejected: with the reason `context_length`, where the prompt leaves no room in the model's context.
            Unanswered: the model was closed.
            InputError: the model, its adapter or its tokenizer cannot be used.
        """
        if self._closed.is_set():
            raise Unanswered("the model is closed")
        waiting = _Waiting(request, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve())
        return await waiting.reply

    async def close(self) -> None:
        """End the thread, at the latest after the token that it is computing, and let go of the model."""
        self._closed.set()
        if self._serving is not None:
            await asyncio.wait([self._serving])
        await asyncio.to_thread(self._executor.shutdown)
        self._loaded = None

    async def _serve(self) -> None:
        """Hand what waits to the thread, round by round, until nothing waits."""
        await asyncio.sleep(_GATHER_SECONDS)
        while self._waiting:
            taken, self._waiting = [waiting for waiting in self._waiting if not waiting.reply.done()], []
            rows = await self._in_thread(taken, self._prepare, [waiting.request for waiting in taken])
            if rows is None:
                continue
            answerable = []
            for waiting, row in zip(taken, rows, strict=True):
                if not isinstance(row, Rejected):
                    answerable.append((waiting, row))
                elif not waiting.reply.done():  # cancelled meanwhile
                    waiting.reply.set_exception(row)
            for places in batches([row for _, row in answerable], self._batch_size, self._batch_tokens):
                batch = [answerable[place] for place in places if not answerable[place][0].reply.done()]
                if not batch:
                    continue
                replies = await self._in_thread([waiting for waiting, _ in batch], self._reply_to, batch)
                for (waiting, _), reply in zip(batch, replies or (), strict=False):
                    if not waiting.reply.done():
                        waiting.reply.set_result(reply)

    async def _in_thread(self, concerned: list[_Waiting], work: Callable[..., _T], *arguments: Any) -> _T | None:
        """The result of `work`; where it fails, all that it concerns fail with it, and the result is None."""
        done = asyncio.wrap_future(self._executor.submit(work, *arguments))
        await asyncio.wait([done])
        error = done.exception()
        if error is None:
            return done.result()
        for waiting in concerned:
            if not waiting.reply.done():
                waiting.reply.set_exception(error)
        return None

    # Everything below runs in the thread.

    def _prepare(self, requests: list[Request]) -> "list[Row | Rejected]":
        if self._closed.is_set():
            raise Unanswered("the model was closed before it had answered")
        if self._loaded is None:
            self._loaded = load(*self._settings)
        return [self._loaded.row(request) for request in requests]

    def _reply_to(self, batch: "list[tuple[_Waiting, Row]]") -> list[Reply]:
        import torch

        from lemma_train.llm.decoding import decode

        loaded = self._loaded
        assert loaded is not None

        def run(rows: "list[Row]") -> None:
            with torch.inference_mode():
                decode(loaded.model, rows, loaded.end_ids, self._closed)

        rows = [row for _, row in batch]
        most = run_in_halves(rows, run)
        if most < len(rows):
            self._batch_size = min(self._batch_size, most)
        return [loaded.reply(waiting.request, row) for waiting, row in batch]


def batches(rows: "Sequence[Row]", size: int, tokens: int) -> list[list[int]]:
    """Cut rows into batches of like length, the longest first, so that a batch that is too large shows at once.

    Args:
        size: most rows of a batch. tokens: most tokens of one, counted as rows x (longest prompt + longest limit); a
            row that alone has more makes a batch of its own.

    Returns:
        Places in `rows`, each once.
    """
    by_length = sorted(range(len(rows)), key=lambda place: -len(rows[place].prompt_ids))
    cut: list[list[int]] = []
    limit = 0
    for place in by_length:
        limit = max(limit, rows[place].max_tokens)
        fits = cut and len(cut[-1]) < size
        if fits and (len(cut[-1]) + 1) * (len(rows[cut[-1][0]].prompt_ids) + limit) <= tokens:
            cut[-1].append(place)
        else:
            cut.append([place])
            limit = rows[place].max_tokens
    return cut


def run_in_halves(rows: "list[Row]", run: "Callable[[list[Row]], None]") -> int:
    """Run a batch; where the GPU's memory does not hold it, its halves.

    Returns:
        The most rows that were run at once.

    Raises:
        InputError: a single row does not fit.
    """
    import torch

    try:
        run(rows)
        return len(rows)
    except torch.OutOfMemoryError as error:
        reason = first_line(error)
    # Outside of the handler: the error's traceback holds on to the tensors of the batch.
    if len(rows) == 1:
        raise InputError(
            f"The GPU's memory does not hold the model and one answer: {reason} Take a smaller model or max_tokens."
        )
    torch.cuda.empty_cache()
    for row in rows:
        row.ids.clear()
    half = len(rows) // 2
    return max(run_in_halves(rows[:half], run), run_in_halves(rows[half:], run))
