"""A language model in this process: vLLM, on the GPUs of this machine, where the package vllm is installed.

Enters: requests, any number at once. Leaves: replies, or one of the protocol's exceptions. vLLM itself batches, caches
prefixes and shares the work out over GPUs; what else it can do is reached by its own arguments (`vllm_arguments`). It
renders no prompts, keeps no replies and runs no code that a model's repository brings, unless `engine_args` says so.

vLLM's pins are not those of training, so it lives in an environment of its own: docs/evaluation.md has the commands.
"""

import asyncio
import gc
import importlib.util
import itertools
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lemma_train.errors import InputError, Stopped, first_line
from lemma_train.llm.engine_watch import EngineWatch
from lemma_train.llm.loaded_model import prompt_ids
from lemma_train.llm.protocol import FinishReason, Rejected, Reply, Request, Unanswered
from lemma_train.llm.vllm_arguments import adapter_rank, engine_arguments

# How vLLM is to behave unless the environment says otherwise. spawn: a process that holds threads must not be forked.
_ENVIRONMENT = {
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}
_SHUTDOWN_SECONDS = 20.0  # for the engine's processes to put away what they share, before they are killed
_ENDINGS: dict[str | None, FinishReason] = {"stop": "stop", "length": "length"}


class EngineEnded(Stopped):
    """vLLM's engine died while it was at work. Its text tells what to do."""


