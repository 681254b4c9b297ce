"""Starts that die at the same step are counted, and a crash loop is refused; other ends are not held against a run."""

import json
from pathlib import Path

import pytest
from launching import run, write_recipe

from lemma_train.errors import InputError, Stopped
from lemma_train.training import starts
from lemma_train.training.preemption import STOPPED_FILE


def start(output_dir: Path, step: int, end: BaseException | None, forced: bool = False) -> None:
    """One start from `step` that ends with an exception, or well."""
    try:
        with starts.counted(output_dir, step, forced):
            if isinstance(end, Stopped):  # as the rank that was signalled does
                (output_dir / STOPPED_FILE).write_text("{}")
            if end is not None:
                raise end
    except (Stopped, InputError, RuntimeError, KeyboardInterrupt) as error:
        if error is not end:
            raise


def counted(output_dir: Path) -> list[int]:
    file = output_dir / starts.STARTS_FILE
    return [entry["resumed_step"] for entry in json.loads(file.read_text())] if file.exists() else []


CRASH = RuntimeError("CUDA error")


def test_the_fourth_start_at_the_step_of_three_crashes_is_refused_unless_it_is_forced(tmp_path):
    for _ in range(3):
        start(tmp_path, 6, CRASH)
    with pytest.raises(InputError, match=r"the last 3 starts .* began at step 6 and died") as refusal:
        start(tmp_path, 6, None)
    assert str(tmp_path / "starts.json") in str(refusal.value) and "resume" in str(refusal.value)
    with pytest.raises(InputError):  # the refusal does not soften the next one
        start(tmp_path, 6, None)
    start(tmp_path, 6, CRASH, forced=True)
    start(tmp_path, 6, None, forced=True)
    assert counted(tmp_path) == []


def test_a_newer_checkpoint_begins_the_count_anew(tmp_path):
    for step in (6, 6, 9, 9, 12, 12):
        start(tmp_path, step, CRASH)
    assert counted(tmp_path) == [12, 12]


@pytest.mark.parametrize("end", [Stopped("on a signal"), InputError("a key"), KeyboardInterrupt()])
def test_a_start_that_ends_in_order_does_not_count(tmp_path, end):
    start(tmp_path, 0, CRASH)
    for _ in range(5):
        start(tmp_path, 0, end)
    start(tmp_path, 0, CRASH)
    assert counted(tmp_path) == [0, 0]


def test_a_start_takes_away_how_the_last_one_ended_and_the_finish_everything(tmp_path):
    start(tmp_path, 0, Stopped("on a signal"))
    starts.note_failure(tmp_path, RuntimeError("first"))
    with starts.counted(tmp_path, 0, forced=False):
        assert [path.name for path in tmp_path.iterdir()] == ["starts.json"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "{", "7", '{"a": 1}', '["x"]'])
def test_a_starts_file_that_is_not_ours_is_no_crash(tmp_path, text):
    (tmp_path / starts.STARTS_FILE).write_text(text)
    start(tmp_path, 0, CRASH)
    assert counted(tmp_path) == [0]


def test_the_first_failure_is_kept_but_a_fault_of_the_user_goes_before_it(tmp_path):
    def noted() -> dict:
        return json.loads((tmp_path / starts.FAILED_FILE).read_text())

    starts.note_failure(tmp_path, RuntimeError("CUDA error: an illegal access\nCompile with ..."))
    starts.note_failure(tmp_path, RuntimeError("Connection closed by peer"))
    assert noted() == {"status": 1, "message": "RuntimeError: CUDA error: an illegal access"}
    starts.note_failure(tmp_path, InputError("deepspeed: no such file"))
    assert noted() == {"status": 2, "message": "deepspeed: no such file"}


@pytest.mark.slow
def test_a_run_that_always_dies_at_the_same_step_is_refused_at_the_fourth_start(tiny_llama, tmp_path):
    # Adam's first steps of this size make the loss infinite or NaN: a crash that every start repeats.
    recipe, out = write_recipe(tmp_path, tiny_llama, learning_rate=1e30), tmp_path / "out"
    for count in (1, 2, 3):
        result = run(recipe)
        assert result.returncode == 1 and "FloatingPointError" in result.stderr, result.stderr[-3000:]
        assert counted(out) == [0] * count
        failed = json.loads((out / "failed.json").read_text())
        assert failed["status"] == 1 and "The loss became" in failed["message"]
    refused = run(recipe)
    assert refused.returncode == 2 and "the last 3 starts" in refused.stderr and "Traceback" not in refused.stderr
    assert json.loads((out / "failed.json").read_text())["status"] == 2
    (out / "starts.json").unlink()
    mended = run(recipe, "--learning_rate", "0.001")
    assert mended.returncode == 0, mended.stderr[-3000:]
    assert not [name for name in ("starts.json", "failed.json") if (out / name).exists()]


@pytest.mark.slow
def test_what_is_at_fault_in_a_recipe_is_told_to_the_batch_script_but_not_by_a_run_that_met_another(
    tiny_llama, tmp_path
):
    from lemma_train.training.lock import claim

    with claim(tmp_path / "out"):
        busy = run(write_recipe(tmp_path, tiny_llama))
    assert busy.returncode == 2 and not (tmp_path / "out" / "failed.json").exists()
    result = run(write_recipe(tmp_path, tiny_llama, bf16=True, fp16=True))
    assert result.returncode == 2
    failed = json.loads((tmp_path / "out" / "failed.json").read_text())
    assert failed["status"] == 2 and "bf16 and fp16" in failed["message"]
