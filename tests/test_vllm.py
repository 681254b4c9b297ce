"""A real vLLM server understands what is sent to it: prompts as token ids, and replies held to a JSON schema."""

import json

import pytest
from vllm_server import VllmServer, vllm_server  # noqa: F401 - the import makes the fixture known here

pytestmark = pytest.mark.slow


def test_a_prompt_of_token_ids_is_taken_as_it_is(vllm_server: VllmServer, smollm2_tokenizer):  # noqa: F811
    """No second BOS and no other change: the server counts exactly the ids that were sent."""
    ids = smollm2_tokenizer("<|im_start|>user\nHow much is 2 + 3?")["input_ids"]
    answer = vllm_server.post(
        "completions", {"prompt": ids, "max_tokens": 8, "temperature": 0, "return_token_ids": True}
    )
    assert answer["usage"]["prompt_tokens"] == len(ids)
    assert answer["choices"][0]["prompt_token_ids"] == ids
    assert answer["usage"]["completion_tokens"] <= 8


def test_a_seeded_completion_is_the_same_twice(vllm_server: VllmServer):  # noqa: F811
    body = {"prompt": "Two and two are", "max_tokens": 12, "temperature": 0.7, "seed": 5}
    first, second = (vllm_server.post("completions", body)["choices"][0]["text"] for _ in range(2))
    assert first == second


def test_a_chat_reply_follows_its_schema(vllm_server: VllmServer):  # noqa: F811
    schema = {
        "type": "object",
        "properties": {"verdict": {"enum": ["wrong", "correct"]}, "step": {"type": "integer"}},
        "required": ["verdict", "step"],
        "additionalProperties": False,
    }
    answer = vllm_server.post(
        "chat/completions",
        {
            "messages": [{"role": "user", "content": "Is 2 + 2 = 5 right? In which step is the mistake?"}],
            "max_tokens": 60,
            "temperature": 0,
            "response_format": {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}},
        },
    )
    choice = answer["choices"][0]
    assert choice["finish_reason"] == "stop"
    reply = json.loads(choice["message"]["content"])
    assert reply.keys() == {"verdict", "step"}
    assert reply["verdict"] in ("wrong", "correct") and type(reply["step"]) is int