class VllmModel:
    """A `LanguageModel` on vLLM's asynchronous engine; started when the first request comes.

    Args:
        model: a folder, or a name on the Hub.
        tokenizer: the same of its tokenizer; None: the model's own.
        dtype: `auto` (bfloat16), `float32`, `bfloat16` or `float16`.
        adapter: the folder of a LoRA adapter, which vLLM applies without merging it; or None.
        engine_args: vLLM's own arguments under their own names, such as `{"tensor_parallel_size": 2}`.
        json_mode: as in `OpenAIModel`; `auto` is `schema`.
        key: the recipe's block, for messages.
        on_event: gets a line when the engine starts, which takes a minute or more.

    Raises:
        InputError: vLLM is not installed here.

    Example:
        >>> model = VllmModel("models/smollm2-135m", engine_args={"max_model_len": 1024})          # doctest: +SKIP
        >>> reply = await model.generate(Request(task="sampling", prompt="2 + 2 ="))                # doctest: +SKIP
    """

    def __init__(
        self,
        model: str,
        *,
        tokenizer: str | None = None,
        dtype: str = "auto",
        adapter: str | None = None,
        engine_args: Mapping[str, Any] | None = None,
        json_mode: str = "auto",
        key: str = "model",
        on_event: Callable[[str], None] = lambda line: None,
    ):
        if importlib.util.find_spec("vllm") is None:
            raise InputError(
                f"{key}.engine: vllm needs the package vllm, which {sys.executable} does not have; make an environment "
                "for it as docs/evaluation.md tells (vLLM in process) and run the same command there, or serve the "
                "model from another one and use engine: openai."
            )
        self._model, self._tokenizer, self._dtype, self._adapter = model, tokenizer, dtype, adapter
        self._engine_args, self._json_mode, self._key = dict(engine_args or {}), json_mode, key
        self._on_event = on_event
        self._starting: asyncio.Task[None] | None = None
        self._engine: Any = None
        self._watch: EngineWatch | None = None
        self._numbers = itertools.count()
        self._lora: Any = None
        self._closed = False

    async def generate(self, request: Request) -> Reply:
        """Answer one request; any number may wait at once.

        Raises:
            Rejected: `context_length`, where the prompt leaves no room in the model's context; `bad_request`, where
                vLLM refuses it for another reason, such as a schema that it cannot follow.
            Unanswered: this request failed, or the model was closed. EngineEnded: the engine died.
            InputError: the model, its adapter or an argument cannot be used, or the prompt is another tokenizer's.
        """
        if self._closed:
            raise Unanswered("the model is closed")
        if self._starting is None:
            self._on_event(f"vLLM loads {self._model}; this takes a minute or more")
            self._starting = asyncio.create_task(self._start())
        await asyncio.shield(self._starting)  # a request that is given up must not end the others' engine
        if self._closed:
            raise Unanswered("the model was closed before it had answered")
        ids = self._ids(request)
        context = self._engine.model_config.max_model_len
        if len(ids) >= context:
            raise Rejected("context_length", f"the prompt has {len(ids)} tokens, the model takes {context}")
        return await self._reply(request, ids, context - len(ids))

    async def close(self) -> None:
        """End the engine and its processes."""
        self._closed = True
        if self._starting is None:
            return
        await asyncio.wait([self._starting])
        self._end()
        if self._watch is not None:
            await asyncio.to_thread(self._watch.leave)

    def _end(self) -> None:
        """In the loop's thread: its tasks must not see the engine go, which they would take for a fault."""
        if self._engine is not None:
            self._engine.shutdown(_SHUTDOWN_SECONDS)
            self._engine = None
            gc.collect()  # it is held in circles, and at Python's own end it would look for modules that are gone

    async def _start(self) -> None:
        await asyncio.to_thread(self._load)
        if self._adapter is not None:
            from vllm.lora.request import LoRARequest

            self._lora = LoRARequest("adapter", 1, str(Path(self._adapter).resolve()))
            try:
                await self._engine.add_lora(self._lora)
            except Exception as error:  # vLLM hands on what its process says against the adapter as a bare one
                raise InputError(
                    f"{self._key}.adapter: vLLM cannot apply {self._adapter}: {_reason(error)} `lemma merge` makes a "
                    "model of it."
                ) from error

    def _load(self) -> None:
        """Start the engine; runs in a thread, so that the event loop never stands still."""
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        rank = adapter_rank(self._adapter, self._key) if self._adapter is not None else None
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.exceptions import VLLMError
        from vllm.v1.engine.async_llm import AsyncLLM

        arguments = engine_arguments(
            self._engine_args,
            AsyncEngineArgs.__dataclass_fields__,
            model=self._model,
            tokenizer=self._tokenizer,
            dtype=self._dtype,
            rank=rank,
            key=self._key,
        )
        self._watch = EngineWatch()
        try:
            self._engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))
            return
        except (OSError, ValueError, TypeError, LookupError, AssertionError, ImportError, RuntimeError) as error:
            reason = _reason(error)
        except VLLMError as error:
            reason = _reason(error)
        raise InputError(
            f"{self._key}.model: vLLM cannot load {self._model}: {reason} What it printed above may say more; its "
            f"arguments are given in {self._key}.engine_args."
        )

    def _ids(self, request: Request) -> list[int]:
        ids = prompt_ids(request, self._engine.get_tokenizer(), self._model)
        known = self._engine.model_config.get_vocab_size()
        if max(ids) >= known:
            raise InputError(
                f"{self._model} has {known} tokens, but a prompt holds token {max(ids)}: its tokenizer is another."
            )
        return list(ids)

    async def _reply(self, request: Request, ids: list[int], room: int) -> Reply:
        from vllm.exceptions import VLLMClientError, VLLMError
        from vllm.inputs import tokens_input
        from vllm.v1.engine.exceptions import EngineDeadError

        answer = None
        try:
            params = self._params(request, min(request.max_tokens, room))
            number = str(next(self._numbers))
            async for output in self._engine.generate(tokens_input(ids), params, number, lora_request=self._lora):
                answer = output
        except EngineDeadError as error:
            raise EngineEnded(
                "vLLM's engine has ended; what it printed above says why. Every reply that came is kept: start the "
                "same command again to go on."
            ) from error
        except VLLMClientError as error:
            raise Rejected("bad_request", _reason(error)) from error
        except VLLMError as error:
            raise Unanswered(f"vLLM could not answer: {_reason(error.__cause__ or error)}") from error
        ended = answer.outputs[0].finish_reason if answer is not None else None
        if answer is None or ended not in _ENDINGS:
            raise Unanswered(f"vLLM broke the answer off (finish_reason {ended})")
        return Reply(
            text=answer.outputs[0].text,
            finish_reason=_ENDINGS[ended],
            prompt_tokens=len(answer.prompt_token_ids),
            completion_tokens=len(answer.outputs[0].token_ids),
            cached_tokens=answer.num_cached_tokens or 0,
        )

    def _params(self, request: Request, max_tokens: int) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        structured = None
        if request.schema is not None and self._json_mode in ("auto", "schema"):
            structured = StructuredOutputsParams(json=dict(request.schema))
        elif request.schema is not None and self._json_mode == "object":
            structured = StructuredOutputsParams(json_object=True)
        return SamplingParams(
            temperature=request.temperature,
            top_p=request.top_p,
            # A generator for each request costs time, and a greedy answer draws nothing.
            seed=request.seed if request.temperature else None,
            stop=list(request.stop),
            max_tokens=max_tokens,
            structured_outputs=structured,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )


def _reason(error: BaseException) -> str:
    """The library's reason in one line that ends with a full stop."""
    import pydantic

    if isinstance(error, pydantic.ValidationError):
        told = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}" if one["loc"] else one["msg"] for one in error.errors()
        )
    else:
        told = first_line(error)
    return told if told.endswith((".", "!", "?")) else f"{told}."
