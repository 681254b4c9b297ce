"""Which checkpoint counts, and when a resume is refused."""

import json
from pathlib import Path

import pytest

from lemma_train.errors import InputError
from lemma_train.training import checkpoints
from lemma_train.training.checkpoints import Course
from lemma_train.training.recipe import Recipe
from lemma_train.training.resume import checkpoint_to_resume

COURSE = Course({"learning_rate": 1e-5}, data="d1", template="t1", processes=2, zero_stage=0)


def saved(output_dir: Path, step: int, course: Course | None = COURSE) -> Path:
    folder = output_dir / f"checkpoint-{step}"
    (folder / "global_step").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"w" * 100)
    (folder / "global_step" / "shard.pt").write_bytes(b"s" * 50)
    if course:
        checkpoints.mark_complete(folder, course)
    return folder


def decide(output_dir: Path, course: Course = COURSE, resume: str = "auto"):
    recipe = Recipe(Path("r.yaml"), {"output_dir": str(output_dir), "resume": resume})
    return checkpoint_to_resume(recipe, course)


def test_the_newest_complete_checkpoint_is_taken_by_number_not_by_name(tmp_path):
    saved(tmp_path, 9)
    newest = saved(tmp_path, 10)
    assert decide(tmp_path)[0] == newest


@pytest.mark.parametrize("damage", ["no marker", "cut file", "missing file", "cut marker"])
def test_a_half_written_checkpoint_is_skipped_and_named(tmp_path, damage):
    whole = saved(tmp_path, 3)
    broken = saved(tmp_path, 6)
    if damage == "no marker":
        (broken / checkpoints.MARKER).unlink()
    elif damage == "cut file":
        (broken / "global_step" / "shard.pt").write_bytes(b"s" * 49)
    elif damage == "missing file":
        (broken / "model.safetensors").unlink()
    else:
        text = (broken / checkpoints.MARKER).read_text()
        (broken / checkpoints.MARKER).write_text(text[: len(text) // 2])
    checkpoint, notes = decide(tmp_path)
    assert checkpoint == whole
    assert any("checkpoint-6 is incomplete" in note for note in notes)


def test_without_a_complete_checkpoint_the_run_starts_anew_and_says_why(tmp_path):
    saved(tmp_path, 3, course=None)
    checkpoint, notes = decide(tmp_path)
    assert checkpoint is None and "checkpoint-3 is incomplete" in notes[0]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"keys": {"learning_rate": 2e-5}}, "learning_rate was 1e-05, now 2e-05"),
        ({"keys": {}}, "learning_rate was 1e-05, now (not set)"),
        ({"data": "d2"}, "rows"),
        ({"template": "t2"}, "template"),
    ],
)
def test_auto_refuses_a_changed_run_and_names_the_difference(tmp_path, change, words):
    checkpoint = saved(tmp_path, 3)
    changed = Course(**{**COURSE.__dict__, **change})
    with pytest.raises(InputError, match="another run") as refusal:
        decide(tmp_path, changed)
    assert words in str(refusal.value) and str(checkpoint) in str(refusal.value)
    assert checkpoints.is_complete(checkpoint)


def test_a_named_checkpoint_is_resumed_in_spite_of_changes_which_are_told(tmp_path):
    checkpoint = saved(tmp_path, 3)
    changed = Course({"learning_rate": 2e-5}, "d1", "t1", 2, 0)
    found, notes = decide(tmp_path, changed, resume=str(checkpoint))
    assert found == checkpoint and "learning_rate was 1e-05, now 2e-05" in notes[0]


def test_never_refuses_a_folder_with_checkpoints(tmp_path):
    saved(tmp_path, 3)
    with pytest.raises(InputError, match="resume: never"):
        decide(tmp_path, resume="never")


def test_a_named_checkpoint_that_is_not_whole_is_refused(tmp_path):
    with pytest.raises(InputError, match="no complete checkpoint"):
        decide(tmp_path, resume=str(saved(tmp_path, 3, course=None)))


def test_keys_that_only_report_or_save_do_not_count_as_changes():
    def course(**keys):
        given = {"model_name_or_path": "m", "output_dir": "o", "learning_rate": 1e-5, **keys}
        return checkpoints.course_of(Recipe(Path("r.yaml"), given), {}, "d", "t")

    quiet = course(logging_steps=5, save_steps=9, output_dir="elsewhere", report_to="tensorboard")
    assert course().differences(quiet) == []
    assert course().differences(course(learning_rate=2e-5)) == ["learning_rate was 1e-05, now 2e-05"]


def test_an_older_checkpoint_is_not_resumed_beside_later_ones(tmp_path):
    older = saved(tmp_path, 3)
    saved(tmp_path, 6)
    with pytest.raises(InputError, match="older than checkpoint-6"):
        decide(tmp_path, resume=str(older))


def test_the_deepspeed_configuration_counts_by_its_content_whoever_names_it(tmp_path):
    config = tmp_path / "zero.json"

    def course(environ, **keys):
        given = {"model_name_or_path": "m", "output_dir": "o", **keys}
        return checkpoints.course_of(Recipe(Path("r.yaml"), given), environ, "d", "t")

    config.write_text('{"zero_optimization": {"stage": 2}}')
    by_launcher = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_CONFIG_FILE": str(config)}
    named = course({}, deepspeed=str(config))
    assert named.differences(course(by_launcher)) == []
    config.write_text('{"zero_optimization": {"stage": 2, "overlap_comm": true}}')
    assert "deepspeed" in named.differences(course({}, deepspeed=str(config)))[0]


def test_rotation_counts_complete_checkpoints_only_and_spares_the_best(tmp_path):
    best, second, third = saved(tmp_path, 1), saved(tmp_path, 2), saved(tmp_path, 3)
    broken, newest = saved(tmp_path, 4, course=None), saved(tmp_path, 5)
    later = saved(tmp_path, 6, course=None)  # not this run's to delete: a save that discards it will come there
    checkpoints.rotate(tmp_path, keep=2, best=str(best))
    assert [p.exists() for p in (best, second, third, broken, newest, later)] == [True, False, True, False, True, True]


def test_rotation_without_a_limit_keeps_every_complete_checkpoint(tmp_path):
    folders = [saved(tmp_path, step) for step in (1, 2, 3)]
    checkpoints.rotate(tmp_path, keep=None, best=None)
    assert all(checkpoints.is_complete(folder) for folder in folders)


def test_the_marker_lists_every_file_with_its_size(tmp_path):
    marker = json.loads((saved(tmp_path, 3) / checkpoints.MARKER).read_text())
    assert marker["files"] == {"model.safetensors": 100, "global_step/shard.pt": 50}
