"""A model behind an OpenAI-compatible server (OpenAI, vLLM and their like), or behind several of the same model.

Enters: a `Request`. Leaves: a `Reply`, or one of the protocol's exceptions; `Outage` when no server has answered for
too long. It limits, shares out and retries; it keeps no replies, renders no prompts and reads no environment variable.

This module loads the openai package (most of a second): import it where a model is made, not at a door.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import httpx2
import openai
import orjson
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from lemma_train.errors import InputError
from lemma_train.llm import api_errors
from lemma_train.llm.api_errors import TryAgain
from lemma_train.llm.completion_body import CHARACTERS_PER_TOKEN, read_reply
from lemma_train.llm.endpoint import Endpoint, EndpointPool, Lease, Outage, address
from lemma_train.llm.http_client import HttpClient
from lemma_train.llm.protocol import Reply, Request, Unanswered

JsonMode = Literal["schema", "object", "text", "auto"]

_OPENAI = "https://api.openai.com/v1"
# What the openai package tells each server about this machine; leaving it out also makes requests cheaper.
_UNSENT = ("Lang", "Package-Version", "OS", "Arch", "Runtime", "Runtime-Version", "Async")


@dataclass
class _Server:
    """A client and what was learnt about the server's way of being asked."""

    client: openai.AsyncOpenAI
    http: HttpClient
    json_mode: JsonMode
    limit_key: str = "max_tokens"


