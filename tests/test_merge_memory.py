"""What `lemma merge` holds: a shard and what is being merged, never the model."""

import errno
import json
import shutil
from pathlib import Path

import pytest
import torch
from launching import run, write_recipe
from merging import held_by_merge, tensors_of
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
)

from lemma_train.errors import InputError
from lemma_train.training import merge_stream
from lemma_train.training.merge import merge

MIB = 2**20


def assert_same_folder(one: Path, other: Path) -> None:
    assert {f.name: f.read_text() for f in one.glob("*.json") if "index" not in f.name} == {
        f.name: f.read_text() for f in other.glob("*.json") if "index" not in f.name
    }
    assert_same_tensors(one, other)


def assert_same_tensors(one: Path, other: Path) -> None:
    a, b = tensors_of(one), tensors_of(other)
    assert a.keys() == b.keys() and a
    for name, tensor in a.items():
        assert tensor.dtype == b[name].dtype and torch.equal(tensor, b[name]), name


def adapter_of(model: Path, folder: Path, **keys) -> Path:
    """A LoRA adapter whose every tensor has moved, with the base model's tokenizer."""
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(model), LoraConfig(r=4, **keys))
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += torch.randn_like(parameter) * 0.05
    return saved_with_tokenizer(adapted, model, folder)


def saved_with_tokenizer(adapted, model: Path, folder: Path) -> Path:
    adapted.save_pretrained(folder)
    for file in [*model.glob("tokenizer*"), *model.glob("*.jinja")]:
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.fixture(scope="module")
def with_biases(tmp_path_factory, smollm2_tokenizer) -> Path:
    """A random Llama with biases and an output layer of its own."""
    folder = tmp_path_factory.mktemp("with_biases")
    sizes = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": len(smollm2_tokenizer),
    }
    config = LlamaConfig(**sizes, attention_bias=True, mlp_bias=True, tie_word_embeddings=False)
    LlamaForCausalLM(config).save_pretrained(folder)
    smollm2_tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("keys", "streamed"),
    [
        ({}, True),
        ({"use_dora": True}, True),
        ({"use_rslora": True}, True),
        ({"modules_to_save": ["lm_head"]}, True),
        ({"target_modules": ["embed_tokens", "q_proj"]}, True),
        ({"modules_to_save": ["norm", "input_layernorm"], "rank_pattern": {"v_proj": 2}}, True),
        ({"target_modules": ["q_proj"], "lora_bias": True}, True),
        ({"target_modules": ["q_proj"], "modules_to_save": ["mlp"]}, False),
        ({"target_modules": ["q_proj"], "init_lora_weights": "pissa"}, False),
        ({"bias": "all"}, False),
    ],
    ids=[
        "LoRA",
        "DoRA",
        "rsLoRA",
        "a head of its own",
        "embeddings",
        "norms",
        "biases of its own",
        "blocks of its own",
        "a changed start",
        "biases",
    ],
)
@pytest.mark.parametrize("dtype", ["auto", "bfloat16"])
def test_an_adapter_merged_layer_by_layer_is_bit_for_bit_the_one_merged_whole(
    with_biases, tmp_path, monkeypatch, keys, streamed, dtype
):
    adapter = adapter_of(with_biases, tmp_path / "adapter", **{"target_modules": "all-linear", **keys})
    used = []
    real = merge_stream.of_adapter
    monkeypatch.setattr(merge_stream, "of_adapter", lambda *given: used.append(real(*given)) or used[-1])
    merge(adapter, tmp_path / "streamed", dtype)
    assert any(used) == streamed
    monkeypatch.setattr(merge_stream, "of_folder", lambda *_: None)
    merge(adapter, tmp_path / "whole", dtype)
    assert_same_folder(tmp_path / "streamed", tmp_path / "whole")


