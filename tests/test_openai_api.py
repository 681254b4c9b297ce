"""Requests to real servers on this machine that answer well, late, badly or not at all."""

import asyncio
import email.utils
import itertools
import time
from typing import Any

import pytest
from teacher_server import (
    CUT_OFF,
    DROPPED,
    FILTERED,
    HALF,
    NO_CHOICES,
    NO_USAGE,
    NOT_JSON,
    REFUSAL,
    Behaviour,
    TeacherServer,
    busy,
    error,
    late,
    no_response_format,
    only_max_completion_tokens,
)

from lemma_train.errors import InputError
from lemma_train.llm.endpoint import Outage
from lemma_train.llm.openai_api import OpenAIModel
from lemma_train.llm.protocol import Rejected, Reply, Request, Unanswered

KEY = "sk-very-secret-wxyz"
LIMITS: dict[str, Any] = {"concurrency": 32, "timeout_seconds": 60.0, "max_tries": 6, "outage_minutes": 30.0}
CHAT = Request("analysis", messages=({"role": "user", "content": "What is 2 + 2?"},), seed=5, stop=("\n\n#",))
JSON = Request("analysis", messages=CHAT.messages, schema={"type": "object"})


def ask(server: TeacherServer, *requests: Request, **options: Any) -> list[Any]:
    """The outcome of each request, sent all at once: a reply or the exception."""
    return ask_urls([server.url], *requests, **options)


def ask_urls(urls: list[str], *requests: Request, **options: Any) -> list[Any]:
    quick = {"backoff_seconds": 0.01, "pause_seconds": 0.1}
    options = {**LIMITS, **quick, "on_event": lambda line: None, **options}

    async def run() -> list[Any]:
        model = OpenAIModel("teacher", urls, KEY, key_variable="TEACHER_KEY", **options)
        try:
            return await asyncio.gather(*map(model.generate, requests), return_exceptions=True)
        finally:
            await model.close()

    return asyncio.run(run())


def test_a_chat_request_becomes_a_chat_completion_with_all_its_settings():
    with TeacherServer(reply=lambda body: "4") as server:
        [reply] = ask(server, CHAT, extra_body={"top_k": 20, "top_p": None})
    assert reply == Reply("4", "stop", prompt_tokens=11, completion_tokens=7)
    [seen] = server.requests
    assert seen.path == "/v1/chat/completions" and seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.body == {
        "model": "teacher",
        "messages": [{"role": "user", "content": "What is 2 + 2?"}],
        "temperature": 0.7,
        "seed": 5,
        "stop": ["\n\n#"],
        "max_tokens": 1024,
        "top_k": 20,
    }
    assert not {"x-stainless-os", "x-stainless-arch", "x-stainless-runtime-version"} & set(seen.headers)


def test_token_ids_are_sent_as_they_are_and_win_over_the_text():
    with TeacherServer() as server:
        ask(server, Request("sampling", prompt="2 + 2 =", prompt_ids=(128000, 17, 489)))
        ask(server, Request("sampling", prompt="2 + 2 ="))
    assert [seen.body["prompt"] for seen in server.requests] == [[128000, 17, 489], "2 + 2 ="]
    assert {seen.path for seen in server.requests} == {"/v1/completions"}
    assert all("messages" not in seen.body and "stop" not in seen.body for seen in server.requests)


@pytest.mark.parametrize(
    ("behaviour", "finish"), [(CUT_OFF, "length"), (REFUSAL, "refusal"), (FILTERED, "refusal"), (NO_USAGE, "stop")]
)
def test_the_way_a_reply_ended_is_told(behaviour, finish):
    with TeacherServer(script=[behaviour]) as server:
        [reply] = ask(server, CHAT)
    assert reply.finish_reason == finish
    assert behaviour is not REFUSAL or reply.text == "I would rather not."


