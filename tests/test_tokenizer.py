"""Padding that never equals an end token, on the real tokenizers."""

import copy

import pytest

from lemma_train.errors import InputError
from lemma_train.training.recipe import Recipe
from lemma_train.training.tokenizer import NEW_PAD, load_tokenizer, settle_padding


def test_smollm2_pads_with_its_unknown_token_because_its_own_pad_is_eos(smollm2_tokenizer):
    tokenizer = copy.deepcopy(smollm2_tokenizer)
    tokenizer.pad_token = tokenizer.eos_token  # as the instruct model ships
    assert settle_padding(tokenizer) == "unknown"
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<|endoftext|>", "<|im_end|>")


def test_llama3_pads_with_a_reserved_token(llama3_tokenizer):
    tokenizer = copy.deepcopy(llama3_tokenizer)
    assert settle_padding(tokenizer) == "reserved"
    # Llama-3.1's names: Llama-3 calls the same id reserved_special_token_2 and pads with 128002.
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("<|finetune_right_pad_id|>", 128004)
    assert tokenizer.eos_token_id == 128001


def test_an_own_pad_token_is_kept(llama3_tokenizer):
    tokenizer = copy.deepcopy(llama3_tokenizer)
    tokenizer.pad_token = "<|reserved_special_token_5|>"
    assert settle_padding(tokenizer) == "own"
    assert tokenizer.pad_token == "<|reserved_special_token_5|>"


def test_a_vocabulary_without_a_free_token_gets_a_new_one(smollm2_tokenizer):
    tokenizer = copy.deepcopy(smollm2_tokenizer)
    tokenizer.unk_token = None
    tokenizer.pad_token = tokenizer.eos_token
    size = len(tokenizer)
    assert settle_padding(tokenizer) == "new"
    assert tokenizer.pad_token == NEW_PAD and tokenizer.pad_token_id == size


def _recipe(**keys) -> Recipe:
    from pathlib import Path

    return Recipe(Path("r.yaml"), keys)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/nowhere/model", r"there is no folder /nowhere/model\.$"),
        ("someone/some-model", r"'someone/some-model' is neither a folder here nor a model that can be loaded"),
        ("models/smollm2-135m", r"there is no folder models/smollm2-135m here; in the checkout"),
    ],
)
def test_a_model_that_is_not_here_is_named(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=rf"^model_name_or_path: {message}"):
        load_tokenizer(_recipe(model_name_or_path=name))


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(InputError, match="model_name_or_path"):
        load_tokenizer(_recipe(model_name_or_path=str(tmp_path)))


def test_an_eos_token_outside_the_vocabulary_is_named(smollm2_folder):
    with pytest.raises(InputError, match="eos_token"):
        load_tokenizer(_recipe(model_name_or_path=str(smollm2_folder), eos_token="<nope>"))
