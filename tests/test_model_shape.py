"""Shapes: parameters are counted as transformers builds them, and what is unknown or damaged is named."""

import json

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from lemma_train.errors import InputError
from lemma_train.training.model_shape import KNOWN, LINEAR, ModelShape, shape_of

LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 500,
}


def built(config: dict) -> dict[str, int]:
    """Parameters by module of the model that transformers builds on no device."""
    values = {key: value for key, value in config.items() if key != "model_type"}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(config["model_type"], **values))
    model.tie_weights()
    found = dict.fromkeys([*LINEAR, "embed_tokens", "norms", "lm_head"], 0)
    for name, parameter in model.named_parameters():
        module = name.split(".")[-2]
        found["norms" if "norm" in module else module] += parameter.numel()
    return found


def written(folder, config) -> str:
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return str(folder)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"tie_word_embeddings": True},
        {"attention_bias": True, "mlp_bias": True},
        {"head_dim": 32},
        {"num_key_value_heads": None},
        {"model_type": "mistral", "head_dim": 16},
        {"model_type": "qwen2"},
        {"model_type": "qwen2", "tie_word_embeddings": True},
        {"model_type": "qwen3", "head_dim": 24},
        {"model_type": "qwen3", "head_dim": 16, "attention_bias": True},
    ],
    ids=str,
)
def test_parameters_are_counted_as_transformers_builds_them(tmp_path, change):
    config = {key: value for key, value in {**LLAMA, **change}.items() if value is not None}
    shape = shape_of(written(tmp_path, config))
    assert shape.parameters() == built(config)
    assert shape.total == sum(built(config).values())


def test_the_recipes_models_are_known_without_their_files():
    totals = {name: shape.total for name, shape in KNOWN.items()}
    assert totals == {
        "meta-llama/Meta-Llama-3-8B": 8_030_261_248,
        "meta-llama/Meta-Llama-3-70B": 70_553_706_496,
        "deepseek-ai/deepseek-math-7b-base": 6_910_365_696,
        "mistralai/Mistral-7B-v0.1": 7_241_732_096,
        "Qwen/Qwen2-Math-7B": 7_615_616_512,
        "HuggingFaceTB/SmolLM2-135M": 134_515_008,
    }
    assert shape_of("META-LLAMA/meta-llama-3-8b").layers == 32


@pytest.mark.parametrize("name", KNOWN)
def test_the_built_in_shapes_are_those_that_transformers_builds(name):
    shape = KNOWN[name]
    config = {
        "model_type": "qwen2" if shape.qkv_bias else "llama",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "vocab_size": shape.vocab,
        "tie_word_embeddings": shape.tied,
    }
    assert shape.parameters() == built(config)


def test_a_folder_comes_before_the_table_and_smollm2s_folder_is_known_before_it_exists(
    smollm2_folder, tmp_path, monkeypatch
):
    assert shape_of(str(smollm2_folder)).total == KNOWN["HuggingFaceTB/SmolLM2-135M"].total
    monkeypatch.chdir(tmp_path)
    assert shape_of("models/smollm2-135m").total == 134_515_008


def test_layers_and_widths():
    shape = KNOWN["meta-llama/Meta-Llama-3-8B"]
    assert (shape.query, shape.key, shape.layer) == (4096, 1024, 218_112_000)
    assert shape.linear("down_proj") == (14336, 4096) and shape.largest_linear == 14336 * 4096
    assert shape.multiplied == shape.total - shape.embedding
    tied = ModelShape("t", 8, 16, 2, 2, 1, 4, 100, tied=True)
    assert tied.multiplied == tied.total and tied.parameters()["lm_head"] == 0


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ("{", "is not readable JSON"),
        ("", "is not readable JSON"),
        ("[" * 100_000, "is not readable JSON"),
        ("[]", "model_type None is not one"),
        ({"model_type": "mixtral"}, "model_type 'mixtral' is not one that `lemma plan` knows"),
        ({**LLAMA, "hidden_size": 0}, "hidden_size must be a whole number from 1 to 10000000; it is 0"),
        ({**LLAMA, "hidden_size": "64"}, "hidden_size must be a whole number"),
        ({**LLAMA, "vocab_size": 1e30}, "vocab_size must be"),
        ({**LLAMA, "num_hidden_layers": True}, "num_hidden_layers must be a whole number from 1 to 10000; it is True"),
        ({**LLAMA, "intermediate_size": None}, "intermediate_size must be"),
        ({**LLAMA, "num_key_value_heads": 3}, "4 heads cannot share 3 key-value heads"),
    ],
)
def test_a_damaged_or_unknown_config_is_named(tmp_path, config, named):
    with pytest.raises(InputError) as caught:
        shape_of(written(tmp_path, config))
    assert named in str(caught.value) and "config.json" in str(caught.value)


@pytest.mark.parametrize("name", ["someone/unknown-13b", "no such folder", "../x", ""])
def test_an_unknown_model_is_named_with_the_mend(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="give the path of a folder that holds its config"):
        shape_of(name)


def test_a_model_in_the_hubs_cache_is_read_from_there(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--someone--cached" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    written(snapshot, LLAMA)
    (tmp_path / "models--someone--cached" / "refs").mkdir()
    (tmp_path / "models--someone--cached" / "refs" / "main").write_text("abc")
    assert shape_of("someone/cached").hidden == 64
