"""Each file in ds_configs/ is one that DeepSpeed understands, that a recipe may name and that the pages explain."""

import json
from typing import Any

import pytest
from deepspeed.runtime.zero.config import DeepSpeedZeroConfig
from launching import ROOT

from lemma_train.training.compatibility import check_recipe
from lemma_train.training.plan import Hardware, make_plan
from lemma_train.training.plan_launch import find_launch
from lemma_train.training.recipe import load_recipe

FILES = sorted((ROOT / "ds_configs").glob("*.json"))
RECIPE = ROOT / "recipes" / "llama3_8b.yaml"


def without_auto(section: dict[str, Any]) -> dict[str, Any]:
    """What transformers fills in by itself is left out."""
    return {key: value for key, value in section.items() if value != "auto"}


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_deepspeed_knows_each_setting_a_recipe_can_name_the_file_and_a_page_explains_it(file):
    config = json.loads(file.read_text(encoding="utf-8"))
    given = without_auto(config["zero_optimization"])
    read = DeepSpeedZeroConfig(**given)  # unknown names and wrong types are errors there
    assert read.stage == int(file.stem[4]) and not read.model_extra
    if read.stage == 3:
        assert read.gather_16bit_weights_on_model_save
    offloaded = [section.device for section in (read.offload_optimizer, read.offload_param) if section]
    assert offloaded == {"zero3_offload": ["cpu", "cpu"], "zero3_nvme": ["nvme", "cpu"]}.get(file.stem, [])
    # Offloaded optimizer state is updated on the CPU, which only DeepSpeed's own AdamW does fast.
    assert ("optimizer" in config) == bool(offloaded)
    recipe = load_recipe(RECIPE, ["--deepspeed", str(file)])
    check_recipe(recipe, {})
    plan = make_plan(recipe, find_launch(recipe, "8", None), Hardware())
    assert plan.fits and (plan.host.nvme > 0) == ("nvme" in offloaded)
    assert f"| `{file.name}` |" in (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")


def test_nvme_takes_the_fp32_state_and_its_gradients_and_buffers_take_host_memory():
    def host(name):
        recipe = load_recipe(RECIPE, ["--deepspeed", str(ROOT / "ds_configs" / f"{name}.json")])
        plan = make_plan(recipe, find_launch(recipe, "8", None), Hardware())
        return plan.host, plan.setting.shape.total

    nvme, parameters = host("zero3_nvme")
    assert nvme.nvme == pytest.approx(16 * parameters)
    # 16-bit weights and gradients, and four fp32 buffers of at most a sub-group for each of eight GPUs
    buffers = 8 * 4 * 4.0 * min(parameters / 8, 1e9)
    assert nvme.offloaded == pytest.approx(4 * parameters + buffers)
    assert host("zero3_offload")[0].nvme == 0
