"""A real vLLM server understands what is sent to it: prompts as token ids, and replies held to a JSON schema; it
carries a collection as student and as teacher; and it says what transformers says, but for near-ties."""

import json

import orjson
import pytest
import yaml
from vllm_server import VllmServer, vllm_server  # noqa: F401 - the import makes the fixture known here

from lemma_train.collection.collect import collect
from lemma_train.collection.recipe import load_collect_recipe
from lemma_train.collection.stage_files import read_stage
from lemma_train.evaluation.recipe import load_evaluate_recipe
from lemma_train.evaluation.run import evaluate
from lemma_train.template import Renderer

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


def recipe(folder, server, model_folder, **keys):
    model = {
        "engine": "openai",
        "base_urls": [server.base_url],
        "model": server.model,
        "concurrency": 8,
        "outage_minutes": 0.5,
    }
    values = {
        "problems": [{"source": "generated", "kind": "word_sums", "size": 6}],
        "output_dir": str(folder),
        "seed": 1,
        "student": {**model, "tokenizer": str(model_folder), "max_tokens": 128},
        "teacher": {"engine": "offline"},
        "sampling": {"samples": 2},
        "correction": {"restart_shows": "reference"},
        **{key: {**model, **value} if key == "teacher" else value for key, value in keys.items()},
    }
    path = folder.parent / f"{folder.name}.yaml"
    path.write_text(yaml.safe_dump(values))
    return load_collect_recipe(path)


def test_a_student_behind_vllm_reads_the_ids_that_training_sees(
    vllm_server: VllmServer,  # noqa: F811
    smollm2_folder,
    smollm2_tokenizer,
    tmp_path,
):
    collect(recipe(tmp_path / "student", vllm_server, smollm2_folder))
    renderer = Renderer(smollm2_tokenizer)
    asked = {line.id: line.record["question"] for line in read_stage(tmp_path / "student", "problems")}
    journal = (tmp_path / "student" / "journal" / "replies.jsonl").read_bytes().splitlines()
    sampled = [entry for entry in map(orjson.loads, journal) if entry["task"] == "sampling"]
    assert len(sampled) == 12
    for entry in sampled:
        assert entry["prompt_tokens"] == len(renderer.prompt_ids(asked[entry["item"].split("/s")[0]]))
        assert 0 < entry["completion_tokens"] <= 128
    rows = (tmp_path / "student" / "dataset.jsonl").read_text().splitlines()
    assert {json.loads(row)["error_origin"] for row in rows} == {"student", "injected"}


def test_a_teacher_behind_vllm_follows_the_schemas_and_every_reply_is_judged(
    vllm_server: VllmServer,  # noqa: F811
    smollm2_folder,
    tmp_path,
):
    """SmolLM2 is a poor teacher: what counts is that each of its replies is read, checked, and kept or set aside."""
    chosen = recipe(
        tmp_path / "teacher",
        vllm_server,
        smollm2_folder,
        teacher={"max_tokens": 256},
        sampling={"samples": 1},
        attempts=2,
    )
    stages = ("problems", "sampling", "grading", "analysis", "injection", "correction", "smoothing")
    for stage in stages:
        collect(chosen, stage=stage)
    lines = [line for stage in stages[3:] for line in read_stage(tmp_path / "teacher", stage)]
    assert len(lines) >= 8
    for line in lines:
        assert line.kept or (line.reason and line.calls)
        assert len(line.calls) <= 2
    faults = {call.fault for line in lines for call in line.calls}
    assert "unparsable" not in faults and "missing_field" not in faults and "wrong_type" not in faults, faults
    assert {call.task for line in lines for call in line.calls} >= {"analysis", "injection"}


NEAR_TIE = 0.25  # nats; the largest seen on two CPU cores was 0.12
COMPARED = [
    {"source": "generated", "kind": "word_sums", "size": 8, "seed": 11},
    {"source": "generated", "kind": "gsm_symbolic", "size": 8, "seed": 11},
]


def answers(folder, model):
    """What an engine says to the questions above, greedily and in bfloat16: samples, and replies to the letter."""
    model = {"max_tokens": 96, "stop": [], **model}  # a stop text would hide the tokens at which answers part
    values = {"model": model, "benchmarks": COMPARED, "output_dir": str(folder)}
    path = folder.parent / f"{folder.name}.yaml"
    path.write_text(yaml.safe_dump(values))
    evaluate(load_evaluate_recipe(path))
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    entries = map(orjson.loads, (folder / "journal" / "replies.jsonl").read_bytes().splitlines())
    texts = {entry["item"]: entry["text"] for entry in entries}  # as the engine wrote them, white space included
    return samples, [texts[sample["id"]] for sample in samples]


def test_greedy_answers_are_those_of_transformers_except_after_near_ties(
    vllm_server: VllmServer,  # noqa: F811
    smollm2_folder,
    smollm2_tokenizer,
    tmp_path,
):
    """Where two answers part, the two next tokens are nearly equally likely: a model in float32 is the referee."""
    import torch
    from transformers import AutoModelForCausalLM

    served = {"engine": "openai", "model": vllm_server.model, "base_urls": [vllm_server.base_url]}
    ours, theirs = (
        answers(tmp_path / "served", {**served, "tokenizer": str(smollm2_folder)}),
        answers(tmp_path / "local", {"engine": "transformers", "model": str(smollm2_folder), "dtype": "bfloat16"}),
    )
    assert [one["prompt_tokens"] for one in ours[0]] == [one["prompt_tokens"] for one in theirs[0]]
    renderer = Renderer(smollm2_tokenizer)
    referee = AutoModelForCausalLM.from_pretrained(smollm2_folder, dtype=torch.float32).eval()
    parted, gaps = [], []
    for sample, one, other in zip(ours[0], ours[1], theirs[1], strict=True):
        prompt = renderer.prompt_ids(sample["question"])
        first, second = (smollm2_tokenizer(text, add_special_tokens=False)["input_ids"] for text in (one, other))
        ends = [smollm2_tokenizer.eos_token_id]
        with torch.inference_mode():
            chances = referee(torch.tensor([prompt + first])).logits[0, len(prompt) - 1 :].log_softmax(-1)
        top = chances[:-1].topk(2).values
        gaps += (top[:, 0] - top[:, 1]).tolist()
        if one != other:
            pairs = enumerate(zip(first + ends, second + ends, strict=False))
            place, tokens = next((place, pair) for place, pair in pairs if pair[0] != pair[1])
            gap = float(chances[place, tokens[0]] - chances[place, tokens[1]])
            parted.append((abs(gap), place, smollm2_tokenizer.convert_ids_to_tokens(tokens)))
    count = len(ours[1])
    same = count - len(parted)
    near = sum(gap <= NEAR_TIE for gap in gaps) / len(gaps)
    print(f"vLLM and transformers, greedy, bfloat16: {same} of {count} answers are the same ({same / count:.0%})")
    print(f"tokens whose two likeliest are within {NEAR_TIE} nats: {near:.1%} of {len(gaps)}")
    for gap, place, tokens in parted:
        print(f"  parted at token {place}: {tokens}, {gap:.3f} nats apart")
    assert all(gap <= NEAR_TIE for gap, *_ in parted)
    assert near < 0.25  # or it would say little that all partings are near-ties
