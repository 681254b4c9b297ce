"""A model and its tokenizer in memory: requests become rows of token ids, and rows become replies.

Enters: a model's name. Leaves: `LoadedModel`. It decodes nothing itself and runs no code from a model's repository.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lemma_train.errors import InputError, first_line
from lemma_train.llm.protocol import Rejected, Reply, Request

if TYPE_CHECKING:
    from lemma_train.llm.decoding import Row

# Half the memory of float32; on CPUs with AMX twice as fast (the figures are in local_transformers.py), on others about
# as fast.
AUTO_DTYPE = "bfloat16"
_DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass
class LoadedModel:
    """name: for messages. end_ids: tokens that end an answer. context: most tokens of prompt and answer, or None."""

    name: str
    model: Any
    tokenizer: Any
    end_ids: frozenset[int]
    context: int | None

    def row(self, request: Request) -> "Row | Rejected":
        """The request as token ids, or why the model cannot take it.

        Raises:
            InputError: the tokenizer has no chat template or it refuses the conversation, or the ids are another
                tokenizer's.
        """
        from lemma_train.llm.decoding import Row

        ids = prompt_ids(request, self.tokenizer, self.name)
        known = self.model.get_input_embeddings().num_embeddings
        if max(ids) >= known:
            raise InputError(
                f"{self.name} has {known} tokens, but a prompt holds token {max(ids)}: its tokenizer is another."
            )
        room = request.max_tokens if self.context is None else min(request.max_tokens, self.context - len(ids))
        if room < 1:
            return Rejected("context_length", f"the prompt has {len(ids)} tokens, the model takes {self.context}")
        return Row(
            prompt_ids=ids,
            max_tokens=room,
            temperature=request.temperature,
            top_p=request.top_p,
            seed=request.seed,
            is_over=lambda drawn: self._holds_stop(drawn, request.stop),
        )

    def reply(self, request: Request, row: "Row") -> Reply:
        """What a decoded row says; the stop text and what follows it are cut off."""
        ended = row.ids[-1] in self.end_ids
        text = self._text(row.ids[:-1] if ended else row.ids)
        found = [place for place in (text.find(stop) for stop in request.stop) if place >= 0]
        return Reply(
            text=text[: min(found)] if found else text,
            finish_reason="stop" if found or ended else "length",
            prompt_tokens=len(row.prompt_ids),
            completion_tokens=len(row.ids),
        )

    def _holds_stop(self, ids: list[int], stops: tuple[str, ...]) -> bool:
        if not stops:
            return False
        # A character takes at most four byte tokens, so the last tokens are enough to see a stop that has just come.
        tail = self._text(ids[-(4 * max(map(len, stops)) + 8) :])
        return any(stop in tail for stop in stops) and any(stop in self._text(ids) for stop in stops)

    def _text(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def prompt_ids(request: Request, tokenizer: Any, name: str) -> tuple[int, ...]:
    """What the model reads, at least one token; ids that the request brings are taken as they are.

    Args:
        name: the model's, for messages.

    Raises:
        InputError: the tokenizer has no chat template, or it refuses the conversation.
    """
    if request.prompt_ids is not None:
        ids = tuple(request.prompt_ids)
    elif request.prompt is not None:
        ids = tuple(tokenizer(request.prompt)["input_ids"])
    else:
        ids = _conversation_ids(request, tokenizer, name)
    assert ids, "a prompt has at least one token"
    return ids


def _conversation_ids(request: Request, tokenizer: Any, name: str) -> tuple[int, ...]:
    assert request.messages is not None, "a request has messages, a prompt or its ids"
    if not tokenizer.chat_template:
        raise InputError(
            f"{name} has no chat template, so it cannot be asked in messages; name a model that was tuned to follow "
            "instructions."
        )
    from jinja2 import TemplateError

    turns = [dict(turn) for turn in request.messages]
    try:
        return tuple(tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False))
    except TemplateError as error:
        raise InputError(f"{name}: its chat template refuses the conversation: {first_line(error)}.") from error


def load(name: str, dtype: str, device: str, adapter: str | None) -> LoadedModel:
    """Load a model; arguments as in `LocalModel`.

    Raises:
        InputError: the model, its tokenizer or the adapter cannot be read, or the device or dtype does not exist here.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    if not sys.stderr.isatty():
        disable_progress_bar()  # a log has no use for a bar of the weights
    if dtype not in _DTYPES:
        raise InputError(f"dtype must be one of {', '.join(_DTYPES)}; it is {dtype!r}.")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if dtype == "auto":
        dtype = AUTO_DTYPE
    options = {"dtype": getattr(torch, dtype), "output_loading_info": True, "trust_remote_code": False}
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        model, told = cast(tuple, AutoModelForCausalLM.from_pretrained(name, **options))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ImportError, SafetensorError) as error:
        where = (
            "the folder holds no usable model"
            if Path(name).is_dir()
            else "no folder here, and not to be had from the Hub"
        )
        raise InputError(f"The model {name}: {where}: {first_line(error)}") from error
    if told["missing_keys"]:
        raise InputError(f"The model {name} lacks {len(told['missing_keys'])} tensors; its download may be incomplete.")
    if adapter is not None:
        model = _with_adapter(model, adapter)
    try:
        model.to(device).eval()
    except (RuntimeError, AssertionError) as error:  # torch: no such device, or its memory is full
        raise InputError(f"The model {name} cannot be put on the device {device}: {first_line(error)}") from error
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    return LoadedModel(
        name=name,
        model=model,
        tokenizer=tokenizer,
        end_ids=frozenset(end for end in [*ends, tokenizer.eos_token_id] if end is not None),
        context=getattr(model.config.get_text_config(), "max_position_embeddings", None),
    )


def _with_adapter(model: Any, adapter: str) -> Any:
    from peft import PeftModel
    from safetensors import SafetensorError

    if not (Path(adapter) / "adapter_config.json").is_file():
        raise InputError(f"The adapter {adapter} is no folder with an adapter_config.json; name a run's final folder.")
    try:
        return PeftModel.from_pretrained(model, adapter).merge_and_unload(safe_merge=True)
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"The adapter {adapter} does not go with the model: {first_line(error)} `lemma merge` makes a model of it."
        ) from error
