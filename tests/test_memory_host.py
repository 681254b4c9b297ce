"""What stands on disk after a run is what the plan says, under each way of saving."""

from pathlib import Path

import pytest
from launching import ROOT, run, write_recipe

from lemma_train.training.plan import Hardware, Plan, make_plan
from lemma_train.training.plan_launch import find_launch
from lemma_train.training.recipe import load_recipe

LORA = {"use_peft": True, "lora_target_modules": "all-linear", "lora_r": 256}


def plan_of(recipe: Path, config: str) -> Plan:
    read = load_recipe(recipe)
    return make_plan(read, find_launch(read, None, ROOT / "accelerate_configs" / config), Hardware())


def size(folder: Path) -> int:
    """Bytes of the files that hold tensors."""
    return sum(file.stat().st_size for kind in ("*.safetensors", "*.pt", "*.bin") for file in folder.rglob(kind))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "keys"),
    [
        ("cpu.yaml", {}),
        ("cpu.yaml", LORA),
        ("cpu_zero2.yaml", {"bf16": True, "dtype": "bfloat16"}),
        ("cpu_zero3.yaml", {"bf16": True, "dtype": "bfloat16"}),
        ("cpu_zero3.yaml", {"bf16": True, "dtype": "bfloat16", **LORA}),
    ],
    ids=["fp32", "LoRA", "ZeRO-2", "ZeRO-3", "LoRA under ZeRO-3"],
)
def test_a_checkpoint_and_the_final_model_take_the_room_that_is_told(tiny_llama, tmp_path, config, keys):
    recipe = write_recipe(tmp_path, tiny_llama, save_strategy="steps", save_steps=2, max_steps=2, **keys)
    done = run(recipe, config=config)
    assert done.returncode == 0, done.stderr[-3000:]
    told = plan_of(recipe, config)
    assert size(tmp_path / "out" / "checkpoint-2") == pytest.approx(told.host.checkpoint, rel=0.1)
    assert size(tmp_path / "out" / "final") == pytest.approx(told.host.final, rel=0.1)
