"""A fast local stand-in for a model server: every request is answered after a fixed delay, at most N at once.

    python benchmarks/latency_server.py --latency 0.2 --at-once 256 --port 8100

Enters: POST /v1/chat/completions and /v1/completions, on keep-alive HTTP/1.1 connections from this machine. Leaves: a
JSON completion after the delay, or 429 where N requests are in flight already; `GET /stats` tells what it has seen.
It knows no model, no keys and no streaming: it measures what the client's side of a collection costs, and nothing else.

A raw `asyncio.Protocol`, since the server shares the processors with the program that it measures.
"""

import argparse
import asyncio
import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

Answer = Callable[[dict[str, Any]], str]  # the request's body -> the text of the completion

_FIXED_TEXT = "3 + 4 = 7. The answer is 7."


@dataclass
class Stats:
    """What the server has seen: requests answered, refused with 429, in flight now and at the most."""

    answered: int = 0
    refused: int = 0
    in_flight: int = 0
    most_in_flight: int = 0


def completion(text: str, chat: bool) -> bytes:
    """A whole HTTP response with one choice. Usage counts four characters as a token of the reply."""
    choice = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    body = {
        "id": "cmpl-1",
        "object": "chat.completion" if chat else "text_completion",
        "created": 0,
        "model": "latency",
        "choices": [{"index": 0, "finish_reason": "stop", **choice}],
        "usage": {"prompt_tokens": 100, "completion_tokens": len(text) // 4 + 1},
    }
    return response("200 OK", body)


def response(status: str, body: dict[str, Any]) -> bytes:
    """An HTTP/1.1 response with a JSON body, ready to be written."""
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


_TOO_MANY = response("429 Too Many Requests", {"error": {"message": "too many requests at once", "code": "busy"}})
_MODELS = response("200 OK", {"object": "list", "data": [{"id": "latency", "object": "model"}]})


class _Connection(asyncio.Protocol):
    def __init__(self, stats: Stats, latency: float, at_once: int, answer: Answer | None, text: str):
        self.stats, self.latency, self.at_once, self.answer = stats, latency, at_once, answer
        self.loop = asyncio.get_running_loop()
        self.received = b""
        self.fixed = {chat: completion(text, chat) for chat in (True, False)}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class is not a subclass

    def data_received(self, data: bytes) -> None:
        self.received += data
        while True:
            head_end = self.received.find(b"\r\n\r\n")
            if head_end < 0:
                return
            head = self.received[:head_end].lower()
            length_at = head.find(b"\r\ncontent-length:")
            length = int(head[length_at + 17 :].split(b"\r\n", 1)[0]) if length_at >= 0 else 0
            end = head_end + 4 + length
            if len(self.received) < end:
                return
            body, self.received = self.received[head_end + 4 : end], self.received[end:]
            self._take(head[: head.find(b"\r\n")], body)

    def _take(self, request_line: bytes, body: bytes) -> None:
        if b"/completions" not in request_line:
            stats = response("200 OK", vars(self.stats))
            self.transport.write(stats if b"/stats" in request_line else _MODELS)
            return
        if self.stats.in_flight >= self.at_once:
            self.stats.refused += 1
            self.transport.write(_TOO_MANY)
            return
        self.stats.in_flight += 1
        self.stats.most_in_flight = max(self.stats.most_in_flight, self.stats.in_flight)
        self.loop.call_later(self.latency, self._reply, b"/chat/" in request_line, body)

    def _reply(self, chat: bool, body: bytes) -> None:
        self.stats.in_flight -= 1
        self.stats.answered += 1
        if self.transport.is_closing():
            return
        self.transport.write(
            self.fixed[chat] if self.answer is None else completion(self.answer(json.loads(body)), chat)
        )


async def start(
    latency: float, at_once: int, port: int = 0, answer: Answer | None = None, text: str = _FIXED_TEXT
) -> tuple[asyncio.Server, Stats]:
    """Listen on 127.0.0.1.

    Args:
        latency: seconds from a request to its reply. at_once: requests in flight; beyond them the reply is 429.
        port: 0 picks a free one; `server.sockets[0].getsockname()[1]` tells which.
        answer: the text for a request's body; None: always `text`, which costs the server nothing.
    """
    stats = Stats()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Connection(stats, latency, at_once, answer, text), "127.0.0.1", port, backlog=4096
    )
    return server, stats


async def _serve(latency: float, at_once: int, port: int, text: str) -> None:
    server, stats = await start(latency, at_once, port, text=text)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    port = server.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}/v1: {latency * 1000:.0f} ms, {at_once} at once", flush=True)
    await stop.wait()
    server.close()
    print(json.dumps(vars(stats)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds from request to reply (default 0.2)")
    parser.add_argument("--at-once", type=int, default=256, help="requests in flight; beyond: 429 (default 256)")
    parser.add_argument("--port", type=int, default=8100, help="0 picks a free one (default 8100)")
    parser.add_argument("--text", default=_FIXED_TEXT, help="what every reply says")
    arguments = parser.parse_args()
    try:
        import uvloop
    except ImportError:
        run: Callable[..., Any] = asyncio.run  # works as well, at perhaps half the rate
    else:
        run = uvloop.run
    run(_serve(arguments.latency, arguments.at_once, arguments.port, arguments.text))


if __name__ == "__main__":
    main()
