"""What every language model here can do: answer one request.

Student and teacher, a server, a local model and the offline teacher all look like `LanguageModel`. A request carries
both what a model reads (messages or a prompt) and what it was made from (task and inputs), which is what the offline
teacher works on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

FinishReason = Literal["stop", "length", "refusal"]


@dataclass(frozen=True)
class Request:
    """One question to a model.

    task: what is asked for: `sampling`, `analysis`, `injection`, `fix_and_continue`, `fresh_and_restart`, `smoothing`.
    inputs: the values that the prompt was rendered from, as plain JSON values.
    messages: a conversation of `{"role", "content"}`, or None where `prompt` is to be completed as it stands.
    prompt: the text to complete. prompt_ids: its token ids where a tokenizer is at hand; they win over the text.
    schema: the JSON schema that the reply should follow, or None for free text.
    max_tokens: most tokens of the reply. seed: draws of the same seed are the same where the model allows it.
    stop: texts that end the reply and are not part of it.
    """

    task: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    messages: tuple[Mapping[str, str], ...] | None = None
    prompt: str | None = None
    prompt_ids: tuple[int, ...] | None = None
    schema: Mapping[str, Any] | None = None
    temperature: float = 0.7
    top_p: float = 1.0
    max_tokens: int = 1024
    seed: int = 0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reply:
    """A model's answer.

    finish_reason: `length` where the limit cut it off, `refusal` where the model or its filter declined.
    cached_tokens: how many of the prompt's tokens the server had in its cache.
    """

    text: str
    finish_reason: FinishReason = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


class Unanswered(Exception):
    """No reply came although it was tried again; the request may be sent another time. Not the request's fault."""


class Rejected(Exception):
    """The server will never answer this request as it is (too long, filtered). `reason` is its short name:
    `context_length`, `content_filter` or `bad_request`, whatever the engine."""

    def __init__(self, reason: str, detail: str):
        super().__init__(detail)
        self.reason = reason


class LanguageModel(Protocol):
    """One method; see the implementations in this folder.

    Raises:
        Unanswered, Rejected: see there. InputError: the key, the address or the model's name is at fault.
    """

    async def generate(self, request: Request) -> Reply: ...

    async def close(self) -> None: ...