class OpenAIModel:
    """A `LanguageModel` over HTTP, through the openai package.

    Args:
        model: its name on the servers.
        base_urls: addresses that end in `/v1`; none is OpenAI's own. They share the load.
        api_key: the key itself; "none" for servers that need none. key_variable: the environment variable that it was
            read from, for messages.
        on_event: gets one line for what the user should see, such as an endpoint that is paused.
        concurrency: most requests in flight on each endpoint.
        requests_per_minute, tokens_per_minute: limits of each endpoint, None for none. A request counts with its prompt
            and `max_tokens` until its real usage is known.
        timeout_seconds: for one try, from sending to the last byte.
        max_tries: how often a request is sent before it counts as unanswered. Tries while the server is away do not
            count.
        json_mode: how a reply's schema is asked for: `schema` and `object` as `response_format`, `text` by the prompt
            alone, `auto` as `schema` until a server refuses it, then `text` for that server.
        extra_body: fields added to each request's body; a field set to None is left out of it.
        outage_minutes: how long all endpoints may be away before `Outage`.
        backoff_seconds: the longest wait after the first failed try; it doubles with each, up to a minute, and the wait
            is drawn evenly from 0 to it. pause_seconds: an endpoint's first pause after failures in a row.

    Raises:
        InputError: a base URL is none, or the key cannot be one.

    Example:
        >>> limits = {"concurrency": 32, "timeout_seconds": 300, "max_tries": 8, "outage_minutes": 30}
        >>> model = OpenAIModel("qwen", ["http://127.0.0.1:8000/v1"], "none", on_event=print, **limits) # doctest: +SKIP
        >>> (await model.generate(Request("sampling", prompt="2 + 2 =", max_tokens=8))).text    # doctest: +SKIP
        ' 4'
    """

    def __init__(
        self,
        model: str,
        base_urls: Sequence[str],
        api_key: str,
        *,
        on_event: Callable[[str], None],
        concurrency: int,
        timeout_seconds: float,
        max_tries: int,
        outage_minutes: float,
        key_variable: str = "OPENAI_API_KEY",
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        json_mode: JsonMode = "auto",
        extra_body: Mapping[str, Any] | None = None,
        backoff_seconds: float = 1.0,
        pause_seconds: float = 10.0,
    ):
        self._model, self._api_key, self._key_variable = model, api_key, key_variable
        self._max_tries, self._extra_body = max_tries, dict(extra_body or {})
        self._outage_seconds, self._on_event = 60 * outage_minutes, on_event
        self._json_mode: JsonMode = json_mode
        self._jitter = wait_random_exponential(multiplier=backoff_seconds, max=max(60.0, backoff_seconds))
        if not (api_key.isascii() and api_key.isprintable() and api_key and " " not in api_key):
            raise InputError(
                f"The environment variable {key_variable} does not hold a key: it is empty, or holds blanks, line "
                "breaks or letters that no key has."
            )
        urls = list(dict.fromkeys(address(url) for url in base_urls or [_OPENAI]))
        unsent: Any = {f"X-Stainless-{name}": openai.Omit() for name in _UNSENT}
        self._servers = {}
        for url in urls:
            http = HttpClient(url, timeout_seconds)
            client = openai.AsyncOpenAI(
                base_url=url,
                api_key=api_key,
                max_retries=0,  # retrying is ours: it has to know the limits and the pauses
                timeout=timeout_seconds,
                http_client=http,
                default_headers=unsent,
            )
            self._servers[url] = _Server(client, http, json_mode)
        limits = (concurrency, requests_per_minute, tokens_per_minute, pause_seconds)
        self._pool = EndpointPool([Endpoint(url, *limits, on_event) for url in urls], self._outage_seconds)

    async def generate(self, request: Request) -> Reply:
        """See `LanguageModel`.

        Raises:
            Outage: no endpoint has answered for `outage_minutes`.
        """
        try:
            return await self._try(request)  # nearly always enough, and without the machinery of retrying
        except TryAgain as error:
            return await self._retry(request, error)

    async def close(self) -> None:
        for server in self._servers.values():
            await server.client.close()

    async def _retry(self, request: Request, failed: TryAgain) -> Reply:
        tries = 0
        outcomes = iter([failed])  # the first try has been made; it counts and is waited after like the others

        async def attempt() -> Reply:
            for already in outcomes:
                raise already
            return await self._try(request)

        def enough(state: RetryCallState) -> bool:
            nonlocal tries
            tries += _failure(state).counts
            return tries >= self._max_tries

        again = retry_if_exception_type(TryAgain)
        try:
            return await AsyncRetrying(retry=again, stop=enough, wait=self._wait_before_retry, reraise=True)(attempt)
        except TryAgain as error:
            raise Unanswered(f"no reply after {tries} tries; the last: {error}") from error

    def _wait_before_retry(self, state: RetryCallState) -> float:
        failure = _failure(state)
        return self._jitter(state) if failure.counts else 0.0  # what the server asked for is the endpoint's to keep

    async def _try(self, request: Request) -> Reply:
        lease = await self._pool.take(_estimated_tokens(request))
        endpoint, server = lease.endpoint, self._servers[lease.endpoint.url]
        body = self._body(request, server)
        kind = "completions" if request.messages is None else "chat/completions"
        taken = 0
        try:
            # Bytes, because the client's own encoder is slow on long prompts.
            content = orjson.dumps(body)
            answer = await _post(server, f"{endpoint.url}/{kind}", content)
            endpoint.answered()
            reply = read_reply(answer, endpoint.url, lease.tokens - request.max_tokens, self._api_key)
            taken = reply.prompt_tokens + reply.completion_tokens
            return reply
        except openai.APIStatusError as error:
            raise await self._refused(error, lease, server, body) from error
        except openai.APIConnectionError as error:
            endpoint.failed(reason := str(error.__cause__), lease.probe)
            # A reply that never ends may be the request's own doing, so it counts even while the endpoint is paused.
            counts = isinstance(error.__cause__, httpx2.ReadTimeout) or not endpoint.paused
            raise TryAgain(f"{endpoint.url}: {reason}", counts=counts) from error
        finally:
            self._pool.give_back(lease, taken)

    async def _refused(
        self, error: openai.APIStatusError, lease: Lease, server: _Server, body: Mapping[str, Any]
    ) -> Exception:
        endpoint, said = lease.endpoint, api_errors.server_words(error, self._api_key)
        if error.status_code >= 500:
            endpoint.failed(f"{error.status_code}: {said}", lease.probe)
        else:
            endpoint.answered()
        # Another way of asking is tried at once and counts as no try; what `extra_body` names stays whatever is tried.
        if "response_format" in body and api_errors.refuses_response_format(error, said):
            if "response_format" in self._extra_body:
                return InputError(f"{endpoint.url} refuses the response_format of extra_body ({said}); mend it there.")
            if self._json_mode != "auto":
                return InputError(
                    f"{endpoint.url} refuses replies in JSON ({said}); set the model's json_mode to `auto` or `text`."
                )
            if server.json_mode != "text":
                server.json_mode = "text"
                self._on_event(
                    f"{endpoint.url}: takes no JSON schema ({said}); the prompt alone asks for JSON from now on"
                )
            return TryAgain(f"{endpoint.url}: {said}", counts=False)
        if "messages" in body and "max_tokens" in body and api_errors.wants_max_completion_tokens(error, said):
            if "max_tokens" in self._extra_body:
                return InputError(
                    f"{endpoint.url} refuses the max_tokens of extra_body ({said}); take it out there and set the "
                    "model's own key max_tokens, which is sent as the server wants it."
                )
            server.limit_key = "max_completion_tokens"
            return TryAgain(f"{endpoint.url}: {said}", counts=False)
        if error.status_code == 404:
            return await self._not_found(endpoint.url, server, said)
        found = api_errors.exception_for(error, endpoint.url, self._model, self._api_key, self._key_variable)
        if isinstance(found, TryAgain):
            if found.wait > self._outage_seconds:
                return Outage(f"{found}: it asks to be left alone for {found.wait / 60:.0f} minutes.")
            endpoint.rest(found.wait)
            found.counts = error.status_code not in (502, 503, 504) or not endpoint.paused
        return found

    async def _not_found(self, url: str, server: _Server, said: str) -> InputError:
        try:
            response = await server.client.get(f"{url}/models", cast_to=httpx2.Response)
            listed = json.loads(response.content)["data"]
            served = [api_errors.readable(str(entry["id"]), self._api_key)[:200] for entry in listed]
        except (openai.APIError, ValueError, KeyError, TypeError, RecursionError):
            served = []  # no list, or one that cannot be read: it would only have made the message better
        if served and self._model not in served:
            return InputError(f"{url} does not serve {self._model!r}; its models are: {', '.join(served[:20])}.")
        return InputError(
            f"{url} answers 404 for the model {self._model!r} ({said}); check the model's name and its base URL, which "
            "usually ends in /v1."
        )

    def _body(self, request: Request, server: _Server) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self._model, "temperature": request.temperature, "top_p": request.top_p}
        body |= {"seed": request.seed, "stop": list(request.stop) or None}
        if request.messages is None:
            # Ids are sent as they are: the server puts no second BOS before them.
            body |= {"prompt": request.prompt if request.prompt_ids is None else list(request.prompt_ids)}
            body["max_tokens"] = request.max_tokens
        else:
            body |= {"messages": [dict(message) for message in request.messages], server.limit_key: request.max_tokens}
            if request.schema is not None and server.json_mode in ("schema", "auto"):
                named = {"name": request.task, "schema": dict(request.schema), "strict": True}
                body["response_format"] = {"type": "json_schema", "json_schema": named}
            elif request.schema is not None and server.json_mode == "object":
                body["response_format"] = {"type": "json_object"}
        body |= self._extra_body
        return {key: value for key, value in body.items() if value is not None}


async def _post(server: _Server, url: str, content: bytes) -> bytes:
    """The body of the reply.

    The package builds the first request to an address and decides about its headers. Those after it differ in their
    body alone, and are sent without the 0.2 ms of processor time that the package takes over each.

    Raises:
        openai.APIStatusError, openai.APIConnectionError: as the package raises them.
    """
    if not server.http.has_posted(url):
        response = await server.client.post(url, content=content, cast_to=httpx2.Response)
        return response.content
    try:
        return await server.http.post_again(url, content)
    except httpx2.HTTPStatusError as error:
        raise api_errors.status_error(error.response) from error
    except httpx2.TransportError as error:
        raise openai.APIConnectionError(request=httpx2.Request("POST", url)) from error


def _failure(state: RetryCallState) -> TryAgain:
    assert state.outcome is not None
    error = state.outcome.exception()
    assert isinstance(error, TryAgain)
    return error


def _estimated_tokens(request: Request) -> int:
    if request.prompt_ids is not None:
        return len(request.prompt_ids) + request.max_tokens
    texts = [request.prompt or ""] if request.messages is None else [one["content"] for one in request.messages]
    return sum(map(len, texts)) // CHARACTERS_PER_TOKEN + 1 + request.max_tokens
