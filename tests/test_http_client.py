"""Connections, proxies and compressed replies, against a real server."""

import asyncio
import gzip
import json

import pytest
from teacher_server import DROPPED, HALF, Behaviour, TeacherServer, busy, error, late
from test_openai_api import CHAT, KEY, LIMITS, ask, ask_urls

from lemma_train.llm.http_client import proxy_for
from lemma_train.llm.openai_api import OpenAIModel
from lemma_train.llm.protocol import Reply, Request

COMPLETION = {"choices": [{"message": {"content": "4"}, "finish_reason": "stop"}]}


def test_a_compressed_reply_is_read():
    packed = Behaviour(raw=gzip.compress(json.dumps(COMPLETION).encode()), headers={"Content-Encoding": "gzip"})
    with TeacherServer(script=[packed]) as server:
        [reply] = ask(server, CHAT)
    assert reply.text == "4"
    assert server.requests[0].headers["accept-encoding"] == "gzip, deflate"


def test_requests_go_through_the_proxy_that_the_environment_names(monkeypatch):
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with TeacherServer() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
        [reply] = ask_urls(["http://model.invalid/v1"], CHAT)
    assert reply.text == "The answer is 4."
    assert proxy.requests[0].path == "http://model.invalid/v1/chat/completions"


def test_addresses_that_the_environment_excepts_use_no_proxy(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert proxy_for("http://127.0.0.1:8000/v1") is None
    assert proxy_for("http://10.0.0.7:8000/v1") == "http://127.0.0.1:1"


def test_a_reply_that_unpacks_without_end_is_not_read():
    bomb = Behaviour(raw=gzip.compress(b" " * (40 << 20)), headers={"Content-Encoding": "gzip"})
    torn = Behaviour(headers={"Content-Encoding": "gzip"})
    with TeacherServer(script=[bomb, torn]) as server:
        outcomes = [ask(server, CHAT, max_tries=1)[0], ask(server, CHAT, max_tries=1)[0]]
    assert "a reply of over 16 MiB" in str(outcomes[0]) and "no gzip" in str(outcomes[1])


def test_an_endless_reply_is_cut_off():
    with TeacherServer(rule=lambda body: Behaviour(raw=b" " * (17 << 20))) as server:
        [outcome] = ask(server, CHAT, max_tries=1)
    assert "a reply of over 16 MiB" in str(outcome)


def test_a_connection_that_tls_refuses_is_told_in_its_own_words():
    async def refuse(reader, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")  # a server of plain HTTP that is asked over https
        writer.close()

    async def run():
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        model = OpenAIModel("teacher", [url], KEY, on_event=print, **{**LIMITS, "max_tries": 1})
        (outcome,) = await asyncio.gather(model.generate(CHAT), return_exceptions=True)
        await model.close()
        server.close()
        return str(outcome)

    told = asyncio.run(run())
    assert "SSL" in told and "operation not permitted" not in told


def one_after_another(server, *requests):
    async def run():
        quick = {"max_tries": 1, "timeout_seconds": 0.3, "backoff_seconds": 0.01}
        model = OpenAIModel("teacher", [server.url], KEY, on_event=print, **{**LIMITS, **quick})
        outcomes = [(await asyncio.gather(model.generate(one), return_exceptions=True))[0] for one in requests]
        await model.close()
        return outcomes

    return asyncio.run(run())


def test_later_requests_differ_from_the_first_in_their_bodies_alone():
    texts = ["What is 2 + 2?", "What is 3 + 4, and why is it so, in as many words as you can find?"]
    chats = [Request("analysis", messages=({"role": "user", "content": text},)) for text in texts]
    with TeacherServer(reply=lambda body: body["messages"][0]["content"]) as server:
        replies = one_after_another(server, *chats, Request("sampling", prompt="2 + 2 ="), *chats)
    assert [reply.text for reply in replies if isinstance(reply, Reply)] == [*texts, *texts]
    asked = [seen for seen in server.requests if "messages" in seen.body]
    assert [seen.body["messages"][0]["content"] for seen in asked] == [*texts, *texts]
    headers = [{name: value for name, value in seen.headers.items() if name != "content-length"} for seen in asked]
    assert all(later == headers[0] for later in headers) and headers[0]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "fault",
    [
        *(DROPPED, HALF, late(5.0), busy("86400"), error(500, "oops"), error(301, "moved", {"Location": "/v1/x"})),
        *(error(401, f"bad key {KEY}"), error(404, "no such model"), error(422, "a field is missing")),
        error(400, "temperature must be 1", code="unsupported_value", param="temperature"),
        error(400, "too long", code="context_length_exceeded"),
        Behaviour(status=502, raw=b"<html>Bad gateway</html>"),
        Behaviour(status=400, raw=b"[" * 100_000),
    ],
    ids=lambda fault: f"{fault.status} {fault.drop or ''}",
)
def test_a_later_request_fails_as_the_first_does(fault):
    with TeacherServer(script=[fault, None, fault]) as server:
        first, well, later = one_after_another(server, CHAT, CHAT, CHAT)
    assert isinstance(well, Reply)
    assert (type(first), str(first)) == (type(later), str(later)) and not isinstance(first, Reply)
    assert len(server.requests) == 3
