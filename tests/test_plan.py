"""`lemma plan`: every recipe is planned offline, what claims to fit does, and what is absurd is refused in words."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from launching import write_recipe, write_rows
from transformers import LlamaConfig
from trl.trainer.utils import compute_flops_per_token

from lemma_train.cli import main
from lemma_train.errors import InputError
from lemma_train.training.memory import GIB
from lemma_train.training.model_shape import KNOWN
from lemma_train.training.plan import Hardware, Plan, as_dict, flops_per_token, make_plan
from lemma_train.training.plan_launch import find_launch
from lemma_train.training.plan_text import as_text
from lemma_train.training.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = sorted((ROOT / "recipes").glob("*.yaml"))


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def plan(name, gpus=None, *overrides: str, rows=None, mean=None, config_file=None, **hardware) -> Plan:
    path = name if isinstance(name, Path) else ROOT / "recipes" / f"{name}.yaml"
    recipe = load_recipe(path, overrides)
    return make_plan(recipe, find_launch(recipe, gpus, config_file), Hardware(**hardware), rows, mean)


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "lemma_train.cli", "plan", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
def test_every_recipe_is_planned_and_fits_what_it_says_it_fits(path, tmp_path):
    """As its own command launches it, on GPUs of the 80 GB that the recipes name."""
    told = plan(path)
    assert told.fits, told.misfits
    assert told.setting.cpu or told.memory.total_bytes < 80e9, "80 GB are a little less than 80 GiB"
    assert told.steps.total_steps and (told.hours or told.setting.cpu)
    shown = as_dict(told)
    assert {"global_batch_size", "steps_per_epoch", "total_steps", "memory_per_gpu_gib", "host_memory_gib"} < set(shown)
    assert json.loads(json.dumps(shown)) == shown
    text = as_text(told)
    assert f"{told.steps.total_steps:,} in all" in text and f"{told.memory.total_bytes / GIB:.2f}" in text


@pytest.mark.parametrize("name", ["llama3_8b", "mistral_7b", "qwen2_math_7b", "deepseekmath_7b"])
def test_the_papers_runs_have_its_steps(name):
    told = as_dict(plan(name, 8, rows=88_904))
    assert (told["global_batch_size"], told["steps_per_epoch"], told["total_steps"]) == (256, 347, 1041)
    assert told["fits"]


def test_the_authors_time_is_what_the_assumed_speed_comes_to():
    assert plan("llama3_8b", 8).hours == pytest.approx(5, rel=0.05)
    faster = plan("llama3_8b", 8, mfu=0.34, peak_tflops=989)
    assert faster.hours == pytest.approx(plan("llama3_8b", 8).hours / 2 * 312 / 989)


def test_70b_does_not_fit_eight_gpus_and_what_is_named_does():
    told = plan("llama3_70b", 8)
    assert not told.fits and "a GPU needs 1" in told.misfits[0]
    assert told.changes, "changes that fit are named"
    for change in told.changes:
        named = next(c for c in as_dict(told)["changes"] if c["words"] == change.words)
        assert named["memory_per_gpu_gib"] <= 80
    more = next(change for change in told.changes if change.setting.gpus > 8)
    accumulation = str(more.setting.accumulation)
    again = plan("llama3_70b", more.setting.gpus, "--gradient_accumulation_steps", accumulation)
    assert again.fits and again.steps.global_batch_size == told.steps.global_batch_size
    assert plan("llama3_70b", 64).fits and plan("llama3_70b", 32).fits


@pytest.mark.parametrize(
    ("name", "gpus", "hardware", "kind"),
    [
        ("llama3_8b", 8, {"gpu_memory": 24, "host_memory": 1000}, "x 16 accumulated|x 32 accumulated|host memory"),
        ("llama3_8b", 1, {}, "host memory"),
        ("llama3_70b", 8, {"host_memory": 1000}, "32 GPUs"),
        ("llama3_70b", 1, {"host_memory": 300}, "GPUs|adapter"),
        ("llama3_8b_lora", 1, {"gpu_memory": 24}, "1 row|2 rows"),
    ],
)
def test_a_named_change_planned_by_its_own_options_fits(name, gpus, hardware, kind):
    """The options that are named are given to a new plan, as the user would."""
    told = plan(name, gpus, **hardware)
    assert not told.fits
    assert re.search(kind, told.changes[0].words), told.changes[0].words
    for change in told.changes:
        words = change.options.replace(",", "").replace("to accelerate", "").split()
        again_gpus = gpus
        if "--num_processes" in words:
            where = words.index("--num_processes")
            again_gpus = int(words[where + 1])
            del words[where : where + 2]
        again = plan(name, again_gpus, *words, **hardware)
        assert again.fits, (change.options, again.misfits)
        assert again.memory.total_bytes == pytest.approx(_total(change), rel=0.02)
        assert again.steps.global_batch_size == told.steps.global_batch_size


def _total(change) -> float:
    from lemma_train.training.memory import memory

    return memory(change.setting).total_bytes


def test_where_nothing_fits_that_is_said():
    told = plan("llama3_70b", 1, gpu_memory=1, host_memory=1)
    assert not told.fits and told.changes == [] and len(told.misfits) == 2
    assert "that was tried fits" in as_text(told)


def test_another_number_of_gpus_names_the_accumulation_that_keeps_the_batch():
    assert "--gradient_accumulation_steps 32 keeps it" in plan("llama3_70b", 8).notes[0]
    own = plan("llama3_70b")
    assert own.setting.gpus == 32 and not any("rows a step" in note for note in own.notes)


def test_processes_come_from_the_command_line_the_configuration_and_the_recipes_own_command():
    assert plan("llama3_8b").launch.origin.startswith("assumed") and plan("llama3_8b").setting.gpus == 8
    assert plan("llama3_8b_lora").setting.gpus == 1 and plan("llama3_70b_lora").setting.gpus == 8
    small = plan("smollm2_135m")
    assert small.setting.cpu and small.setting.gpus == 2 and small.steps.total_steps
    zero3 = ROOT / "accelerate_configs" / "cpu_zero3.yaml"
    split = plan("smollm2_135m", config_file=zero3)
    assert split.setting.sharding.stage == 3 and split.launch.origin == str(zero3)
    assert split.memory.state_bytes < small.memory.state_bytes
    fsdp = ROOT / "accelerate_configs" / "fsdp2.yaml"
    assert plan("llama3_8b", None, "--deepspeed", "null", "--dtype", "float32", config_file=fsdp).setting.sharding.fsdp


@pytest.mark.parametrize("gpus", ["0", "-1", "eight", "1.5", "10000000", "", True])
def test_an_absurd_number_of_gpus_is_refused(gpus):
    with pytest.raises(InputError, match="--gpus: it must be a whole number"):
        plan("llama3_8b", gpus)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"gpu_memory": 0}, "--gpu-memory"),
        ({"gpu_memory": float("nan")}, "--gpu-memory"),
        ({"gpu_memory": float("inf")}, "--gpu-memory"),
        ({"host_memory": -5.0}, "--host-memory"),
        ({"gpus_per_node": 0}, "--gpus-per-node"),
        ({"mfu": 0.0}, "--mfu"),
        ({"mfu": 40.0}, "--mfu"),
        ({"mfu": 1e-320}, "--mfu"),
        ({"peak_tflops": -1}, "--peak-tflops"),
        ({"peak_tflops": 1e-320}, "--peak-tflops"),
        ({"rows": 0}, "--rows"),
        ({"rows": 10**15}, "--rows"),
        ({"mean": 0.0}, "--mean-tokens"),
    ],
)
def test_absurd_values_are_refused_by_name(arguments, named):
    with pytest.raises(InputError, match=named):
        plan("llama3_8b", 8, **arguments)


@pytest.mark.parametrize("stage", ["x", "9", "-1", "[3]"])
def test_a_launch_configuration_with_an_absurd_stage_is_refused(tmp_path, stage):
    config = tmp_path / "launch.yaml"
    config.write_text(f"distributed_type: DEEPSPEED\ndeepspeed_config: {{zero_stage: {stage}}}\n")
    with pytest.raises(InputError, match="zero_stage must be 0 to 3"):
        plan("llama3_8b", 8, "--deepspeed", "null", config_file=config)


def test_gpus_that_fill_no_whole_nodes_are_refused():
    with pytest.raises(InputError, match="12 GPUs do not fill whole nodes of 8"):
        plan("llama3_8b", 12)
    assert plan("llama3_8b", 12, gpus_per_node=4).setting.nodes == 3


def test_a_recipe_that_contradicts_itself_is_refused_before_it_is_planned():
    with pytest.raises(InputError, match="no fp32 master weights"):
        plan("llama3_8b", 8, "--deepspeed", "null")


def test_a_recipe_of_your_own_is_planned_from_its_folder_and_files(tiny_llama, tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl", 20)
    told = plan(write_recipe(tmp_path, tiny_llama, rows, max_steps=-1), 2)
    assert told.rows.count == 20 and told.steps.steps_per_epoch == 5
    assert told.setting.shape.total == sum(p.numel() for p in _built(tiny_llama).parameters())


def _built(folder):
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    model.tie_weights()
    return model


def test_arithmetic_is_counted_as_the_trainer_counts_it_for_its_mfu():
    shape = KNOWN["meta-llama/Meta-Llama-3-8B"]
    config = LlamaConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
    )
    assert flops_per_token(shape, 600, adapter=False) == pytest.approx(compute_flops_per_token(config, 600), rel=1e-3)


def test_the_command_prints_one_json_object_or_a_table_and_asks_no_network():
    """With proxies that lead nowhere and no hub allowed, from the command line."""
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "CUDA_VISIBLE_DEVICES": ""}
    began = time.monotonic()
    done = command(
        "recipes/llama3_8b.yaml", "--gpus", "8", "--gpu-memory", "80", "--rows", "88904", "--json", **nowhere
    )
    took = time.monotonic() - began
    told = json.loads(done.stdout)
    assert (told["global_batch_size"], told["steps_per_epoch"], told["total_steps"]) == (256, 347, 1041)
    assert told["fits"] is True and done.returncode == 0 and done.stderr == ""
    assert took < 15, f"planning took {took:.1f} s"
    refused = command("recipes/llama3_70b.yaml", "--gpus", "8", "--gpu-memory", "80", **nowhere)
    assert refused.returncode == 0 and "fits: no" in refused.stdout
    assert "The nearest change that fits, with 64 rows a step as here:" in refused.stdout


def test_the_table_on_sizing_is_what_the_commands_say(capsys):
    page = (ROOT / "docs" / "sizing.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `lemma (plan .+?)` \| ([\d.]+) \| (\d+) \| ([\d.]+) \| (yes|no) \|$", page, re.MULTILINE)
    assert len(rows) > 10
    for words, gpu, node, checkpoint, fits in rows:
        main([*shlex.split(words), "--json"])
        told = json.loads(capsys.readouterr().out)
        figures = (told["memory_per_gpu_gib"], told["host_memory_gib"], told["checkpoint_gib"])
        shown = f"{figures[0]:.1f} {figures[1]:.0f} {figures[2]:.1f} {'yes' if told['fits'] else 'no'}"
        assert shown == f"{gpu} {node} {checkpoint} {fits}", words


def test_faults_end_with_exit_status_2_and_one_message(tmp_path):
    done = command("recipes/llama3_8b.yaml", "--gpus", "0")
    assert done.returncode == 2 and "--gpus: it must be a whole number" in done.stderr
    unknown = command("recipes/llama3_8b.yaml", "--model_name_or_path", "someone/else")
    assert unknown.returncode == 2 and "config.json" in unknown.stderr and "Traceback" not in unknown.stderr
    assert command("recipes/llama3_8b.yaml", "--learning_rat", "1").returncode == 2
