"""Going on with another number of processes: when it is refused, and that it trains on as if nothing had happened."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from launching import BIN, losses, metrics, run, write_recipe, write_rows

from lemma_train.errors import InputError
from lemma_train.training import checkpoints, other_ranks
from lemma_train.training.checkpoints import UNIVERSAL, Course
from lemma_train.training.recipe import Recipe
from lemma_train.training.resume import checkpoint_to_resume
from lemma_train.training.universal import make_universal

SPLIT = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
HALF = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}
TWO = Course(SPLIT, data="d1", template="t1", processes=2, zero_stage=0)
ONE = replace(TWO, keys=HALF, processes=1)
NVME = {"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "nvme", "nvme_path": "/n"}}}


def saved(output_dir: Path, course: Course, universal: bool = False) -> Path:
    folder = output_dir / "checkpoint-3"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"w" * 100)
    checkpoints.mark_complete(folder, course)
    if universal:
        (folder / "global_step3_universal" / "zero").mkdir(parents=True)
        (folder / "global_step3_universal" / "zero" / "optimizer_state.pt").touch()
        (folder / UNIVERSAL).write_text("global_step3_universal")
    return folder


def decide(output_dir: Path, course: Course, **keys):
    recipe = Recipe(Path("r.yaml"), {"output_dir": str(output_dir), **keys})
    return checkpoint_to_resume(recipe, course)


def zero(course: Course, stage: int = 3) -> Course:
    return replace(course, zero_stage=stage)


def test_a_pointer_to_a_copy_that_has_been_deleted_counts_for_nothing(tmp_path):
    checkpoint = saved(tmp_path, zero(TWO), universal=True)
    shutil.rmtree(checkpoint / "global_step3_universal")
    with pytest.raises(InputError, match="`lemma universal "):
        decide(tmp_path, zero(ONE))


@pytest.mark.parametrize(
    ("before", "now", "universal"),
    [
        (TWO, ONE, False),
        (ONE, TWO, False),
        (TWO, replace(ONE, keys={"per_device_train_batch_size": 16, "gradient_accumulation_steps": 1}), False),
        (zero(TWO), zero(ONE), True),
        (zero(ONE, 2), zero(TWO, 2), True),
    ],
    ids=["fewer", "more", "another split", "ZeRO-3", "ZeRO-2"],
)
def test_with_the_same_global_batch_another_number_of_processes_goes_on(tmp_path, before, now, universal):
    checkpoint = saved(tmp_path, before, universal)
    found, (note,) = decide(tmp_path, now)
    assert found == checkpoint
    assert f"on {now.processes} processes instead of {before.processes}" in note and "not bit for bit" in note


REFUSED = {
    "another global batch": (TWO, replace(TWO, processes=4), {}, "16 rows and would have 32; gradient_accumulation_"),
    "what does not divide": (TWO, replace(TWO, processes=3), {}, "16 rows and would have 24; keep them"),
    "rows by length": (TWO, ONE, {"train_sampling_strategy": "group_by_length"}, "group_by_length orders the rows"),
    "an unknown dealing out": (TWO, ONE, {"accelerator_config": {"split_batches": True}}, "accelerator_config"),
    "FSDP": (replace(TWO, keys={**SPLIT, "sharded by FSDP": True}), ONE, {}, "FSDP"),
    "ZeRO, not converted": (zero(TWO), zero(ONE), {}, "`lemma universal "),
    "another stage": (zero(TWO), zero(ONE, 2), {}, "it ran with ZeRO stage 3, now 2"),
    "off NVMe": (zero(replace(TWO, keys={**SPLIT, "deepspeed": NVME})), zero(TWO), {}, "as many processes alone"),
    "NVMe": (
        zero(replace(TWO, keys={**SPLIT, "deepspeed": NVME})),
        zero(replace(ONE, keys={**HALF, "deepspeed": NVME})),
        {},
        "as many processes alone",
    ),
    "another learning rate": (TWO, replace(ONE, keys={**HALF, "learning_rate": 2}), {}, "learning_rate was"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_lose_the_position_or_the_state_is_refused_with_its_mend(tmp_path, case):
    before, now, keys, words = REFUSED[case]
    checkpoint = saved(tmp_path, before)
    for resume in ("auto", str(checkpoint)):
        if case == "another learning rate" and resume != "auto":
            _, (note,) = decide(tmp_path, now, resume=resume)
            assert "although this run differs: learning_rate was" in note
            continue
        with pytest.raises(InputError) as refusal:
            decide(tmp_path, now, resume=resume, **keys)
        assert words in str(refusal.value) and str(checkpoint) in str(refusal.value)


def test_the_number_of_accumulated_batches_that_keeps_the_rows_is_named(tmp_path):
    saved(tmp_path, TWO)
    with pytest.raises(InputError, match="gradient_accumulation_steps: 1 keeps them"):
        decide(tmp_path, replace(TWO, processes=4))


def test_epochs_that_would_have_another_number_of_steps_are_refused(tmp_path):
    """21 rows, 2 a batch: 11 batches are 6 for each of two processes, one of them filled up, and 11 for one."""
    recipe = Recipe(Path("r.yaml"), {"partial_last_step": "drop", "train_sampling_strategy": "random"})
    before = replace(TWO, keys={"per_device_train_batch_size": 2, "gradient_accumulation_steps": 1})
    now = replace(ONE, keys={"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2})

    class Trainer:
        train_dataset = range(21)

    with pytest.raises(InputError, match="an epoch had 6 steps on 2 processes and would have 5 on 1"):
        other_ranks.go_on(Trainer(), recipe, Path("checkpoint-3"), before, now)
    other_ranks.go_on(Trainer(), Recipe(Path("r.yaml"), {"partial_last_step": "keep"}), Path("c"), before, now)


def test_what_was_summed_up_since_the_last_log_is_shared_out(tmp_path):
    files = []
    for rank, (loss, tokens) in {10: (3.0, [5, 1, 0]), 2: (1.0, [7, 2, 1])}.items():
        files.append(tmp_path / f"unlogged_{rank}.json")
        throughput = {"tokens": tokens, "head": [0.5, 1.0, 2.0], "total_tokens": 90}
        files[-1].write_text(json.dumps({"loss": loss, "logged_step": 2, "throughput": throughput}))
    assert other_ranks.unlogged_share(files, 1, 2)["loss"] == 3.0, "as many ranks: each its own, in numerical order"
    only = other_ranks.unlogged_share(files, 0, 1)
    assert only["loss"] == 2.0 and only["logged_step"] == 2
    assert only["throughput"] == {"tokens": [12, 3, 1], "head": [1.0, 2.0, 4.0], "total_tokens": 90}
    shares = [other_ranks.unlogged_share(files, rank, 3) for rank in range(3)]
    assert [share["throughput"]["tokens"] for share in shares] == [[12, 3, 1], [0, 0, 0], [0, 0, 0]]
    assert {share["loss"] for share in shares} == {2.0}, "it is averaged when it is logged"
    assert other_ranks.unlogged_share([], 0, 1) is None


def test_what_needs_no_conversion_or_cannot_have_one_is_said(tmp_path):
    checkpoint = saved(tmp_path, TWO)
    with pytest.raises(InputError, match="resumes on any number of processes as it is"):
        make_universal(checkpoint)
    (checkpoint / "latest").write_text("global_step3")
    (checkpoint / "global_step3" / "offloaded_tensors").mkdir(parents=True)
    with pytest.raises(InputError, match="NVMe"):
        make_universal(checkpoint)
    (checkpoint / checkpoints.MARKER).unlink()
    with pytest.raises(InputError, match="no complete checkpoint"):
        make_universal(checkpoint)


@pytest.mark.parametrize("free", [2999, 3000])
def test_a_full_disk_is_refused_before_a_conversion_and_a_failed_one_leaves_nothing(tmp_path, monkeypatch, free):
    checkpoint = saved(tmp_path, zero(TWO))
    (checkpoint / "global_step3").mkdir()
    (checkpoint / "latest").write_text("global_step3")
    (checkpoint / "global_step3" / "zero_pp_rank_0_mp_rank_00_optim_states.pt").write_bytes(b"x" * 1000)
    before = sorted(checkpoint.rglob("*"))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free))
    with pytest.raises(InputError, match="are free" if free < 3000 else "cannot be converted"):
        make_universal(checkpoint)
    assert sorted(checkpoint.rglob("*")) == before


# Eight steps end in the second epoch of five, where positions are at stake too. Each parameter group has its own decay.
KEYS = {
    "save_strategy": "steps",
    "max_steps": 8,
    "logging_steps": 2,
    "weight_decay": 0.1,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 2,
}


def trained(folder: Path, model: Path, rows: Path, processes: int, config: str, keys: dict, save_steps: int) -> Path:
    """The output folder of a run with four rows a step."""
    folder.mkdir(exist_ok=True)
    keys = {**KEYS, **keys, "gradient_accumulation_steps": 2 // processes, "save_steps": save_steps}
    recipe = write_recipe(folder, model, rows, **keys)
    done = run(recipe, config=config, processes=processes)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / "out"


def taken_over(checkpoint: Path, folder: Path) -> Path:
    """A folder in which a run was killed right after this checkpoint, and then `lemma universal` while it worked."""
    copy = folder / "out" / checkpoint.name
    shutil.copytree(checkpoint, copy)
    if (copy / "latest").exists():
        target = copy / f"{(copy / 'latest').read_text()}_universal"
        for left in (target / "zero", copy / ".universal.unfinished" / target.name):
            left.mkdir(parents=True)
            (left / "optimizer_state.pt").write_text("cut off")
        done = subprocess.run([BIN / "lemma", "universal", copy], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert {path.name for path in copy.iterdir()} == {
            *(path.name for path in checkpoint.iterdir()),
            target.name,
            UNIVERSAL,
        }
        assert checkpoints.is_complete(copy) and make_universal(copy) == target
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "then", "keys"),
    [
        ("cpu_ddp.yaml", "", {}),
        ("cpu_zero3.yaml", "two again", {}),
        (
            "cpu_zero2.yaml",
            "two from the same checkpoint",
            {"use_peft": True, "lora_target_modules": "all-linear", "lora_r": 4, "lora_dropout": 0.0},
        ),
    ],
    ids=["DDP", "ZeRO-3", "ZeRO-2 with an adapter"],
)
def test_another_number_of_processes_trains_like_the_first_and_the_first_itself_bit_for_bit(
    tiny_llama, tmp_path, config, then, keys
):
    rows = write_rows(tmp_path / "rows.jsonl", 20)
    undisturbed = trained(tmp_path / "undisturbed", tiny_llama, rows, 2, config, keys, save_steps=3)
    one = taken_over(undisturbed / "checkpoint-3", tmp_path / "one")
    if then == "two from the same checkpoint":
        shutil.copytree(one, tmp_path / "same")
        same = trained(tmp_path / "same", tiny_llama, rows, 2, config, keys, save_steps=7)
        assert losses(same) == losses(undisturbed)[1:]
    resumed = {3: trained(one, tiny_llama, rows, 1, config, keys, save_steps=7)}
    if then == "two again":
        two = taken_over(resumed[3] / "checkpoint-7", tmp_path / "two")
        resumed[7] = trained(two, tiny_llama, rows, 2, config, keys, save_steps=7)
    for name in ("loss", "grad_norm", "learning_rate", "supervised_tokens", "num_tokens"):
        expected = {line["step"]: line[name] for line in metrics(undisturbed) if "loss" in line}
        for after, folder in resumed.items():
            found = {line["step"]: line[name] for line in metrics(folder) if "loss" in line}
            assert found == pytest.approx({s: v for s, v in expected.items() if s > after}, rel=1e-4), (name, after)
