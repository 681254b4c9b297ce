"""The choices of activation checkpointing are read once, as the libraries read them."""

from pathlib import Path

import pytest
from trl import SFTConfig

from lemma_train.errors import InputError
from lemma_train.training.checkpointing import Checkpointing, checkpointing_of, make_reentrant
from lemma_train.training.recipe import Recipe


def chosen(**keys) -> Checkpointing:
    return checkpointing_of(Recipe(Path("r.yaml"), {"model_name_or_path": "m", "output_dir": "o", **keys}))


def test_every_layer_is_computed_again_unless_the_recipe_says_otherwise():
    assert chosen() == Checkpointing(on=True)
    assert not chosen(activation_checkpointing=False).on and not chosen(gradient_checkpointing=False).on
    assert chosen(activation_checkpointing=True, gradient_checkpointing=False).on, "the new name wins"


def test_choices_stand_under_the_new_name_or_the_old_one():
    assert chosen(gradient_checkpointing_kwargs={"every_n_layers": 3}).every_n_layers == 3
    both = {"activation_checkpointing_kwargs": {}, "gradient_checkpointing_kwargs": {"every_n_layers": 3}}
    assert chosen(**both).every_n_layers == 1


@pytest.mark.parametrize(
    "text", ['{"every_n_layers": 2, "offload": true}', '{"every_n_layers": "2", "offload": "True"}']
)
def test_json_text_is_read_as_the_library_reads_it(text, tmp_path):
    found = chosen(activation_checkpointing_kwargs=text)
    assert found == Checkpointing(on=True, every_n_layers=2, offload=True)
    theirs = SFTConfig(str(tmp_path), activation_checkpointing_kwargs=text, use_cpu=True, bf16=False)
    assert theirs.activation_checkpointing_kwargs == {"every_n_layers": 2, "offload": True}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"every_n_layers": 0}, "every_n_layers must be a whole number"),
        ({"every_n_layers": True}, "every_n_layers must be a whole number"),
        ({"every_n_layers": "2"}, "every_n_layers must be a whole number"),
        ({"selective": 1}, "selective must be true or false"),
        ({"offload": "cpu"}, "offload must be true or false"),
        ({"use_reentrant": None}, "use_reentrant must be true or false"),
        ("some text", "it must be a mapping"),
        ("{every_n_layers: 2", "it must be a mapping"),
    ],
)
@pytest.mark.parametrize("key", ["activation_checkpointing_kwargs", "gradient_checkpointing_kwargs"])
def test_choices_that_make_no_sense_are_named(key, given, words):
    with pytest.raises(InputError, match=f"{key}: {words}"):
        chosen(**{key: given})


@pytest.mark.parametrize("on", [True, False])
def test_the_older_way_is_asked_for_under_both_names_beside_what_was_chosen(on, tmp_path):
    keys = {"activation_checkpointing": on, "activation_checkpointing_kwargs": {"every_n_layers": 2}}
    args = SFTConfig(str(tmp_path), **keys, use_cpu=True, bf16=False)
    make_reentrant(args)
    wanted = {"every_n_layers": 2, **({"use_reentrant": True} if on else {})}
    assert args.activation_checkpointing_kwargs == args.gradient_checkpointing_kwargs == wanted
