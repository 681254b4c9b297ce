"""What tells one model's replies from another's, and where a model is looked for."""

import asyncio
from dataclasses import replace

import pytest

from lemma_train.collection.models import identity, open_model, open_renderer
from lemma_train.collection.settings import ModelSettings
from lemma_train.errors import InputError
from lemma_train.llm.protocol import Request

SERVED = ModelSettings(engine="openai", model="qwen", base_urls=["http://127.0.0.1:1/v1"])
LOADED = ModelSettings(engine="transformers", model="org/qwen")


def test_what_is_asked_of_a_server_beside_the_prompt_makes_another_model():
    thinking = replace(SERVED, extra_body={"chat_template_kwargs": {"enable_thinking": True}, "top_k": 20})
    same = replace(SERVED, extra_body={"top_k": 20, "chat_template_kwargs": {"enable_thinking": True}})
    quiet = replace(SERVED, extra_body={"chat_template_kwargs": {"enable_thinking": False}, "top_k": 20})
    assert identity(thinking, "teacher") == identity(same, "teacher")
    assert len({identity(one, "teacher") for one in (SERVED, thinking, quiet)}) == 3


def test_addresses_and_limits_leave_the_model_the_same():
    moved = replace(SERVED, base_urls=["http://127.0.0.1:2/v1"], concurrency=4, max_tries=1, timeout_seconds=5.0)
    assert identity(moved, "teacher") == identity(SERVED, "teacher") == "openai + qwen"


def test_a_local_models_number_format_counts_and_a_server_knows_none():
    assert identity(replace(LOADED, dtype="bfloat16"), "student") != identity(LOADED, "student")
    assert identity(replace(SERVED, dtype="bfloat16"), "student") == identity(SERVED, "student")


def test_a_tilde_before_a_folder_is_the_home_folder(tiny_llama, monkeypatch):
    monkeypatch.setenv("HOME", str(tiny_llama.parent))
    at_home = replace(LOADED, model=f"~/{tiny_llama.name}", device="cpu")
    assert open_renderer(at_home) is not None

    async def answer(settings):
        model = open_model(settings, "student", print)
        try:
            return await model.generate(Request("sampling", prompt="2 + 2 =", max_tokens=2))
        finally:
            await model.close()

    assert asyncio.run(answer(at_home)).completion_tokens > 0
    with pytest.raises(InputError, match=f"The adapter {tiny_llama.parent}/none is no folder"):
        asyncio.run(answer(replace(at_home, adapter="~/none")))
    assert identity(replace(LOADED, model="~nobody/here"), "student") == "transformers + ~nobody/here"
