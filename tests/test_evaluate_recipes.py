"""The evaluation recipes that ship can be read, and open with the command that runs them; bad folders are named."""

import re
from pathlib import Path

import pytest

from lemma_train.errors import InputError
from lemma_train.evaluation.recipe import load_evaluate_recipe

RECIPES = sorted((Path(__file__).parents[1] / "recipes" / "evaluate").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_that_ships_is_read_and_opens_with_its_command(path):
    settings = load_evaluate_recipe(path)
    assert path.read_text().startswith(f"# lemma evaluate recipes/evaluate/{path.name}")
    assert settings.benchmarks and settings.output_dir.startswith("outputs/evaluate/")


def test_recipes_ship():
    assert RECIPES


@pytest.mark.parametrize("key", ["output_dir", "model.model", "model.adapter", "model.tokenizer", "prompts"])
def test_the_home_of_someone_unknown_is_no_folder(key):
    told = f"{key}: '~no-such-user/x' can be no folder"
    with pytest.raises(InputError, match=re.escape(told)):
        load_evaluate_recipe(RECIPES[0], [f"--{key}", "~no-such-user/x"])
