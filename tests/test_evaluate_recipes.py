"""The evaluation recipes that ship can be read, and open with the command that runs them."""

from pathlib import Path

import pytest

from lemma_train.evaluation.recipe import load_evaluate_recipe

RECIPES = sorted((Path(__file__).parents[1] / "recipes" / "evaluate").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_that_ships_is_read_and_opens_with_its_command(path):
    settings = load_evaluate_recipe(path)
    assert path.read_text().startswith(f"# lemma evaluate recipes/evaluate/{path.name}")
    assert settings.benchmarks and settings.output_dir.startswith("outputs/evaluate/")


def test_recipes_ship():
    assert RECIPES
