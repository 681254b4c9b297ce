"""Under ZeRO-3 no rank holds more of the model in its own memory than its share and what is being dealt out."""

import json
import subprocess

import pytest
import torch
from launching import BIN, ROOT, environment, write_recipe
from safetensors import safe_open
from transformers import LlamaConfig, LlamaForCausalLM

MIB = 2**20


@pytest.fixture(scope="module")
def many_shards(tmp_path_factory, smollm2_tokenizer):
    """A random Llama of 450 MiB in eight files."""
    folder = tmp_path_factory.mktemp("many_shards")
    config = LlamaConfig(
        vocab_size=len(smollm2_tokenizer),
        hidden_size=512,
        intermediate_size=4096,
        num_hidden_layers=30,
        num_attention_heads=8,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        dtype=torch.bfloat16,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder, max_shard_size="60MB")
    smollm2_tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_a_rank_holds_its_share_and_two_tensors_while_it_loads_with_and_without_an_adapter(many_shards, tmp_path):
    keys = {"dtype": "bfloat16", "bf16": True, "use_peft": True, "lora_r": 4, "lora_target_modules": "all-linear"}
    recipe = write_recipe(tmp_path, many_shards, **keys)
    # glibc keeps small pieces that were freed, and whole parameters count as small: on CPUs, where ZeRO-3's buffers
    # are host memory, the ranks would seem to hold what they have let go of. Every piece is given back at once here.
    env = environment(MALLOC_MMAP_THRESHOLD_="65536", PYTHONPATH=str(ROOT))
    config = ROOT / "accelerate_configs" / "cpu_zero3.yaml"
    command = [BIN / "accelerate", "launch", "--config_file", config, ROOT / "tests" / "zero3_loading.py"]
    done = subprocess.run(
        [*command, recipe, tmp_path], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]

    sizes = []
    for file in many_shards.glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            sizes += [tensors.get_tensor(name).nbytes for name in tensors.keys()]  # noqa: SIM118
    model, largest = sum(sizes), max(sizes)
    bound = model / 2 + 2 * largest + 48 * MIB
    assert bound < 0.9 * model, "the bound must tell a share from a whole copy"
    for rank in (0, 1):
        found = json.loads((tmp_path / f"rank-{rank}.json").read_text())
        assert model / 2 < found["loaded"] < bound, f"rank {rank}: {found['loaded'] / MIB:.0f} MiB"
        assert found["adapted"] < bound, f"rank {rank} with an adapter: {found['adapted'] / MIB:.0f} MiB"
