"""A small real HTTP server that plays an OpenAI-compatible model, well or badly, as each test wants it.

Enters: a function from a request's body to the text of the reply, and a script of behaviours. Leaves: an address on
127.0.0.1, and a record of all that was asked. Standard library only; it runs in a thread of its own, so that tests and
the programs they start can use it alike.

    with TeacherServer(reply=lambda body: "4", script=[DROPPED, busy("1")]) as server:
        OpenAIModel("teacher", [server.url], "none", on_event=print, **limits)

The k-th completion that is asked for is dealt with by the k-th entry of the script; after its end, and for entries that
are None, by `rule`, a function from the body to a behaviour or None; and where that is None, well.
"""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Behaviour:
    """How one request is answered.

    raw: the body as it stands, in place of a completion. error: the body as JSON. drop: `at once` closes the connection
    without a reply, `half` in the middle of the body.
    """

    status: int = 200
    delay: float = 0.0
    text: str | None = None
    finish_reason: str | None = "stop"
    refusal: str | None = None
    usage: dict[str, Any] | None = field(default_factory=lambda: {"prompt_tokens": 11, "completion_tokens": 7})
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    error: dict[str, Any] | None = None
    drop: str | None = None


WELL = Behaviour()
CUT_OFF = Behaviour(finish_reason="length")
REFUSAL = Behaviour(refusal="I would rather not.")
FILTERED = Behaviour(finish_reason="content_filter", text="")
NO_USAGE = Behaviour(usage=None)
NOT_JSON = Behaviour(raw=b"<html>hello</html>")
NO_CHOICES = Behaviour(raw=b'{"choices": []}')
DROPPED = Behaviour(drop="at once")
HALF = Behaviour(drop="half")


def late(seconds: float) -> Behaviour:
    return Behaviour(delay=seconds)


def error(status: int, message: str, headers: dict[str, str] | None = None, **fields: Any) -> Behaviour:
    return Behaviour(status=status, error={"error": {"message": message, **fields}}, headers=headers or {})


def busy(retry_after: str | None = None) -> Behaviour:
    return error(429, "too many requests", {} if retry_after is None else {"Retry-After": retry_after})


def no_response_format(body: dict[str, Any]) -> Behaviour | None:
    """A rule: this server knows no `response_format`."""
    return error(400, "response_format is not supported by this model") if "response_format" in body else None


def only_max_completion_tokens(body: dict[str, Any]) -> Behaviour | None:
    """A rule: this server wants `max_completion_tokens`, as OpenAI's reasoning models do."""
    if "max_tokens" not in body:
        return None
    said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    return error(400, said, code="unsupported_parameter", param="max_tokens")


@dataclass(frozen=True)
class Seen:
    """One completion that was asked for. time: `time.monotonic()` when it had arrived."""

    time: float
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class TeacherServer:
    """See the module's docstring.

    Args:
        models: what GET /models lists; None answers 404.
        latency: seconds before every reply.
        port: 0 picks a free one, which stays the same when the server is stopped and started again.
    """

    def __init__(
        self,
        reply: Callable[[dict[str, Any]], str] = lambda body: "The answer is 4.",
        script: Sequence[Behaviour | None] = (),
        rule: Callable[[dict[str, Any]], Behaviour | None] = lambda body: None,
        models: Sequence[str] | None = ("teacher",),
        latency: float = 0.0,
        port: int = 0,
    ):
        self.reply, self.script, self.rule = reply, tuple(script), rule
        self.models, self.latency, self.port = models, latency, port
        self.requests: list[Seen] = []
        self.in_flight = self.most_in_flight = self.open_connections = self.connections = 0
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> "TeacherServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        assert self._thread is None
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(10), "the server did not start"

    def stop(self) -> None:
        """Close all connections; whoever connects now is refused."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(10)
            self._thread = None

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stopping.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._connection(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_connections += 1
        self.connections += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._one(reader, writer):
                    pass
        finally:
            self.open_connections -= 1
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False where the connection is to be closed."""
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        path = lines[0].split(" ")[1]
        headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines[1:] if line)}
        content = await reader.readexactly(int(headers.get("content-length", "0")))
        if not path.endswith("/completions"):
            return await self._list_models(writer)
        body = json.loads(content)
        self.requests.append(Seen(time.monotonic(), path, headers, body))
        scripted = self.script[len(self.requests) - 1] if len(self.requests) <= len(self.script) else None
        behaviour = scripted or self.rule(body) or WELL
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        closed = asyncio.create_task(reader.read(1))  # ends early where the client hangs up
        try:
            await asyncio.wait([closed], timeout=behaviour.delay + self.latency)
            if closed.done() or behaviour.drop == "at once":
                return False
            text = self.reply(body) if behaviour.text is None else behaviour.text
            payload = _payload(replace(behaviour, text=text), body, "chat" in path)
            half = behaviour.drop == "half"
            await _send(writer, behaviour, payload, payload[: len(payload) // 2] if half else payload)
            return not half
        finally:
            self.in_flight -= 1
            closed.cancel()
            await asyncio.wait([closed])

    async def _list_models(self, writer: asyncio.StreamWriter) -> bool:
        if self.models is None:
            await _send(writer, Behaviour(status=404), b"{}", b"{}")
        else:
            content = json.dumps({"object": "list", "data": [{"id": name} for name in self.models]}).encode()
            await _send(writer, WELL, content, content)
        return True


def _payload(behaviour: Behaviour, body: dict[str, Any], chat: bool) -> bytes:
    if behaviour.raw is not None:
        return behaviour.raw
    if behaviour.error is not None:
        return json.dumps(behaviour.error).encode()
    choice: dict[str, Any] = {"index": 0, "finish_reason": behaviour.finish_reason}
    if chat:
        content = None if behaviour.refusal else behaviour.text
        choice["message"] = {"role": "assistant", "content": content, "refusal": behaviour.refusal}
    else:
        choice["text"] = behaviour.text
    answer = {"id": "x", "object": "completion", "created": 0, "model": body.get("model"), "choices": [choice]}
    return json.dumps(answer | ({"usage": behaviour.usage} if behaviour.usage else {})).encode()


async def _send(writer: asyncio.StreamWriter, behaviour: Behaviour, payload: bytes, sent: bytes) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": str(len(payload)), **behaviour.headers}
    head = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    writer.write(f"HTTP/1.1 {behaviour.status} X\r\n{head}\r\n".encode() + sent)
    await writer.drain()
