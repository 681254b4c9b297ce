"""A saved model is read back; what is wrong with it is named."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lemma_train.training.export import check_folder


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
