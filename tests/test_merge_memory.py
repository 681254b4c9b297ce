"""What `lemma merge` holds: a shard and what is being merged, never the model."""

from pathlib import Path

import pytest
import torch
from merging import held_by_merge, tensors_of
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

from lemma_train.training import merge_stream
from lemma_train.training.merge import merge

MIB = 2**20


def assert_same_folder(one: Path, other: Path) -> None:
    assert {f.name: f.read_text() for f in one.glob("*.json") if "index" not in f.name} == {
        f.name: f.read_text() for f in other.glob("*.json") if "index" not in f.name
    }
    a, b = tensors_of(one), tensors_of(other)
    assert a.keys() == b.keys() and a
    for name, tensor in a.items():
        assert tensor.dtype == b[name].dtype and torch.equal(tensor, b[name]), name


def adapter_of(model: Path, folder: Path, **keys) -> Path:
    """A LoRA adapter whose every tensor has moved, with the base model's tokenizer."""
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(model), LoraConfig(r=4, **keys))
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = torch.randn_like(parameter) * 0.05
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
        ({"bias": "all"}, False),
    ],
    ids=["LoRA", "DoRA", "rsLoRA", "a head of its own", "embeddings", "biases"],
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


def test_a_mixture_of_experts_whose_files_name_their_weights_otherwise_is_not_streamed(tmp_path, smollm2_tokenizer):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = MixtralConfig(**sizes, vocab_size=len(smollm2_tokenizer), num_hidden_layers=1, num_local_experts=2)
    MixtralForCausalLM(config).save_pretrained(tmp_path)
    assert any("experts.1." in name for name in tensors_of(tmp_path)), "stored by expert"
    assert merge_stream.of_folder(str(tmp_path), "auto") is None


@pytest.mark.slow
def test_merging_an_adapter_holds_a_shard_and_not_the_model(tmp_path, smollm2_folder):
    adapter = adapter_of(smollm2_folder, tmp_path / "adapter", target_modules="all-linear")
    held = held_by_merge(adapter, tmp_path / "out", "float32", "20MB")
    written = tensors_of(tmp_path / "out")
    model, largest = sum(t.nbytes for t in written.values()), max(t.nbytes for t in written.values())
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 10
    assert held < 20e6 + 2 * largest + 64 * MIB < 0.7 * model, f"{held / MIB:.0f} MiB of {model / MIB:.0f}"
