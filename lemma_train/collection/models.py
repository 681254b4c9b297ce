"""From a recipe's block to a model that answers, and to the renderer of the student's prompts.

Enters: `ModelSettings`. Leaves: a `LanguageModel`, loaded or connected only when it is asked for.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import orjson

from lemma_train.collection.settings import ModelSettings
from lemma_train.errors import InputError, first_line
from lemma_train.llm.protocol import LanguageModel
from lemma_train.llm.vllm_arguments import reply_arguments
from lemma_train.llm.weights import weights_fingerprint
from lemma_train.model_names import missing_folder
from lemma_train.template import Renderer

IN_PROCESS = ("transformers", "vllm")  # engines that load the folder which `model` names
VLLM_ITEMS = 4096  # vLLM queues what it cannot run yet; its GPUs run some hundred each
Role = Literal["student", "teacher", "model"]  # the recipe's block, as messages name it


def identity(settings: ModelSettings, role: Role) -> str:
    """What a reply depends on besides the request; addresses and limits may change without a new question.

    Weights in a folder on this disk count by what they hold, also behind a server, where the folder is that of the
    tokenizer: a model that was trained again under the same name is another one.
    """
    if settings.engine == "offline":
        from lemma_train.llm.offline.engine import VERSION

        share = f" mistake_share={settings.mistake_share}" if role == "student" else ""
        return f"offline {VERSION}{share}"
    names = [name for name in (settings.model, settings.adapter) if name]
    folders = [Path(_home(name)) for name in (*names, settings.tokenizer) if name]
    weights = [weights_fingerprint(folder) for folder in dict.fromkeys(folders) if folder.is_dir()]
    return " + ".join([settings.engine, *names, *filter(None, weights), *_further(settings)])


def _further(settings: ModelSettings) -> list[str]:
    """What else of a recipe's block changes replies: the number format, and what is asked of a server or of vLLM."""
    dtype: list[str] = (
        [settings.dtype] if settings.engine in ("transformers", "vllm") and settings.dtype != "auto" else []
    )
    told = reply_arguments(settings.engine_args) if settings.engine == "vllm" else settings.extra_body
    if settings.engine == "transformers" or not told:
        return dtype
    return [*dtype, f"arguments {hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()[:8]}"]


def items_at_once(settings: ModelSettings, least: int) -> int:
    """How many items to work on at once: enough that the engine is never idle, and that a slow one holds up few others.

    Args:
        least: where there is little in flight.
    """
    if settings.engine == "vllm":
        return VLLM_ITEMS
    return max(least, 8 * settings.concurrency * max(1, len(settings.base_urls)))


def open_model(settings: ModelSettings, role: Role, say: Callable[[str], None]) -> LanguageModel:
    """The model of a block.

    Raises:
        InputError: it cannot be loaded, or its key is missing.
    """
    if settings.engine == "offline":
        from lemma_train.llm.offline.engine import OfflineModel

        return OfflineModel(mistake_share=settings.mistake_share)
    if settings.engine in IN_PROCESS and (missing := missing_folder(settings.model)):
        raise InputError(f"{role}.model: {missing}")
    if settings.engine == "transformers":
        from lemma_train.llm.local_transformers import LocalModel

        return LocalModel(
            _home(settings.model),
            dtype=settings.dtype,
            device=settings.device,
            batch_size=settings.batch_size,
            adapter=settings.adapter and _home(settings.adapter),
        )
    if settings.engine == "vllm":
        from lemma_train.llm.vllm_in_process import VllmModel

        return VllmModel(
            _home(settings.model),
            tokenizer=settings.tokenizer and _home(settings.tokenizer),
            dtype=settings.dtype,
            adapter=settings.adapter and _home(settings.adapter),
            engine_args=settings.engine_args,
            json_mode=settings.json_mode,
            key=role,
            on_event=say,
        )
    from lemma_train.llm.openai_api import OpenAIModel

    key = os.environ.get(settings.api_key_env)
    if not key and not settings.base_urls:
        raise InputError(
            f"{role}.api_key_env: the environment variable {settings.api_key_env} is not set; put the key of "
            f"OpenAI there, or name a server of your own in {role}.base_urls."
        )
    return OpenAIModel(
        model=settings.model,
        base_urls=settings.base_urls,
        api_key=key or "none",
        key_variable=settings.api_key_env,
        concurrency=settings.concurrency,
        requests_per_minute=settings.requests_per_minute,
        tokens_per_minute=settings.tokens_per_minute,
        timeout_seconds=settings.timeout_seconds,
        max_tries=settings.max_tries,
        json_mode=settings.json_mode,
        extra_body=settings.extra_body,
        outage_minutes=settings.outage_minutes,
        on_event=say,
    )


def open_renderer(settings: ModelSettings, role: Role = "student") -> Renderer | None:
    """The renderer of the student's prompts where its tokenizer is at hand, else None.

    Raises:
        InputError: the tokenizer cannot be loaded, or does not go with the template.
    """
    local = settings.engine in IN_PROCESS or (role == "model" and Path(_home(settings.model)).is_dir())
    name = settings.tokenizer or (settings.model if local else None)
    if name is None:
        return None
    name = _home(name)
    from transformers import AutoTokenizer

    key = f"{role}.tokenizer" if settings.tokenizer else f"{role}.model"
    if missing := missing_folder(name):
        raise InputError(f"{key}: {missing}")
    try:
        return Renderer(AutoTokenizer.from_pretrained(name), settings.template)
    except InputError as error:
        raise InputError(f"{key}: {error}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{key}: no tokenizer can be loaded from {name!r}: {first_line(error)}") from error


def _home(name: str) -> str:
    """A folder's name with its `~` spelled out, which no library does."""
    return os.path.expanduser(name)  # noqa: PTH111 - it may be a Hub name, which a Path would change