@pytest.mark.parametrize("keys", [{"modules_to_save": ["lm_head"]}, {"target_modules": ["embed_tokens", "q_proj"]}])
def test_an_adapter_on_tied_weights_is_merged_whole_and_right(tiny_llama, tmp_path, monkeypatch, keys):
    adapter = adapter_of(tiny_llama, tmp_path / "adapter", **{"target_modules": ["q_proj"], **keys})
    merge(adapter, tmp_path / "merged", "float32")
    monkeypatch.setattr(merge_stream, "of_folder", lambda *_: None)
    merge(adapter, tmp_path / "whole", "float32")
    assert_same_folder(tmp_path / "merged", tmp_path / "whole")


def test_weights_that_the_files_hold_apart_stay_apart_whatever_the_configuration_ties(tiny_llama, tmp_path):
    untied = tmp_path / "untied"
    shutil.copytree(tiny_llama, untied)
    weights = load_file(untied / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"] + 1
    save_file(weights, untied / "model.safetensors", metadata={"format": "pt"})
    for checkpoint in (untied, adapter_of(untied, tmp_path / "adapter", target_modules=["q_proj"])):
        out = tmp_path / f"merged {checkpoint.name}"
        merge(checkpoint, out)
        assert torch.equal(tensors_of(out)["lm_head.weight"], weights["lm_head.weight"]), checkpoint.name
        assert torch.equal(tensors_of(out)["model.embed_tokens.weight"], weights["model.embed_tokens.weight"])


def test_an_adapter_that_brought_a_token_keeps_its_row(with_biases, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(with_biases)
    assert tokenizer.add_tokens("<new>") == 1
    model = AutoModelForCausalLM.from_pretrained(with_biases)
    model.resize_token_embeddings(len(tokenizer))
    config = LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"])
    adapted = get_peft_model(model, config)
    adapted.save_pretrained(tmp_path / "adapter")
    tokenizer.save_pretrained(tmp_path / "adapter")
    merge(tmp_path / "adapter", tmp_path / "out")
    merged = tensors_of(tmp_path / "out")
    assert torch.equal(merged["model.embed_tokens.weight"], model.get_input_embeddings().weight)
    assert torch.equal(merged["lm_head.weight"], model.get_output_embeddings().weight)
    assert len(merged["lm_head.weight"]) == len(tokenizer)


def test_an_adapter_is_merged_into_the_revision_it_was_trained_on_with_the_ends_of_its_tokenizer(
    with_biases, tmp_path, monkeypatch
):
    adapter = adapter_of(with_biases, tmp_path / "adapter", target_modules=["q_proj"])
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "revision": "v2"}))
    asked = []
    real = merge_stream.of_folder
    monkeypatch.setattr(merge_stream, "of_folder", lambda *given: asked.append(given) or real(*given))
    merge(adapter, tmp_path / "out")
    assert asked == [(str(with_biases), "auto", "v2")]
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    assert json.loads((tmp_path / "out" / "generation_config.json").read_text())["pad_token_id"] == (
        tokenizer.pad_token_id
    )


def test_an_adapter_that_has_no_layers_is_refused_and_not_left_out(tiny_llama, tmp_path):
    prompt = PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM")
    adapter = saved_with_tokenizer(
        get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_llama), prompt), tiny_llama, tmp_path / "adapter"
    )
    with pytest.raises(InputError, match="cannot be merged"):
        merge(adapter, tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))


def stored_by_expert(folder: Path, tokenizer) -> Path:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = MixtralConfig(**sizes, vocab_size=len(tokenizer), num_hidden_layers=1, num_local_experts=2)
    MixtralForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    assert any("experts.1." in name for name in tensors_of(folder))
    return folder


def test_a_mixture_of_experts_whose_files_name_their_weights_otherwise_is_not_streamed(tmp_path, smollm2_tokenizer):
    experts = stored_by_expert(tmp_path / "experts", smollm2_tokenizer)
    assert merge_stream.of_folder(str(experts), "auto") is None
    merge(experts, tmp_path / "out")
    assert_same_tensors(tmp_path / "out", experts)