def test_cached_tokens_are_counted_and_missing_usage_is_estimated():
    usage = {"prompt_tokens": 90, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 64}}
    with TeacherServer(reply=lambda body: "x" * 40) as server:
        server.script = (type(CUT_OFF)(usage=usage), NO_USAGE)
        [cached] = ask(server, CHAT)
        [estimated] = ask(server, CHAT)
    assert (cached.prompt_tokens, cached.completion_tokens, cached.cached_tokens) == (90, 3, 64)
    assert (estimated.prompt_tokens, estimated.completion_tokens) == (14 // 4 + 1, 40 // 4 + 1)


@pytest.mark.parametrize(
    "fault",
    [
        DROPPED,
        HALF,
        NOT_JSON,
        NO_CHOICES,
        late(5.0),
        busy(),
        error(500, "oops"),
        error(503, "away"),
        error(408, "slow"),
    ],
    ids=["dropped", "half", "not_json", "no_choices", "late", "429", "500", "503", "408"],
)
def test_what_may_pass_is_tried_again(fault):
    with TeacherServer(reply=lambda body: "4", script=[fault, fault]) as server:
        [reply] = ask(server, CHAT, timeout_seconds=0.3)
    assert reply.text == "4"
    assert len(server.requests) == 3
    assert server.requests[0].body == server.requests[2].body


def test_tries_are_bounded_and_the_last_reason_is_told():
    with TeacherServer(script=[error(500, "the disk is full\nTraceback")] * 9) as server:
        [outcome] = ask(server, CHAT, max_tries=3)
    assert isinstance(outcome, Unanswered) and "after 3 tries" in str(outcome)
    assert "500: the disk is full" in str(outcome) and "Traceback" not in str(outcome)
    assert len(server.requests) == 3


@pytest.mark.parametrize("form", ["seconds", "milliseconds", "date"])
def test_a_server_is_left_alone_by_all_requests_for_as_long_as_it_asks(form):
    wait = 0.6
    header = {"seconds": ("Retry-After", "0.6"), "milliseconds": ("Retry-After-Ms", "600")}.get(form)
    if header is None:
        wait = 1.0  # HTTP dates are whole seconds
        header = ("Retry-After", email.utils.formatdate(int(time.time()) + 2, usegmt=True))
    with TeacherServer(script=[error(429, "slow down", dict([header]))]) as server:
        outcomes = ask(server, CHAT, CHAT, CHAT, concurrency=1)
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    first, *others = [seen.time for seen in server.requests]
    assert len(others) == 3 and min(others) - first >= wait - 0.02


def test_a_wait_longer_than_the_outage_that_is_allowed_ends_the_run():
    with TeacherServer(script=[busy("86400")]) as server:
        [outcome] = ask(server, CHAT)
    assert isinstance(outcome, Outage) and "1440 minutes" in str(outcome)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (error(400, "max_tokens or max_completion_tokens: the maximum context length is 4096"), "context_length"),
        (error(400, "too long", code="context_length_exceeded"), "context_length"),
        (error(413, "request entity too large"), "context_length"),
        (error(400, "The response was filtered by our content management policy."), "content_filter"),
        (error(400, "filtered", code="content_filter"), "content_filter"),
        (error(422, "messages: a field is missing"), "bad_request"),
    ],
)
def test_a_request_that_can_never_be_answered_is_rejected_at_once(fault, reason):
    with TeacherServer(script=[fault]) as server:
        [outcome] = ask(server, CHAT)
    assert isinstance(outcome, Rejected) and outcome.reason == reason
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (error(401, "Incorrect API key: sk-v***wxyz"), ["TEACHER_KEY", "401"]),
        (error(403, f"the key {KEY} may not"), ["TEACHER_KEY", "***"]),
        (error(429, "You exceeded your current quota", code="insufficient_quota"), ["quota", "TEACHER_KEY"]),
        (error(402, "Insufficient balance"), ["Insufficient balance"]),
        (error(404, "no such model"), ["'teacher'", "small-teacher, large-teacher"]),
        (
            error(400, "temperature must be 1", code="unsupported_value", param="temperature"),
            ["temperature must be 1", "extra_body: {temperature: null}"],
        ),
        (error(301, "moved", {"Location": "/v1/completions"}), ["301", "base_urls"]),
    ],
)
def test_what_the_user_has_to_mend_stops_at_once_and_never_shows_the_key(fault, words):
    with TeacherServer(script=[fault], models=["small-teacher", "large-teacher"]) as server:
        [outcome] = ask(server, CHAT)
    assert isinstance(outcome, InputError) and server.url in str(outcome)
    assert all(word in str(outcome) for word in words), str(outcome)
    assert "wxyz" not in str(outcome)
    assert len(server.requests) == 1


