"""The fingerprint of a model's folder tells what it holds, not where it lies."""

import shutil

import pytest

from lemma_train.llm.weights import weights_fingerprint


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "model"
    made.mkdir()
    (made / "config.json").write_text("{}")
    (made / "model.safetensors").write_bytes(bytes(range(256)) * 20_000)
    return made


def test_a_copy_elsewhere_is_the_same_model(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "elsewhere" / "copy")
    assert weights_fingerprint(copy) == weights_fingerprint(folder)


@pytest.mark.parametrize("place", [0, -1])
def test_weights_of_the_same_size_are_told_apart(folder, place):
    before = weights_fingerprint(folder)
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    assert weights_fingerprint(folder) != before


def test_the_configuration_counts(folder):
    before = weights_fingerprint(folder)
    (folder / "config.json").write_text('{"rope_theta": 1}')
    assert weights_fingerprint(folder) != before


def test_a_small_adapter_is_read_whole(tmp_path):
    file = tmp_path / "adapter_model.safetensors"
    prints = set()
    for place in range(0, 9_000, 1_000):
        content = bytearray(10_000)
        content[place] = 1
        file.write_bytes(content)
        prints.add(weights_fingerprint(tmp_path))
    assert len(prints) == 9


def test_a_folder_without_weights_has_none(tmp_path):
    assert weights_fingerprint(tmp_path) is None
