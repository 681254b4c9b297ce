"""Measures that change no number: memory that is kept after it is freed, and layers that are compiled."""

import json
import resource
import subprocess
import sys

import pytest
import torch
from launching import losses, run, write_recipe
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from lemma_train.training.speed import compile_layers

FAULTS = """
import resource, sys, torch
from lemma_train.training.speed import give_back_freed_memory, keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    tensor = torch.ones(2**24)  # 64 MiB
    del tensor
before = faults()
for _ in range(20):
    tensor = torch.ones(2**24)
    del tensor
print(faults() - before)
"""


def faults(argument: str) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS, argument], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_freed_memory_is_used_again_without_new_pages():
    pages = 20 * 2**26 // resource.getpagesize()
    assert faults("default") > 0.9 * pages and faults("keep") < 0.3 * pages


RESIDENT = """
import resource, torch
from types import SimpleNamespace
from lemma_train.training.speed import STEPS_BETWEEN_RETURNS, GiveBack, keep_freed_memory
keep_freed_memory()
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
def step(number):
    GiveBack().on_step_end(None, SimpleNamespace(global_step=number), None)
    return resident() >> 20
tensors = [torch.ones(2**20) for _ in range(64)]  # 4 MiB each
last = torch.ones(2**20)
before = resident() >> 20
del tensors
print(before, step(STEPS_BETWEEN_RETURNS - 1), step(STEPS_BETWEEN_RETURNS))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_what_is_kept_is_given_back_after_a_few_steps():
    done = subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True, check=True)
    before, kept, left = map(int, done.stdout.split())
    assert kept > before - 32 and left < before - 200


CPU = torch.device("cpu")


def compiled(model: torch.nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if module._compiled_call_impl is not None]


def test_only_the_repeated_layers_are_compiled(tiny_llama):
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    assert compile_layers(model, CPU) == 2
    assert compiled(model) == ["model.layers.0", "model.layers.1"]


@pytest.mark.parametrize("cxx", ["none", "a file that may not be executed", "a folder"])
def test_without_a_compiler_the_layers_stay_as_they_are(tiny_llama, tmp_path, caplog, cxx):
    file = tmp_path / "g++"
    if cxx != "none":
        file.mkdir() if cxx == "a folder" else file.write_text("#!/bin/sh\n")
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    with torch._inductor.config.patch({"cpp.cxx": (str(file),)}):
        assert compile_layers(model, CPU, warns=False) == 0 and "compile_layers" not in caplog.text
        assert compile_layers(model, CPU) == 0 and compiled(model) == []
    assert "needs a C++ compiler" in caplog.text


@pytest.mark.parametrize("weights", ["cpu", "meta"])
def test_the_device_of_the_training_decides_and_not_that_of_the_weights(tiny_llama, weights):
    """Weights may wait on another device: under offloading on the CPU, while they are dealt out on none."""
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32).to(weights)
    with torch._inductor.config.patch({"cpp.cxx": ("/no/such/g++",)}):
        assert compile_layers(model, CPU) == 0
        assert compile_layers(model, torch.device("cuda")) == 2, "a GPU's code needs no C++ compiler of ours"


def test_a_model_without_like_layers_is_named(caplog):
    assert compile_layers(torch.nn.Linear(2, 2), torch.device("cuda")) == 0
    assert "no list of like layers" in caplog.text


@pytest.mark.slow
def test_compiled_layers_round_in_bf16_where_plain_ones_do(tiny_llama):
    """An update far below what bf16 resolves must not move the output: see `compile_layers`."""
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.bfloat16)
    model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    compile_layers(model, CPU)
    ids = torch.arange(3 * 40).view(3, 40) + 5

    def logits() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return model(ids).logits.detach().float()

    before = logits()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.constant_(parameter, 1e-9)
    assert (logits() != before).float().mean() < 0.01


@pytest.mark.slow
def test_compiled_layers_give_the_same_loss_and_gradients_for_every_shape(tiny_llama):
    plain, faster = (AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32) for _ in range(2))
    compile_layers(faster, CPU)
    before = None
    for length in (7, 12, 19):
        ids = torch.arange(3 * length).view(3, length) + 5
        mask = torch.ones_like(ids)
        mask[1, length - 3 :] = 0
        losses = [model(ids, attention_mask=mask, labels=ids).loss for model in (plain, faster)]
        for loss in losses:
            loss.backward()
        torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=1e-6)
        made = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        assert before in (None, made), "another length must need no other code"
        before = made
    for (name, one), other in zip(plain.named_parameters(), faster.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-3, atol=1e-6, msg=name)


@pytest.mark.slow
def test_a_compiled_run_that_is_resumed_is_bit_for_bit_the_undisturbed_one(tiny_llama, tmp_path):
    """Each run makes its own code, and meets other lengths first."""
    keys = {"compile_layers": True, "save_strategy": "steps", "save_steps": 2, "bf16": True}
    recipe = write_recipe(tmp_path, tiny_llama, **keys)
    again = ("--output_dir", tmp_path / "again", "--resume", tmp_path / "out" / "checkpoint-2")
    for name, overrides in (("first", ()), ("second", again)):
        done = run(recipe, *overrides, TORCHINDUCTOR_CACHE_DIR=str(tmp_path / name))
        assert done.returncode == 0, done.stderr
        record = json.loads((tmp_path / ("out" if name == "first" else "again") / "run.json").read_text())
        assert record["figures"]["compiled_layers"] == 2
    assert losses(tmp_path / "again") == losses(tmp_path / "out")[2:]
    weights = [(tmp_path / name / "final" / "model.safetensors").read_bytes() for name in ("out", "again")]
    assert weights[0] == weights[1]
