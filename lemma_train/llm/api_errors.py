"""What a server's refusal means: try again, never for this request, or the user has to mend something.

Enters: an error status of an OpenAI-compatible server, with its body and headers. Leaves: an exception to raise, made
of the server's own words. It sends nothing, waits for nothing, and changes nothing about later requests.

Servers differ in their bodies (OpenAI and vLLM: `{"error": {"message", "code", "param"}}`, older vLLM: the same without
the `error` around it, FastAPI: `{"detail"}`), so beside the codes the wording is looked at.
"""

import email.utils
import json
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lemma_train.errors import InputError
from lemma_train.llm.protocol import Rejected

if TYPE_CHECKING:
    import httpx2
    import openai

_TOO_LONG = re.compile(
    r"context.{0,10}(length|window|size)|maximum model length|max_model_len|too many tokens|(prompt|input) is too long",
    re.IGNORECASE,
)
_FILTERED = re.compile(r"content.{0,3}(management )?.?(filter|polic)|safety (system|polic)", re.IGNORECASE)
_FORMAT = re.compile(r"response_format|json_schema|json_object|structured.?output|guided|grammar", re.IGNORECASE)
_UNSUPPORTED = ("unsupported_parameter", "unsupported_value", "unknown_parameter", "invalid_value", "invalid_type")
_LONGEST_WORDS = 300
_QUOTED = 10_000  # characters of a server's words that are looked at


class TryAgain(Exception):
    """This try came to nothing; another may not.

    wait: seconds that the server asked to be left alone; another server may be asked at once. counts: whether it uses
    up one of the request's tries; it does not when the server is away or when only the way of asking had to change.
    """

    def __init__(self, reason: str, wait: float = 0.0, counts: bool = True):
        super().__init__(reason)
        self.wait = wait
        self.counts = counts


def status_error(response: "httpx2.Response") -> "openai.APIStatusError":
    """The package's exception for a response that is no success."""
    import openai

    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        body = response.text
    told = body.get("error", body) if isinstance(body, dict) else body
    return openai.APIStatusError(f"status {response.status_code}", response=response, body=told)


def exception_for(
    error: "openai.APIStatusError", url: str, model: str, api_key: str, key_variable: str
) -> TryAgain | Rejected | InputError:
    """The exception that a status code of 300 or more stands for (401 and 403 never quote the key).

    Args:
        url: of the endpoint, for the message. key_variable: the environment variable that the key was read from.
    """
    status, said = error.status_code, server_words(error, api_key)
    if status in (401, 403):
        quoted = "" if status == 401 else f" ({said})"  # bodies of 401 quote parts of the key
        return InputError(
            f"{url} refuses the key with status {status}{quoted}; put a key that may use {model!r} into the "
            f"environment variable {key_variable}."
        )
    if status == 402 or (status == 429 and "insufficient_quota" in (error.code, error.type)):
        return InputError(
            f"{url}: the quota of the key in {key_variable} is used up ({said}); add to it and run again."
        )
    if status in (408, 409, 429) or status >= 500:
        return TryAgain(f"{url}: {status}: {said}", wait=retry_after(error.response.headers) or 0.0)
    if status in (400, 413, 422):
        if status == 413 or error.code == "context_length_exceeded" or _TOO_LONG.search(said):
            return Rejected("context_length", said)
        if error.code in ("content_filter", "content_policy_violation") or _FILTERED.search(said):
            return Rejected("content_filter", said)
        if error.param and error.code in _UNSUPPORTED and not error.param.startswith(("messages", "prompt")):
            name = readable(error.param, api_key)[:100]
            return InputError(
                f"{url} refuses {name!r} for {model!r}: {said} Set another value in the recipe, or leave it out "
                f"with `extra_body: {{{name}: null}}`."
            )
        return Rejected("bad_request", said)
    return InputError(f"{url} answered with status {status} ({said}); check the model's `base_urls`.")


def refuses_response_format(error: "openai.APIStatusError", said: str) -> bool:
    """Whether a request was refused for the JSON format that it asked for."""
    return error.status_code in (400, 422) and bool(_FORMAT.search(f"{error.param} {said}"))


def wants_max_completion_tokens(error: "openai.APIStatusError", said: str) -> bool:
    """Whether `max_tokens` should have been called `max_completion_tokens`, as OpenAI's reasoning models want it."""
    if error.status_code not in (400, 422) or "max_completion_tokens" not in said:
        return False
    return not _TOO_LONG.search(said)  # vLLM names both keys when the prompt is too long


def server_words(error: "openai.APIStatusError", api_key: str) -> str:
    """The server's reason: the first line of its message, at most 300 characters, the key struck out."""
    body: Any = error.body
    if isinstance(body, Mapping):
        body = body.get("message") or body.get("detail") or body.get("error") or dict(body)
    lines = [line.strip() for line in str(body or "").splitlines() if line.strip()]
    first = lines[0] if lines else "no reason given"
    return readable(first, api_key)[:_LONGEST_WORDS]


def readable(said: str, api_key: str) -> str:
    """A server's words for a terminal: the key struck out, and signs that would steer the terminal spelled out."""
    told = without_key(said[:_QUOTED], api_key)
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in told)


def without_key(text: str, api_key: str) -> str:
    """The text with the key struck out; a placeholder such as "none" is no secret."""
    return text.replace(api_key, "***") if len(api_key) >= 8 else text


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait: `retry-after-ms`, or `retry-after` in seconds or as an HTTP date.

    Example:
        >>> retry_after({"retry-after": "1.5"})
        1.5
    """
    milliseconds, wanted = headers.get("retry-after-ms"), headers.get("retry-after")
    for text, unit in ((milliseconds, 0.001), (wanted, 1.0)):
        if text and re.fullmatch(r"\s*\d+(\.\d+)?\s*", text):
            return float(text) * unit
    try:
        date = email.utils.parsedate_to_datetime(wanted or "").timestamp()
    except (ValueError, OverflowError, OSError):
        return None
    return max(0.0, date - time.time())
