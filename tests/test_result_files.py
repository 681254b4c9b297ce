"""Samples and results of an evaluation get their names together, or not at all."""

import hashlib
import json
import os

import pytest

from lemma_train.errors import InputError
from lemma_train.evaluation.result_files import whole_files


def written(folder, *texts):
    with whole_files(folder) as out:
        for text in texts:
            out.write([{"response": text}])
        return out.finish({"name": texts[0]})


def test_the_results_tell_the_samples_that_they_were_made_of(tmp_path):
    results = json.loads(written(tmp_path, "a", "b").read_text())
    samples = (tmp_path / "samples.jsonl").read_bytes()
    assert results["samples_file"] == {"lines": 2, "sha256": hashlib.sha256(samples).hexdigest()}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json", "samples.jsonl"]


def test_what_fails_before_the_end_leaves_the_former_files_as_they_were(tmp_path):
    written(tmp_path, "former")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(KeyboardInterrupt), whole_files(tmp_path) as out:
        out.write([{"response": "new"}])
        raise KeyboardInterrupt
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(InputError, match=r"output_dir: .*missing cannot be written"), whole_files(tmp_path / "missing"):
        pass


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_full_disk_is_named_and_leaves_nothing_behind(tmp_path):
    (tmp_path / ".samples.jsonl.unfinished").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"No space left"), whole_files(tmp_path) as out:
        out.write([{"response": "x" * 100_000}])
    assert list(tmp_path.iterdir()) == []
