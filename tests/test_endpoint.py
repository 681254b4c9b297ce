"""Several servers, dead ones, and outages: through the model that uses the pool, against real servers."""

import asyncio
import time
from typing import Any

from teacher_server import TeacherServer, busy, error
from test_openai_api import CHAT, ask, ask_urls

from lemma_train.llm.endpoint import Endpoint, EndpointPool, Outage
from lemma_train.llm.openai_api import OpenAIModel
from lemma_train.llm.protocol import Reply, Request, Unanswered


def dead_server() -> TeacherServer:
    """Its port is known, and nobody listens there."""
    with TeacherServer() as server:
        return server


def idle_endpoint(number: int) -> Endpoint:
    return Endpoint(f"http://127.0.0.1:{number}/v1", 8, None, None, 10.0, on_event=lambda line: None)


def test_the_endpoint_with_the_fewest_requests_in_flight_is_taken():
    async def take(endpoints: list[Endpoint]) -> str:
        return (await EndpointPool(endpoints, outage_seconds=60).take(1)).endpoint.url

    endpoints = [idle_endpoint(1), idle_endpoint(2), idle_endpoint(3)]
    for endpoint, load in zip(endpoints, (3, 1, 2), strict=True):
        for _ in range(load):
            endpoint.start(1, time.monotonic() - 10)
    assert asyncio.run(take(endpoints)) == endpoints[1].url


def test_what_one_server_failed_on_goes_to_another():
    with TeacherServer() as alive:
        [outcome] = ask_urls([dead_server().url, alive.url], CHAT, max_tries=2)
    assert isinstance(outcome, Reply)


def test_a_server_that_rests_does_not_hold_up_the_others():
    with TeacherServer(script=[busy("20")]) as resting, TeacherServer() as other:
        outcomes = ask_urls([resting.url, other.url], *[CHAT] * 4, concurrency=1)
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    assert len(resting.requests) == 1 and len(other.requests) == 4


def test_failures_that_are_not_in_a_row_pause_nothing():
    events: list[str] = []
    script = [error(500, "oops"), None] * 10
    with TeacherServer(script=script) as server:
        outcomes = ask_urls([server.url], *[CHAT] * 10, concurrency=1, on_event=events.append)
    assert all(isinstance(outcome, Reply) for outcome in outcomes) and events == []


def test_failures_of_requests_sent_before_a_pause_do_not_lengthen_it():
    endpoint = idle_endpoint(1)
    leases = [endpoint.start(1, time.monotonic()) for _ in range(8)]
    for lease in leases:
        endpoint.failed("500: oops", lease.probe)
        endpoint.end(lease, 0)
    wait = endpoint.wait(1, time.monotonic())
    assert wait is not None and 9.0 < wait <= 10.0


def test_servers_share_the_load_and_the_dead_one_is_left_out():
    events: list[str] = []
    with TeacherServer(latency=0.02) as one, TeacherServer(latency=0.02) as other:
        ask_urls([one.url, other.url], *[CHAT] * 24, concurrency=4)
        assert len(one.requests) > 4 and len(other.requests) > 4 and len(one.requests) + len(other.requests) == 24
    with TeacherServer(latency=0.02) as alive:
        outcomes = ask_urls([one.url, alive.url], *[CHAT] * 40, concurrency=4, pause_seconds=60, on_event=events.append)
    assert all(isinstance(outcome, Reply) for outcome in outcomes) and len(alive.requests) == 40
    assert len(events) == 1 and one.url in events[0] and "connection refused; next try in 60 s" in events[0]


def test_an_outage_is_waited_for_and_costs_no_tries():
    events: list[str] = []

    async def run(server: TeacherServer) -> list[Any]:
        model = OpenAIModel(
            "teacher",
            [server.url],
            "none",
            concurrency=1,
            timeout_seconds=60,
            max_tries=2,
            outage_minutes=1,
            on_event=events.append,
            backoff_seconds=0.01,
            pause_seconds=0.1,
        )
        asked = asyncio.gather(*[model.generate(CHAT) for _ in range(5)], return_exceptions=True)
        await asyncio.sleep(1.5)
        await asyncio.to_thread(server.start)
        outcomes = await asked
        await model.close()
        return outcomes

    server = dead_server()
    outcomes = asyncio.run(run(server))
    server.stop()
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    assert [line.split(": ", 1)[1].split(" after")[0] for line in events] == [
        "5 failures in a row, last: connection refused; next try in 0 s",
        "answers again",
    ]


def test_a_paused_server_gets_one_request_to_try_it():
    fault = error(503, "loading the model")
    with TeacherServer(script=[fault] * 8, latency=0.02) as server:
        outcomes = ask(server, *[CHAT] * 5, concurrency=1, pause_seconds=0.15)
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    times = [seen.time for seen in server.requests]
    pauses = [times[i + 1] - times[i] for i in (4, 5, 6, 7)]  # five failures, then three tries that fail too
    assert all(wait > least - 0.03 for wait, least in zip(pauses, (0.15, 0.3, 0.6, 1.2), strict=True)), pauses


def test_an_outage_that_lasts_too_long_ends_all_requests_and_tells_why():
    server = dead_server()
    outcomes = ask(server, CHAT, CHAT, outage_minutes=0.5 / 60)
    assert [type(outcome) for outcome in outcomes] == [Outage, Outage]
    assert "connection refused" in str(outcomes[0]) and server.url in str(outcomes[0])


def test_a_request_that_breaks_a_healthy_server_uses_up_its_tries():
    bad = Request("analysis", messages=({"role": "user", "content": "bad"},))

    def rule(body: dict[str, Any]) -> Any:
        return error(500, "assertion failed") if body["messages"][0]["content"] == "bad" else None

    with TeacherServer(rule=rule) as server:
        outcomes = ask(server, bad, bad, CHAT, max_tries=4, pause_seconds=0.02)
    assert [type(outcome) for outcome in outcomes] == [Unanswered, Unanswered, Reply]
    assert len(server.requests) == 9
