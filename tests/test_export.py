"""A saved model is read back; what is wrong with it is named."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lemma_train.template import Renderer
from lemma_train.training.card import model_card
from lemma_train.training.export import check_folder
from lemma_train.training.recipe import Recipe


@pytest.fixture
def folder(tiny_llama, tmp_path):
    return Path(shutil.copytree(tiny_llama, tmp_path / "model"))


def rewrite(folder: Path, change) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_whole_model_has_no_fault(folder):
    assert check_folder(folder) == []


def test_a_missing_tensor_is_named(folder):
    rewrite(folder, lambda weights: weights.pop("model.norm.weight"))
    assert check_folder(folder) == ["model.norm.weight is missing"]


def test_a_wrong_shape_is_named(folder):
    rewrite(folder, lambda weights: weights.update({"model.norm.weight": torch.ones(3)}))
    assert "model.norm.weight has the shape (3,)" in check_folder(folder)[0]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_named(folder, value):
    rewrite(folder, lambda weights: weights["model.norm.weight"].fill_(value))
    assert check_folder(folder) == ["model.norm.weight holds values that are not finite"]


def test_an_empty_folder_is_no_model(tmp_path):
    assert check_folder(tmp_path) == ["it holds no safetensors file"]


def test_the_card_counts_the_rows_that_were_trained_on(smollm2_tokenizer, tmp_path):
    """Held-out rows are kept, too, and a weight repeats rows: neither is what its supervised tokens are of."""
    keys = {"model_name_or_path": "m", "train_files": "r.jsonl", "output_dir": str(tmp_path)}
    report = {"kept": 100, "train_rows": 95, "supervised_tokens": 4000}
    figures = {"steps": 3, "train_loss": 1.0, "processes": 1, "global_batch": 4, "seconds": 5.0}
    text = model_card(Recipe(tmp_path / "r.yaml", keys), Renderer(smollm2_tokenizer), report, figures)
    assert "95 rows, 4000 supervised tokens. 3 steps" in text
