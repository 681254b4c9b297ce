"""Where requests go: each server's limits and its health, and the pool that shares the load among servers.

Enters: requests that want to start, and word of how they went. Leaves: a `Lease` on an endpoint, or `Outage` when every
server has been away for too long. It sends nothing itself and decides about no retries.
"""

import asyncio
import contextlib
import time
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lemma_train.errors import InputError, Stopped
from lemma_train.llm.rate_limit import RateLimit

_FAILURES_BEFORE_PAUSE = 5  # in a row; our choice: more than a restart of one connection, fewer than a batch
_LONGEST_PAUSE_SECONDS = 300.0
# An idle endpoint's first requests start a millisecond apart. A burst of hundreds of connections overflows a server's
# backlog; and where all replies take equally long, a burst comes back as a burst for the rest of the run, which costs
# about 4 % of the rate at 256 in flight and 200 ms.
_STARTS_PER_SECOND = 1000.0


class Outage(Stopped):
    """No server has answered for longer than the recipe allows, so the run ends; what was collected is kept."""


class Endpoint:
    """One server: how many requests it may get, and whether it answers at all.

    After five failures in a row (no connection, 5xx, timeouts) it is paused; when the pause is over, one request tries
    it; if that fails too, the next pause is twice as long, up to five minutes.

    Args:
        url: its address, also its name in messages.
        concurrency: most requests in flight.
        requests_per_minute, tokens_per_minute: None is no limit.
        first_pause_seconds: the length of the first pause.
        on_event: gets one line when the endpoint is paused and one when it answers again.
    """

    def __init__(
        self,
        url: str,
        concurrency: int,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        first_pause_seconds: float,
        on_event: Callable[[str], None],
    ):
        now = time.monotonic()
        self.url = url
        self.in_flight = 0
        self.failures = 0
        self.reason = ""
        self.failing_since: float | None = None
        self.paused = False
        self._concurrency = concurrency
        self._requests, self._tokens = RateLimit(requests_per_minute, now), RateLimit(tokens_per_minute, now)
        self._first_pause = self._pause = first_pause_seconds
        self._on_event = on_event
        self._not_before = now  # the end of a pause, or the time that the server asked to be left alone until
        self._busy_since = now
        self._probing = False

    def wait(self, tokens: int, now: float) -> float | None:
        """Seconds until a request may start, 0 at once; None: not before one that is in flight has ended."""
        if self.in_flight >= self._concurrency or (self.paused and self._probing):
            return None
        gap = 0.0 if self.in_flight == 0 else self._busy_since + self.in_flight / _STARTS_PER_SECOND - now
        limits = max(self._requests.wait(1, now), self._tokens.wait(tokens, now))
        return max(0.0, gap, self._not_before - now, limits)

    def start(self, tokens: int, now: float) -> "Lease":
        """A request starts now; `wait` has returned 0."""
        if self.in_flight == 0:
            self._busy_since = now
        self.in_flight += 1
        self._requests.take(1, now)
        self._tokens.take(tokens, now)
        self._probing = self.paused
        return Lease(self, tokens, probe=self.paused)

    def answered(self) -> None:
        """The server answered, whatever it said."""
        if self.paused:
            assert self.failing_since is not None
            self._on_event(f"{self.url}: answers again after {time.monotonic() - self.failing_since:.0f} s")
            self.paused, self._pause, self._not_before = False, self._first_pause, 0.0
        self.failures, self.failing_since = 0, None

    def failed(self, reason: str, probe: bool) -> None:
        """No answer. Late failures of requests that were sent before the pause began do not make it longer."""
        now = time.monotonic()
        if self.paused and not probe:
            return
        self.failures += 1
        self.reason = reason
        if self.failing_since is None:
            self.failing_since = now
        if self.paused:
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
        elif self.failures >= _FAILURES_BEFORE_PAUSE:
            self.paused = True
            self._on_event(
                f"{self.url}: {self.failures} failures in a row, last: {reason}; next try in {self._pause:.0f} s"
            )
        if self.paused:
            self._not_before = now + self._pause

    def rest(self, seconds: float) -> None:
        """Start nothing for so long: the server said so."""
        self._not_before = max(self._not_before, time.monotonic() + seconds)

    def end(self, lease: "Lease", tokens: int) -> None:
        """A request is over; `tokens` is what it really took."""
        self.in_flight -= 1
        self._tokens.take(tokens - lease.tokens, time.monotonic())
        if lease.probe:
            self._probing = False


@dataclass(frozen=True)
class Lease:
    """The right to send one request now. tokens: the estimate it was given for. probe: it tries a paused endpoint."""

    endpoint: Endpoint
    tokens: int
    probe: bool


class EndpointPool:
    """Shares requests among endpoints: the one with the fewest failures in a row, then the fewest in flight.

    Args:
        endpoints: at least one.
        outage_seconds: how long all of them may be away before `take` raises `Outage`.
    """

    def __init__(self, endpoints: Sequence[Endpoint], outage_seconds: float):
        assert endpoints
        self._endpoints = tuple(endpoints)
        self._outage_seconds = outage_seconds
        self._turn = asyncio.Lock()  # first come, first served; only its holder waits for a change
        self._change = asyncio.Event()

    async def take(self, tokens: int) -> Lease:
        """Wait until some endpoint may get a request of so many tokens (prompt and reply, estimated).

        Raises:
            Outage: all endpoints are paused and have been failing for `outage_seconds`.
        """
        async with self._turn:
            while True:
                now = time.monotonic()
                waits = [(endpoint.wait(tokens, now), endpoint) for endpoint in self._endpoints]
                ready = [endpoint for wait, endpoint in waits if wait == 0.0]
                if ready:
                    return min(ready, key=lambda one: (one.failures, one.in_flight)).start(tokens, now)
                self._change.clear()
                until = [wait for wait, _ in waits if wait is not None] + self._outage_in(now)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(until) if until else None):
                        await self._change.wait()

    def give_back(self, lease: Lease, tokens: int) -> None:
        """A request is over. `tokens`: what it took, 0 where it came to nothing."""
        lease.endpoint.end(lease, tokens)
        self._change.set()

    def _outage_in(self, now: float) -> list[float]:
        """Seconds until the outage has lasted too long; empty where some endpoint is not paused."""
        if not all(endpoint.paused for endpoint in self._endpoints):
            return []
        last = max(self._endpoints, key=lambda one: one.failing_since or 0.0)
        assert last.failing_since is not None
        left = last.failing_since + self._outage_seconds - now
        if left <= 0:
            raise Outage(
                f"No server has answered for {self._outage_seconds / 60:.0f} minutes ({last.url}: {last.reason}). "
                "What was collected is kept; run the same command again when the server is back."
            )
        return [left]


def address(url: str) -> str:
    """A server's address without the slashes at its end.

    Raises:
        InputError: it is none, or it holds what may be a secret, which the message does not repeat.

    Example:
        >>> address("http://127.0.0.1:8000/v1/")
        'http://127.0.0.1:8000/v1'
    """
    if "@" in url or "?" in url or "#" in url:
        raise InputError("base_urls: an address holds a user name or a key; keys belong into the environment.")
    try:
        parts = urllib.parse.urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, a bracket that is not closed
        fits = False
    if not fits or not url.isprintable() or " " in url:
        raise InputError(f"base_urls: {url!r} is not an address; write it like http://127.0.0.1:8000/v1.")
    return url.rstrip("/")
