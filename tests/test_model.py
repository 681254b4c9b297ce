"""The model is loaded whole, in agreement with the tokenizer, and with an attention that exists."""

import logging
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, ModernBertDecoderConfig, RecurrentGemmaConfig

from lemma_train.errors import InputError
from lemma_train.training.model import adapters_in_fp32, demand_plain_logits, load_model, usable_attention
from lemma_train.training.recipe import Recipe
from lemma_train.training.tokenizer import load_tokenizer


def load(folder: Path, **keys):
    recipe = Recipe(Path("r.yaml"), {"model_name_or_path": str(folder), **keys})
    tokenizer = load_tokenizer(recipe)
    return load_model(recipe, tokenizer), tokenizer


@pytest.fixture
def damaged(tiny_llama, tmp_path):
    return Path(shutil.copytree(tiny_llama, tmp_path / "damaged"))


def test_weights_are_fp32_by_default_and_configs_agree_with_the_tokenizer(tiny_llama):
    model, tokenizer = load(tiny_llama)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    for config in (model.config, model.generation_config):
        assert config.pad_token_id == tokenizer.pad_token_id != tokenizer.eos_token_id
        assert config.eos_token_id == tokenizer.eos_token_id


def test_a_missing_tensor_is_an_error_not_a_random_layer(damaged):
    weights = load_file(damaged / "model.safetensors")
    weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file(weights, damaged / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks 1 .*layers\.1\.mlp\.up_proj"):
        load(damaged)


def test_a_cut_weights_file_is_an_error(damaged):
    file = damaged / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match="model_name_or_path"):
        load(damaged)


def test_a_config_that_is_not_json_is_an_error(damaged):
    (damaged / "config.json").write_text("{")
    with pytest.raises(InputError, match="model_name_or_path"):
        load(damaged)


@pytest.mark.parametrize(
    "config",
    [
        RecurrentGemmaConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, lru_width=32),
        ModernBertDecoderConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2),
    ],
    ids=lambda config: config.model_type,
)
def test_a_model_whose_logits_are_not_those_of_its_head_is_refused(config):
    """The fused heads leave out what it does to them; plain ones pass in the tests above."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(InputError, match=r"some/model .* does not take its logits straight from its vocabulary head"):
        demand_plain_logits("some/model", model)


def test_missing_flash_attention_falls_back_to_sdpa_with_one_warning(tiny_llama, caplog):
    with caplog.at_level(logging.WARNING, logger="lemma_train"):
        model, _ = load(tiny_llama, attn_implementation="flash_attention_2")
    assert model.config._attn_implementation == "sdpa"
    assert len([r for r in caplog.records if "flash_attention_2" in r.message and "sdpa" in r.message]) == 1


def test_other_attention_implementations_are_taken_as_they_are():
    assert [usable_attention(name) for name in (None, "eager", "sdpa")] == [None, "eager", "sdpa"]


def test_trainable_half_precision_weights_are_raised_to_fp32_and_frozen_ones_left(tiny_llama):
    model, _ = load(tiny_llama, dtype="bfloat16")
    frozen = model.model.layers[0].mlp.up_proj.weight.requires_grad_(False)
    adapters_in_fp32(model)
    assert frozen.dtype == torch.bfloat16
    assert model.model.layers[1].mlp.up_proj.weight.dtype == torch.float32
