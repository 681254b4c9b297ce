"""`lemma merge` refuses what it cannot merge, and writes nothing then."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lemma_train.cli import main
from lemma_train.errors import InputError
from lemma_train.training.merge import merge


def run_lemma(*arguments) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    return ended.value.code


@pytest.mark.parametrize("kind", ["no folder", "empty folder", "existing target"])
def test_bad_arguments_are_input_errors(tiny_llama, tmp_path, kind):

    (tmp_path / "empty").mkdir()
    sources = {"no folder": tmp_path / "x", "empty folder": tmp_path / "empty", "existing target": Path(tiny_llama)}
    target = tmp_path / ("empty" if kind == "existing target" else "out")
    named = "exists already" if kind == "existing target" else "name a checkpoint-N or a final folder"
    with pytest.raises(InputError, match=named):
        merge(sources[kind], target)
    assert not (tmp_path / "out").exists()


def test_a_plain_model_is_written_in_the_wanted_type(tiny_llama, tmp_path):

    merge(tiny_llama, tmp_path / "out", "bfloat16")
    assert {t.dtype for t in load_file(tmp_path / "out" / "model.safetensors").values()} == {torch.bfloat16}


def test_a_model_without_one_of_its_tensors_is_refused_not_completed(tiny_llama, tmp_path):
    lacking = tmp_path / "lacking"
    shutil.copytree(tiny_llama, lacking)
    weights = load_file(lacking / "model.safetensors")
    weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file(weights, lacking / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="up_proj"):
        merge(lacking, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lacking"]


def test_a_half_saved_checkpoint_is_refused(tiny_llama, tmp_path):
    shutil.copytree(tiny_llama, tmp_path / "checkpoint-3")
    with pytest.raises(InputError, match="incomplete"):
        merge(tmp_path / "checkpoint-3", tmp_path / "out")


def test_unknown_arguments_are_refused():
    assert run_lemma("merge", "a", "b", "--dtyp", "float32") == 2
