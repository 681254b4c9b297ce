"""From the body of a server's response to a `Reply`.

Enters: the bytes of a completion or a chat completion. Leaves: a `Reply`, or `TryAgain` where the bytes are none. It
sends nothing.
"""

import json
from typing import Any

from lemma_train.llm import api_errors
from lemma_train.llm.api_errors import TryAgain
from lemma_train.llm.protocol import FinishReason, Reply

CHARACTERS_PER_TOKEN = 4  # of English, by OpenAI's rule of thumb; only estimates rest on it
_MOST_TOKENS = 100_000_000  # of one request, as far as a server is believed


def read_reply(content: bytes, url: str, estimated_prompt_tokens: int, api_key: str) -> Reply:
    """The reply in a response's body, without the key should it stand there.

    Where it gives no usage that can be believed, the estimate and four characters a token stand in.
    """
    try:
        body = json.loads(content)
        choice = body["choices"][0]
        message = choice.get("message") or {}
        refusal = message.get("refusal")
        text = refusal or message.get("content") or choice.get("text") or ""
        ended = choice.get("finish_reason")
        usage = body.get("usage") or {}
        prompt_tokens = _count(usage.get("prompt_tokens"), estimated_prompt_tokens)
        about = len(text) // CHARACTERS_PER_TOKEN + bool(text)
        completion_tokens = _count(usage.get("completion_tokens"), about)
        cached = _count((usage.get("prompt_tokens_details") or {}).get("cached_tokens"), 0)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        start = api_errors.readable(content[:400].decode(errors="replace"), api_key)[:80]
        raise TryAgain(f"{url}: the reply is not a completion ({type(error).__name__}): {start!r}") from error
    if not isinstance(text, str) or ended in ("abort", "error"):
        said = api_errors.readable(repr(ended), api_key)[:80]
        raise TryAgain(f"{url}: the reply is not a completion: finish_reason {said}, text of {type(text).__name__}")
    finish: FinishReason = "length" if ended == "length" else "stop"
    if refusal or ended == "content_filter":
        finish = "refusal"
    text = text.encode(errors="replace").decode()  # JSON can spell half a character, which no file can hold
    text = api_errors.without_key(text, api_key)
    return Reply(text, finish, prompt_tokens, completion_tokens, min(cached, prompt_tokens))


def _count(given: Any, otherwise: int) -> int:
    """A number of tokens as a server tells it; what cannot be one is not believed."""
    believed = isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given <= _MOST_TOKENS
    return int(given) if believed else otherwise