def test_a_404_without_a_list_of_models_points_at_the_address():
    with TeacherServer(script=[error(404, "Not Found")], models=None) as server:
        [outcome] = ask(server, CHAT)
    assert isinstance(outcome, InputError) and "/v1" in str(outcome) and "Not Found" in str(outcome)


def test_automatic_json_falls_back_to_text_once_where_a_server_takes_no_schema():
    events: list[str] = []
    with TeacherServer(rule=no_response_format, latency=0.05) as plain, TeacherServer() as able:
        outcomes = ask_urls([plain.url, able.url], *[JSON] * 12, concurrency=2, max_tries=1, on_event=events.append)
        ask(able, JSON)
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    refused = [seen for seen in plain.requests if "response_format" in seen.body]
    assert len(refused) == 2 < len(plain.requests), "asked again with a schema after the refusals"
    schema = able.requests[-1].body["response_format"]["json_schema"]
    assert schema == {"name": "analysis", "schema": {"type": "object"}, "strict": True}
    assert len(events) == 1 and plain.url in events[0]


def test_json_modes_are_sent_as_asked_for_and_a_refusal_of_them_names_the_key():
    with TeacherServer() as server:
        ask(server, JSON, json_mode="object")
        ask(server, JSON, json_mode="text")
        ask(server, CHAT, json_mode="schema")
    assert [seen.body.get("response_format") for seen in server.requests] == [{"type": "json_object"}, None, None]
    with TeacherServer(rule=no_response_format) as server:
        [outcome] = ask(server, JSON, json_mode="schema")
    assert isinstance(outcome, InputError) and "json_mode" in str(outcome)


def test_max_completion_tokens_is_used_from_then_on_where_a_server_wants_it():
    with TeacherServer(rule=only_max_completion_tokens) as server:
        outcomes = ask(server, *[CHAT] * 4, concurrency=1, max_tries=1)
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    limits = [seen.body.get("max_completion_tokens") for seen in server.requests]
    assert limits == [None, 1024, 1024, 1024, 1024]


def test_what_extra_body_names_and_a_server_refuses_is_named_and_not_sent_without_end():
    for key, rule in {"max_tokens": only_max_completion_tokens, "response_format": no_response_format}.items():
        with TeacherServer(rule=rule) as server:
            [outcome] = ask(server, JSON, extra_body={key: 64})
        assert isinstance(outcome, InputError) and f"the {key} of extra_body" in str(outcome)
        assert len(server.requests) == 1


def test_a_text_to_complete_has_no_other_key_for_its_limit_and_the_run_ends_with_the_keys_name():
    with TeacherServer(rule=only_max_completion_tokens) as server:
        [outcome] = ask(server, Request("sampling", prompt="2 + 2 ="))
    assert isinstance(outcome, InputError) and "max_tokens" in str(outcome) and len(server.requests) == 1


def test_no_more_requests_are_in_flight_than_allowed_and_all_of_them_are():
    with TeacherServer(latency=0.05) as server:
        outcomes = ask(server, *[CHAT] * 40, concurrency=8)
    assert all(isinstance(outcome, Reply) for outcome in outcomes) and len(server.requests) == 40
    assert server.most_in_flight == 8
    assert server.connections == 8, "connections are kept and used again"


