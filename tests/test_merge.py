"""`lemma merge` refuses what it cannot merge, and writes nothing then."""

import pytest

from lemma_train.cli import main


def run_lemma(*arguments) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    return ended.value.code


@pytest.mark.parametrize("kind", ["no folder", "empty folder", "existing target"])
def test_bad_arguments_are_input_errors(tiny_llama, tmp_path, kind):
    from pathlib import Path

    from lemma_train.errors import InputError
    from lemma_train.training.merge import merge

    (tmp_path / "empty").mkdir()
    sources = {"no folder": tmp_path / "x", "empty folder": tmp_path / "empty", "existing target": Path(tiny_llama)}
    target = tmp_path / ("empty" if kind == "existing target" else "out")
    with pytest.raises(InputError):
        merge(sources[kind], target)
    assert not (tmp_path / "out").exists()


def test_a_plain_model_is_written_in_the_wanted_type(tiny_llama, tmp_path):
    import torch
    from safetensors.torch import load_file

    from lemma_train.training.merge import merge

    merge(tiny_llama, tmp_path / "out", "bfloat16")
    assert {t.dtype for t in load_file(tmp_path / "out" / "model.safetensors").values()} == {torch.bfloat16}


def test_unknown_arguments_are_refused():
    assert run_lemma("merge", "a", "b", "--dtyp", "float32") == 2
