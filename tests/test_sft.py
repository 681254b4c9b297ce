"""The door of training, through real launchers: ranks, kills, resumes, adapters, refusals."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint
from launching import ROOT, losses, metrics, run, run_and_kill, write_recipe, write_rows
from merging import held_by_merge, tensors_of
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from lemma_train.training import checkpoints
from lemma_train.training.export import check_folder

pytestmark = pytest.mark.slow


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "final" / "model.safetensors")


def assert_bitwise_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def finished(result: subprocess.CompletedProcess) -> None:
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]


@pytest.fixture(scope="module")
def one_process(tiny_llama, tmp_path_factory):
    """A finished run on one process with a global batch of 4, for comparison."""
    folder = tmp_path_factory.mktemp("one")
    recipe = write_recipe(folder, tiny_llama, per_device_train_batch_size=4, report_to="tensorboard")
    finished(run(recipe))
    return folder / "out"


def test_a_run_leaves_a_whole_model_its_record_and_a_plot(one_process):
    final = one_process / "final"
    assert check_folder(final) == []
    model = AutoModelForCausalLM.from_pretrained(final)
    assert model.generation_config.pad_token_id != model.generation_config.eos_token_id
    record = json.loads((one_process / "run.json").read_text())
    assert {"recipe", "packages", "git_commit", "hardware", "course", "data", "template"} <= record.keys()
    assert record["template"]["fingerprint"] == json.loads((final / "lemma_template.json").read_text())["fingerprint"]
    assert record["figures"]["steps"] == 4 and record["figures"]["global_batch"] == 4
    assert record["figures"]["compiled_layers"] == 0
    assert (one_process / "loss.png").read_bytes()[:4] == b"\x89PNG"
    assert "### Response: Let's think step by step." in (final / "README.md").read_text()
    assert not list(final.glob("*.bin"))
    assert list(one_process.rglob("events.out.tfevents.*")), "report_to: tensorboard"
    assert len(losses(one_process)) == 4 and metrics(one_process)[0]["tokens_per_second"] > 0


@pytest.mark.parametrize("config", ["cpu_ddp.yaml", "cpu_zero3.yaml"])
def test_two_processes_train_like_one_at_the_same_global_batch(tiny_llama, one_process, tmp_path, config):
    recipe = write_recipe(tmp_path, tiny_llama, per_device_train_batch_size=2)
    finished(run(recipe, config=config))
    assert losses(tmp_path / "out") == pytest.approx(losses(one_process), rel=1e-4)
    for name, tensor in weights(one_process).items():
        torch.testing.assert_close(weights(tmp_path / "out")[name].float(), tensor, rtol=1e-3, atol=1e-4, msg=name)


def test_a_killed_run_ends_with_the_same_losses_and_weights_bit_for_bit(tiny_llama, tmp_path):
    keys = {
        "save_strategy": "steps",
        "save_steps": 3,
        "max_steps": 40,
        "use_peft": True,
        "lora_dropout": 0.2,
        "lora_target_modules": "all-linear",
        "gradient_accumulation_steps": 2,
        "error_span_weight": 0.5,
    }
    rows = write_rows(tmp_path / "rows.jsonl", 30, error_span=[0, 6])
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    finished(run(write_recipe(tmp_path / "a", tiny_llama, rows, **keys)))
    recipe, out = write_recipe(tmp_path / "b", tiny_llama, rows, **keys), tmp_path / "b" / "out"
    run_and_kill(recipe, until=lambda: (out / "checkpoint-6" / checkpoints.MARKER).exists())
    assert not (out / "final").exists()
    # What a kill in the middle of a save leaves behind: a folder without its marker.
    shutil.copytree(out / "checkpoint-6", out / "checkpoint-39")
    (out / "checkpoint-39" / checkpoints.MARKER).unlink()
    result = run(recipe)
    finished(result)
    assert "checkpoint-39 is incomplete" in result.stderr + result.stdout
    assert "Resuming from" in result.stderr + result.stdout
    assert losses(out) == losses(tmp_path / "a" / "out")
    one, other = (load_file(p / "final" / "adapter_model.safetensors") for p in (out, tmp_path / "a" / "out"))
    assert_bitwise_equal(one, other)
    # A third start finds nothing left to do and touches nothing.
    before = (out / "final" / "run.json").stat().st_mtime_ns
    again = run(recipe)
    finished(again)
    assert "nothing is left to train" in again.stderr + again.stdout
    assert (out / "final" / "run.json").stat().st_mtime_ns == before


def test_smollm2_under_zero3_on_two_processes_survives_sigkill_bit_for_bit(smollm2_folder, tmp_path):
    demo = ROOT / "data" / "demo" / "train.jsonl"
    assert demo.exists(), "run scripts/make_demo_data.py first"
    recipe = ROOT / "recipes" / "smollm2_135m.yaml"
    short = ("--max_steps", "4", "--per_device_train_batch_size", "2", "--eval_fraction", "0.01")
    steps = (*short, "--output_dir")
    undisturbed, disturbed = tmp_path / "a", tmp_path / "b"
    finished(run(recipe, *steps, undisturbed, config="cpu_zero3.yaml"))
    run_and_kill(
        recipe,
        *steps,
        disturbed,
        config="cpu_zero3.yaml",
        until=lambda: (disturbed / "checkpoint-2" / checkpoints.MARKER).exists(),
    )
    finished(run(recipe, *steps, disturbed, config="cpu_zero3.yaml"))
    assert losses(disturbed) == losses(undisturbed)
    assert_bitwise_equal(weights(disturbed), weights(undisturbed))
    assert check_folder(disturbed / "final") == []
    # The 16-bit copies of the checkpoint and its fp32 partitions, joined, are the same model.
    merged = tmp_path / "merged"
    held = held_by_merge(disturbed / "checkpoint-4", merged, "float32", "20MB")
    joined = tensors_of(merged)
    for name, tensor in joined.items():
        torch.testing.assert_close(weights(disturbed)[name].float(), tensor, rtol=1e-2, atol=1e-3, msg=name)
    # Tensor by tensor it is bit for bit what DeepSpeed joins in one piece, and holds a fraction of it.
    whole = get_fp32_state_dict_from_zero_checkpoint(str(disturbed / "checkpoint-4"))
    assert_bitwise_equal(joined, {name: tensor for name, tensor in whole.items() if name in joined})
    assert whole.keys() - joined.keys() <= {"lm_head.weight"}
    model, largest = sum(t.nbytes for t in joined.values()), max(t.nbytes for t in joined.values())
    assert held < 20e6 + 2 * largest + 64 * 2**20 < 0.7 * model, f"{held / 2**20:.0f} MiB of {model / 2**20:.0f}"


def test_adapters_under_zero3_with_checkpointed_activations_train_like_one_process(tiny_llama, tmp_path):
    keys = {
        "use_peft": True,
        "lora_dropout": 0.0,
        "lora_target_modules": "all-linear",
        "activation_checkpointing": True,
        "eval_files": str(write_rows(tmp_path / "held_out.jsonl", 5)),  # two processes have eight places for them
        "eval_strategy": "steps",
        "eval_steps": 4,
        "per_device_eval_batch_size": 4,
    }
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    finished(run(write_recipe(tmp_path / "one", tiny_llama, per_device_train_batch_size=4, **keys)))
    finished(run(write_recipe(tmp_path / "two", tiny_llama, **keys), config="cpu_zero3.yaml"))
    assert losses(tmp_path / "two" / "out") == pytest.approx(losses(tmp_path / "one" / "out"), rel=1e-4)
    one, two = ([e["eval_loss"] for e in metrics(tmp_path / n / "out") if "eval_loss" in e] for n in ("one", "two"))
    assert one and two == pytest.approx(one, rel=1e-4)
    assert check_folder(tmp_path / "two" / "out" / "final") == []


def test_an_adapter_on_a_4_bit_base_under_zero3_trains_like_one_process(tiny_llama, tmp_path):
    keys = {"use_peft": True, "lora_dropout": 0.0, "lora_target_modules": "all-linear", "learning_rate": 1e-2}
    keys |= {"load_in_4bit": True, "bnb_4bit_quant_storage": "bfloat16", "dtype": "bfloat16", "bf16": True}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    finished(run(write_recipe(tmp_path / "one", tiny_llama, per_device_train_batch_size=4, **keys)))
    finished(run(write_recipe(tmp_path / "two", tiny_llama, **keys), config="cpu_zero3.yaml"))
    first, *_, last = losses(tmp_path / "one" / "out")
    assert last < first - 0.2, "what is compared must have learned something"
    assert losses(tmp_path / "two" / "out") == pytest.approx(losses(tmp_path / "one" / "out"), rel=5e-3)
    assert check_folder(tmp_path / "two" / "out" / "final") == []


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"use_dora": True},
        {"use_rslora": True},
        {"load_in_4bit": True, "dtype": "bfloat16", "bf16": True},
    ],
    ids=["lora", "dora", "rslora", "qlora"],
)
def test_adapters_train_save_and_merge(tiny_llama, tmp_path, keys):
    keys = {"use_peft": True, "lora_r": 4, "lora_target_modules": "all-linear", "learning_rate": 1e-2, **keys}
    finished(run(write_recipe(tmp_path, tiny_llama, **keys)))
    final = tmp_path / "out" / "final"
    assert check_folder(final) == []
    adapter = load_file(final / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in adapter.values()} == {torch.float32}
    from lemma_train.training.merge import merge

    merge(final, tmp_path / "merged", "float32")
    question = torch.tensor([[1, 500, 600, 700]])
    with torch.no_grad():
        model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
        base = model(question).logits
        adapted = PeftModel.from_pretrained(model, str(final)).eval()(question).logits
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")(question).logits
    torch.testing.assert_close(merged, adapted, rtol=1e-3, atol=1e-3)
    assert (merged - base).abs().max() > 1e-3


def test_a_resume_with_another_recipe_is_refused_before_anything_is_overwritten(tiny_llama, tmp_path):
    recipe = write_recipe(tmp_path, tiny_llama, save_strategy="steps", save_steps=2)
    finished(run(recipe))
    shutil.rmtree(tmp_path / "out" / "final")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.is_file() and p.name[0] != "."}
    refused = run(recipe, "--learning_rate", "0.5")
    assert refused.returncode == 2 and "learning_rate was 0.001, now 0.5" in refused.stderr
    write_rows(tmp_path / "rows.jsonl", 25)
    refused = run(recipe)
    assert refused.returncode == 2 and "rows" in refused.stderr and "Traceback" not in refused.stderr
    assert before == {p: p.stat().st_mtime_ns for p in before}


def test_a_damaged_checkpoint_is_named(tiny_llama, tmp_path):
    recipe = write_recipe(tmp_path, tiny_llama, save_strategy="steps", save_steps=2)
    finished(run(recipe))
    shutil.rmtree(tmp_path / "out" / "final")
    weights_file = tmp_path / "out" / "checkpoint-4" / "model.safetensors"
    weights_file.write_bytes(b"\xff" * weights_file.stat().st_size)  # the right size, so it passes for whole
    result = run(recipe)
    assert result.returncode == 2, result.stderr[-3000:]
    assert "checkpoint-4 is damaged" in result.stderr and "Traceback" not in result.stderr


def test_a_full_disk_ends_the_run_plainly_and_spares_the_older_checkpoint(tiny_llama, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    size = sum(p.stat().st_size for p in tiny_llama.iterdir())
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={6 * size}", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        recipe = write_recipe(
            tmp_path, tiny_llama, output_dir=str(disk / "out"), save_strategy="steps", save_steps=1, max_steps=9
        )
        result = run(recipe)
        assert result.returncode == 2, result.stderr[-3000:]
        assert "cannot be written" in result.stderr and "Traceback" not in result.stderr
        complete = [p for p in checkpoints.find_checkpoints(disk / "out") if checkpoints.is_complete(p)]
        assert complete and check_folder(complete[-1]) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_called_final_that_is_not_ours_is_not_overwritten(tiny_llama, tmp_path):
    (tmp_path / "out" / "final").mkdir(parents=True)
    mine = tmp_path / "out" / "final" / "mine.txt"
    mine.write_text("mine")
    result = run(write_recipe(tmp_path, tiny_llama))
    assert result.returncode == 2 and "final is not a model of this project" in result.stderr
    assert mine.read_text() == "mine"


def test_a_second_run_in_the_same_folder_is_refused(tiny_llama, tmp_path):
    from lemma_train.training.lock import claim

    with claim(tmp_path / "out"):
        result = run(write_recipe(tmp_path, tiny_llama))
    assert result.returncode == 2 and "another run is at work" in result.stderr


@pytest.mark.parametrize(
    "keys, words",
    [
        ({"model_name_or_path": "nobody/no-such-model"}, "model_name_or_path"),
        ({"train_files": "nobody/no-such-data"}, "train_files"),
        ({"deepspeed": "ds_configs/none.json"}, "deepspeed: the file ds_configs/none.json does not exist"),
        ({"save_only_model": True}, "save_only_model"),
    ],
)
def test_faults_of_the_recipe_end_with_one_message_and_status_2(tiny_llama, tmp_path, keys, words):
    result = run(write_recipe(tmp_path, tiny_llama, **keys))
    assert result.returncode == 2
    assert words in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "out" / "final").exists()
