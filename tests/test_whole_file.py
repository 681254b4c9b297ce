"""A file is whole or as it was before, whatever happens while it is written."""

import pytest

from lemma_train.errors import InputError
from lemma_train.whole_file import unfinished_name, whole_file


def test_the_file_appears_at_the_end_and_replaces_the_old_one(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("old")
    with whole_file(path) as out:
        out.write(b"new")
        out.flush()
        assert path.read_text() == "old" and unfinished_name(path).read_text() == "new"
    assert path.read_text() == "new" and [found.name for found in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_ends_the_writing_leaves_the_old_file_and_no_remains(tmp_path, error):
    path = tmp_path / "results.json"
    path.write_text("old")
    with pytest.raises(error), whole_file(path) as out:
        out.write(b"half")
        raise error
    assert path.read_text() == "old" and [found.name for found in tmp_path.iterdir()] == ["results.json"]


def test_a_full_disk_is_told_with_the_key_and_the_mend(tmp_path):
    unfinished_name(tmp_path / "full").symlink_to("/dev/full")
    message = r"^output_dir: .*/full cannot be written: No space left on device\. Make room\.$"
    with pytest.raises(InputError, match=message), whole_file(tmp_path / "full", mend="Make room.") as out:
        out.write(b"text")
    assert list(tmp_path.iterdir()) == []


def test_the_users_own_path_is_named_without_a_key(tmp_path):
    path = tmp_path / "nowhere" / "out.jsonl"
    with pytest.raises(InputError) as caught, whole_file(path, key=None):
        pass
    assert str(caught.value) == f"{path} cannot be written: No such file or directory."
