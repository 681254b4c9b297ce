"""What splits the state of a training is read from the recipe and the launcher alike."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from launching import ROOT

from lemma_train.errors import InputError
from lemma_train.training.checkpoints import course_of
from lemma_train.training.recipe import Recipe, load_recipe
from lemma_train.training.sharding import (
    deepspeed_config,
    demand_nvme,
    nvme_folders,
    uses_cpu,
    uses_fsdp,
    zero_stage,
)

DEEPSPEED = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_CONFIG_FILE": "none"}


def recipe(**keys) -> Recipe:
    return Recipe(Path("r.yaml"), {"model_name_or_path": "m", "output_dir": "o", **keys})


def test_stage_comes_from_recipe_then_launcher(tmp_path):
    assert zero_stage(recipe(), {}) == 0
    assert zero_stage(recipe(deepspeed="ds_configs/zero3.json"), {}) == 3
    assert zero_stage(recipe(deepspeed={"zero_optimization": None}), {}) == 0
    assert zero_stage(recipe(), DEEPSPEED | {"ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}) == 3
    (tmp_path / "launcher.json").write_text('{"zero_optimization": {"stage": 1}}')
    file = DEEPSPEED | {"ACCELERATE_DEEPSPEED_CONFIG_FILE": str(tmp_path / "launcher.json")}
    assert zero_stage(recipe(), file) == 1
    assert deepspeed_config(recipe(), {}) is None


@pytest.mark.parametrize(("uses", "key", "value"), [(uses_fsdp, "fsdp", "full_shard"), (uses_cpu, "use_cpu", True)])
def test_fsdp_and_cpus_are_asked_for_by_the_recipe_or_by_the_launcher(uses, key, value):
    variable = f"ACCELERATE_{key.upper()}" if key == "use_cpu" else "ACCELERATE_USE_FSDP"
    assert [uses(recipe(), {}), uses(recipe(), {variable: "true"}), uses(recipe(), {variable: "false"})] == [0, 1, 0]
    assert uses(recipe(**{key: value}), {}) and not uses(recipe(**{key: None}), {})


def test_a_checkpoint_of_fsdp_is_known_as_one_whoever_asked_for_it():
    """Another number of processes is refused for it; see `other_ranks`."""
    by_key = course_of(recipe(fsdp="full_shard"), {}, "d", "t")
    by_launcher = course_of(recipe(), {"ACCELERATE_USE_FSDP": "true"}, "d", "t")
    plain = course_of(recipe(), {}, "d", "t")
    assert [asdict(c)["keys"]["sharded by FSDP"] for c in (by_key, by_launcher, plain)] == [True, True, False]


def test_a_folder_for_nvme_that_is_not_there_is_refused_before_deepspeed_makes_it(tmp_path):
    config = json.loads((ROOT / "ds_configs" / "zero3_nvme.json").read_text(encoding="utf-8"))
    assert nvme_folders(config) == ["/local_nvme"] and nvme_folders(None) == []
    assert nvme_folders({"zero_optimization": {"stage": 3, "offload_optimizer": "nvme"}}) == [], "no section"
    for folder in (tmp_path, tmp_path / "none"):
        config["zero_optimization"]["offload_optimizer"]["nvme_path"] = str(folder)
        file = tmp_path / "mine.json"
        file.write_text(json.dumps(config))
        recipe = load_recipe(ROOT / "recipes" / "llama3_8b.yaml", ["--deepspeed", str(file)])
        if folder.exists():
            demand_nvme(recipe, {})
        else:
            with pytest.raises(InputError, match=r"nvme_path: .*none is no folder on this node"):
                demand_nvme(recipe, {})
            assert not folder.exists()
