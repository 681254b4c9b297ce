"""The model of memory keeps the rules that every such model must keep, and some figures that are known."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from lemma_train.errors import InputError
from lemma_train.training.memory import GIB, memory
from lemma_train.training.memory_host import host
from lemma_train.training.memory_setting import Adapter, Setting, optimizer_bytes, setting_of
from lemma_train.training.model_shape import KNOWN, LINEAR, shape_of
from lemma_train.training.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("llama3_8b", "llama3_70b", "llama3_8b_lora", "llama3_8b_qlora", "smollm2_135m")


def setting(name: str = "llama3_8b", gpus: int = 8, *overrides: str) -> Setting:
    recipe = load_recipe(ROOT / "recipes" / f"{name}.yaml", overrides)
    shape = shape_of(recipe["model_name_or_path"])
    return setting_of(recipe, shape, {}, gpus, 8, recipe["max_length"], True)


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def zero(base: Setting, stage: int) -> Setting:
    return replace(base, sharding=replace(base.sharding, stage=stage))


def test_zero3_holds_sixteen_bytes_a_parameter_over_all_gpus():
    kept = memory(setting())
    parameters = KNOWN["meta-llama/Meta-Llama-3-8B"].total
    assert kept.state_bytes == pytest.approx(16 * parameters / 8, rel=1e-3)
    assert kept.state["weights"] == pytest.approx(2 * parameters / 8, rel=2e-3)
    assert kept.state["master weights"] == 4 * parameters / 8
    assert kept.state["optimizer states"] == 8 * parameters / 8


def test_what_each_zero_stage_splits():
    parameters = KNOWN["meta-llama/Meta-Llama-3-8B"].total
    wanted = {1: 2 + 2 + 12 / 8, 2: 2 + 14 / 8, 3: 16 / 8}
    for stage, each in wanted.items():
        assert memory(zero(setting(), stage)).state_bytes == pytest.approx(each * parameters, rel=2e-3)


def test_without_deepspeed_every_gpu_holds_fp32_weights_gradients_and_moments():
    plain = setting("llama3_8b", 8, "--deepspeed", "null", "--dtype", "float32")
    assert memory(plain).state_bytes == 16 * plain.shape.total
    assert memory(plain).state["master weights"] == 0
    # DistributedDataParallel's buckets are as large as the gradients; one process has none.
    alone = replace(plain, gpus=1)
    buckets = [memory(s).moments["in the optimizer step"]["working buffers"] for s in (plain, alone)]
    assert buckets == [4 * plain.shape.total, 0]


def test_fsdp_splits_everything():
    recipe = load_recipe(ROOT / "recipes" / "llama3_8b.yaml", ["--deepspeed", "null", "--dtype", "float32"])
    fsdp = {"ACCELERATE_USE_FSDP": "true"}
    split = setting_of(recipe, KNOWN["meta-llama/Meta-Llama-3-8B"], fsdp, 8, 8, 4096, True)
    assert memory(split).state_bytes == 16 * split.shape.total / 8


def test_lora_counts_its_matrices_and_quantised_weights_are_small():
    lora, qlora = setting("llama3_8b_lora", 1), setting("llama3_8b_qlora", 1)
    assert lora.trainable == 41_943_040 and qlora.trainable == 4 * lora.trainable  # rank 16 and 64, all linear layers
    assert memory(lora).state["weights"] == 2 * lora.shape.total + 4 * lora.trainable
    assert 5.3 < (memory(qlora).state["weights"] - 4 * qlora.trainable) / GIB < 5.7
    nested = replace(qlora, nested_quantisation=False)
    assert memory(nested).state["weights"] - memory(qlora).state["weights"] == pytest.approx(
        0.37 / 8 * qlora.shape.in_linear_layers, rel=0.02
    )
    whole = replace(lora, adapter=Adapter(16, LINEAR, True, saved=("lm_head",)))
    assert whole.trainable - lora.trainable == lora.shape.embedding


def test_adapters_default_to_pefts_own_targets_and_unknown_ones_are_named():
    recipe = ROOT / "recipes" / "llama3_8b_lora.yaml"
    shape = KNOWN["meta-llama/Meta-Llama-3-8B"]
    default = load_recipe(recipe, ["--lora_target_modules", "null"])
    assert setting_of(default, shape, {}, 1, 8, 10, True).adapter.targets == ("q_proj", "v_proj")
    for key, value in (("lora_target_modules", "[q_proj, wo]"), ("lora_modules_to_save", "[norm]")):
        with pytest.raises(InputError, match=f"{key}: `lemma plan` cannot count"):
            setting_of(load_recipe(recipe, [f"--{key}", value]), shape, {}, 1, 8, 10, True)


def test_inputs_of_layers_that_wait_on_the_host_leave_the_gpu():
    base = setting("llama3_8b", 8, "--activation_checkpointing_kwargs", "{every_n_layers: 2}")
    moved = setting("llama3_8b", 8, "--activation_checkpointing_kwargs", "{every_n_layers: 2, offload: true}")
    entered = base.tokens * base.shape.hidden * 2
    for moment, kept in (("at the loss", 16), ("in the backward pass", 15)):  # one is fetched for its layer
        parts = [memory(s).moments[moment]["activations"] for s in (base, moved)]
        assert parts[0] - parts[1] == kept * entered
    # Eight GPUs a node; pinned memory comes in powers of two.
    assert host(base).activations == 0 and entered <= host(moved).activations / (8 * 16) < 2 * entered
    assert host(moved).total_bytes - host(base).total_bytes == host(moved).activations
    plain = replace(moved, checkpointing=False)
    assert host(plain).activations == 0 and memory(plain) == memory(replace(base, checkpointing=False))


@pytest.mark.parametrize("name", NAMES)
def test_memory_never_grows_with_what_saves_it(name):
    base = setting(name, 8)
    for length, rows in itertools.product((128, 4096), (1, 4)):
        here = replace(base, length=length, micro_batch=rows)
        need = memory(here).total_bytes
        chosen = [replace(here, checkpointing=True), replace(here, checkpointing=True, every_n_layers=2)]
        chosen = [memory(each).total_bytes for each in (*chosen, replace(here, checkpointing=False))]
        assert chosen == sorted(chosen)
        assert memory(replace(here, checkpointing=True, keeps_attention=True)).total_bytes >= chosen[0]
        assert memory(replace(here, length=2 * length)).total_bytes >= need
        assert memory(replace(here, micro_batch=2 * rows)).total_bytes >= need
        assert memory(replace(here, padded=False)).total_bytes <= need
        assert memory(replace(here, attention="eager")).total_bytes >= need
    longest = [memory(replace(base, length=length)).total_bytes for length in (128, 4096)]
    assert longest[0] < longest[1]


@pytest.mark.parametrize("name", ["llama3_8b", "llama3_70b", "llama3_70b_lora"])
def test_more_gpus_never_need_more_memory_each_under_zero(name):
    base = setting(name, 2)
    for stage in (1, 2, 3):
        needs = [memory(replace(zero(base, stage), gpus=gpus)).total_bytes for gpus in (2, 4, 8, 16, 64, 512)]
        assert needs == sorted(needs, reverse=True) and needs[-1] < needs[0]
    stages = [memory(zero(base, stage)).state_bytes for stage in (1, 2, 3)]
    assert stages == sorted(stages, reverse=True)


def test_offloading_moves_state_from_the_gpus_to_their_node():
    base = setting("llama3_70b", 8)
    optimizer = replace(base, sharding=replace(base.sharding, offload_optimizer="cpu"))
    both = replace(base, sharding=replace(base.sharding, offload_optimizer="cpu", offload_params="cpu"))
    needs = [memory(s).total_bytes for s in (base, optimizer, both)]
    held = [host(s).offloaded for s in (base, optimizer, both)]
    assert needs == sorted(needs, reverse=True) and held == sorted(held) and held[0] == 0
    # fp32 weights, moments and gradients and 16-bit gradients: 18 bytes a parameter; with the weights 20.
    assert held[1] == pytest.approx(18 * base.shape.total) and held[2] == pytest.approx(20 * base.shape.total)
    nvme = replace(base, sharding=replace(base.sharding, offload_optimizer="nvme", offload_params="nvme"))
    assert host(nvme).offloaded < 0.6 * held[1] and memory(nvme).total_bytes == needs[2]


def test_the_fullest_node_loads_the_model_once_under_zero3_and_once_a_process_without():
    assert host(setting()).loading == 2 * setting().shape.total
    plain = setting("llama3_8b", 8, "--deepspeed", "null", "--dtype", "float32")
    assert host(plain).loading == 8 * 4 * plain.shape.total
    assert host(setting("llama3_8b_qlora", 1)).loading < 3 * GIB


def test_optimizers_that_hold_less_are_counted_less():
    known = load_recipe(ROOT / "recipes" / "llama3_8b.yaml")
    assert known["optim"] == "adamw_torch_fused"
    sizes = {name: optimizer_bytes(name) for name in ("adamw_torch", "paged_adamw_32bit", "adamw_bnb_8bit", "sgd")}
    assert sizes == {"adamw_torch": 8, "paged_adamw_32bit": 8, "adamw_bnb_8bit": 2, "sgd": 0}


@pytest.mark.parametrize("value", ["-1", "true", "many"])
def test_a_size_in_the_deepspeed_file_that_makes_no_sense_is_named(value):
    zero3 = (
        f"{{zero_optimization: {{stage: 3, stage3_gather_16bit_weights_on_model_save: true, sub_group_size: {value}}}}}"
    )
    with pytest.raises(InputError, match="sub_group_size must be a number not below 0"):
        setting("llama3_8b", 8, "--deepspeed", zero3)