def test_requests_a_minute_are_spread_evenly():
    with TeacherServer() as server:
        ask(server, *[CHAT] * 5, requests_per_minute=600)
    times = [seen.time for seen in server.requests]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert min(gaps) > 0.08, gaps  # one each 100 ms
    assert times[-1] - times[0] > 0.38


def test_tokens_a_minute_hold_requests_back_until_the_real_usage_is_known():
    # At 1,000 tokens a second: a request is taken for 4 + 1024 tokens at first, and turns out to be 18.
    with TeacherServer(latency=0.3) as server:
        ask(server, *[CHAT] * 3, concurrency=3, tokens_per_minute=60_000)
    times = [seen.time for seen in server.requests]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert min(gaps) >= 0.28, "the next started before the real usage of the last was known"
    assert max(gaps) < 0.9, "the estimate of the last was never corrected"


def test_cancelling_leaves_no_connection_open():
    async def run(server: TeacherServer) -> None:
        model = OpenAIModel("teacher", [server.url], "none", on_event=print, **LIMITS)
        task = asyncio.create_task(model.generate(CHAT))
        while not server.in_flight:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        deadline = time.monotonic() + 5
        while server.open_connections and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        assert server.open_connections == 0, "before close()"
        await model.close()

    with TeacherServer(latency=30) as server:
        asyncio.run(run(server))


def test_closing_closes_the_connections_that_were_kept():
    with TeacherServer() as server:
        ask(server, CHAT)
        deadline = time.monotonic() + 5
        while server.open_connections and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.open_connections == 0


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x/v1", "http://", "http://user:secret@host/v1"])
def test_a_base_url_that_is_none_is_named(url):
    with pytest.raises(InputError, match="base_urls") as caught:
        OpenAIModel("teacher", [url], "none", on_event=print, **LIMITS)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "sk-one\n", "sk one", "sk-\u2026"])
def test_a_key_that_cannot_be_one_is_named_by_its_variable_alone(key):
    with pytest.raises(InputError, match="TEACHER_KEY") as caught:
        OpenAIModel("teacher", [], key, key_variable="TEACHER_KEY", on_event=print, **LIMITS)
    assert "sk" not in str(caught.value)


@pytest.mark.parametrize("count", [-5, 1e30, float("inf"), float("nan"), "7", None, [1], True])
def test_a_number_of_tokens_that_cannot_be_is_not_believed(count):
    told = Behaviour(usage={"prompt_tokens": count, "completion_tokens": count})
    with TeacherServer(script=[told, NO_USAGE]) as server:
        [believed], [estimated] = ask(server, CHAT), ask(server, CHAT)
    assert believed == estimated and believed.prompt_tokens > 0


def test_a_reply_nested_without_end_is_no_completion():
    with TeacherServer(rule=lambda body: Behaviour(raw=b"[" * 200_000)) as server:
        [outcome] = ask(server, CHAT, max_tries=1)
    assert isinstance(outcome, Unanswered) and "not a completion (RecursionError)" in str(outcome)


def test_what_a_server_says_holds_no_key_and_steers_no_terminal():
    said = f"\x1b[2J {KEY} \x07"
    param = error(400, "bad", param=said, code="unsupported_parameter")
    text = Behaviour(text=f"Bearer {KEY}: 4")
    for told in (error(500, said), error(400, said), error(418, said), param, Behaviour(raw=said.encode()), text):
        with TeacherServer(rule=lambda body, told=told: told) as server:
            [outcome] = ask(server, CHAT, max_tries=1)
        words = outcome.text if isinstance(outcome, Reply) else str(outcome)
        assert KEY not in words and "***" in words and "\x1b" not in words and "\x07" not in words
    with TeacherServer(rule=lambda body: error(404, said), models=[said]) as server:
        [outcome] = ask(server, CHAT)
    assert KEY not in str(outcome) and "\x1b" not in str(outcome)
