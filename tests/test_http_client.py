"""Connections, proxies and compressed replies, against a real server."""

import gzip
import json

from teacher_server import Behaviour, TeacherServer
from test_openai_api import CHAT, ask, ask_urls

from lemma_train.llm.http_client import proxy_for

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
