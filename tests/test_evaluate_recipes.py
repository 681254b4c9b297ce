"""The evaluation recipes that ship can be read, and open with the command that runs them; bad folders are named."""

import re
from pathlib import Path

import pytest

from lemma_train.errors import InputError
from lemma_train.evaluation.recipe import load_evaluate_recipe

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes" / "evaluate").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_that_ships_is_read_and_opens_with_its_command(path):
    settings = load_evaluate_recipe(path)
    assert path.read_text().startswith(f"# lemma evaluate recipes/evaluate/{path.name}")
    assert settings.benchmarks and settings.output_dir.startswith("outputs/evaluate/")


def test_recipes_ship():
    assert RECIPES


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("--model.engine", "openai", "--model.adapter", "x"), "a server applies no adapter"),
        (("--model.engine", "transformers", "--model.extra_body", "{top_k: 1}"), "extra_body: it goes to servers only"),
    ],
)
def test_what_an_engine_would_not_heed_is_refused(overrides, message):
    with pytest.raises(InputError, match=message):
        load_evaluate_recipe(ROOT / "recipes" / "evaluate" / "smollm2_gsm8k.yaml", overrides)


@pytest.mark.parametrize("key", ["output_dir", "model.model", "model.adapter", "model.tokenizer", "prompts"])
def test_the_home_of_someone_unknown_is_no_folder(key):
    told = f"{key}: '~no-such-user/x' can be no folder"
    with pytest.raises(InputError, match=re.escape(told)):
        load_evaluate_recipe(RECIPES[0], [f"--{key}", "~no-such-user/x"])