def test_a_model_with_a_part_that_stays_in_fp32_is_not_streamed_in_16_bits(tiny_llama, monkeypatch):
    monkeypatch.setattr(LlamaForCausalLM, "_keep_in_fp32_modules_strict", ["norm"])
    assert merge_stream.of_folder(str(tiny_llama), "bfloat16") is None
    assert merge_stream.of_folder(str(tiny_llama), "float32") is not None


def cut_into_shards(model: Path, folder: Path) -> dict[str, str]:
    """The model in several files; returns where its index says that each tensor lies."""
    shutil.copytree(model, folder)
    (folder / "model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(model).save_pretrained(folder, max_shard_size="1MB")
    return json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]


@pytest.mark.parametrize("lie", ["none", "the wrong file", "no such file", "one is left out"])
def test_an_index_that_lies_never_makes_another_model(tiny_llama, tmp_path, lie):
    places = cut_into_shards(tiny_llama, tmp_path / "shards")
    first, *_, last = places
    assert places[first] != places[last]
    if lie == "the wrong file":
        places[first] = places[last]
    elif lie == "no such file":
        places[first] = "model-00009-of-00009.safetensors"
    elif lie == "one is left out":
        del places[first]
    text = json.dumps({"metadata": {}, "weight_map": places})
    (tmp_path / "shards" / "model.safetensors.index.json").write_text(text)
    assert (merge_stream.of_folder(str(tmp_path / "shards"), "auto") is not None) == (lie == "none")
    try:
        merge(tmp_path / "shards", tmp_path / "out")
    except InputError:
        assert lie != "none" and not (tmp_path / "out").exists()
    else:
        assert_same_tensors(tmp_path / "out", tiny_llama)


def test_files_that_changed_between_two_merges_are_read_anew(tiny_llama, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(tiny_llama, model)
    merge(model, tmp_path / "before")
    weights = {name: tensor + 1 for name, tensor in load_file(model / "model.safetensors").items()}
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    merge(model, tmp_path / "after")
    assert_same_tensors(tmp_path / "after", model)


@pytest.mark.parametrize("failing", ["a shard", "the flush"])
def test_a_disk_that_fills_up_leaves_neither_the_folder_nor_a_part_of_it(tiny_llama, tmp_path, monkeypatch, failing):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    if failing == "a shard":
        monkeypatch.setattr(merge_stream.Unread, "pop", full)
    else:
        monkeypatch.setattr("lemma_train.training.merge.flush", full)
    with pytest.raises(InputError, match="No space left"):
        merge(tiny_llama, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_target_in_no_folder_is_an_input_error(tiny_llama, tmp_path):
    with pytest.raises(InputError, match="none/out"):
        merge(tiny_llama, tmp_path / "none" / "out")


@pytest.mark.slow
def test_a_mixture_of_experts_trained_under_zero_is_merged_into_files_by_expert(tmp_path, smollm2_tokenizer):
    experts = stored_by_expert(tmp_path / "experts", smollm2_tokenizer)
    keys = {"save_strategy": "steps", "save_steps": 1, "max_steps": 1}
    done = run(write_recipe(tmp_path, experts, **keys), config="cpu_zero2.yaml", processes=1)
    assert done.returncode == 0, done.stderr[-3000:]
    merge(tmp_path / "out" / "checkpoint-1", tmp_path / "merged")
    assert_same_tensors(tmp_path / "merged", tmp_path / "out" / "checkpoint-1")
    assert tensors_of(tmp_path / "merged").keys() == tensors_of(experts).keys()


@pytest.mark.slow
def test_merging_an_adapter_holds_a_shard_and_not_the_model(tmp_path, smollm2_folder):
    adapter = adapter_of(smollm2_folder, tmp_path / "adapter", target_modules="all-linear")
    held = held_by_merge(adapter, tmp_path / "out", "float32", "20MB")
    written = tensors_of(tmp_path / "out")
    model, largest = sum(t.nbytes for t in written.values()), max(t.nbytes for t in written.values())
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 10
    assert held < 20e6 + 2 * largest + 64 * MIB < 0.7 * model, f"{held / MIB:.0f} MiB of {model / MIB:.0f}"
