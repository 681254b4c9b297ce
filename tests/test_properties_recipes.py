"""Recipes of anything: typed values, or one InputError with a line for each fault; never another exception."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lemma_train.collection.recipe import load_collect_recipe
from lemma_train.errors import InputError
from lemma_train.evaluation.recipe import load_evaluate_recipe
from lemma_train.recipe_file import override_value, read_yaml, split_overrides
from lemma_train.training.recipe import Recipe, load_recipe, recipe_of

settings.register_profile("recipes", max_examples=150, deadline=None, derandomize=True, database=None)
RECIPES = settings.get_profile("recipes")

TRAINING = {"model_name_or_path": "m", "train_files": "rows.jsonl", "output_dir": "out"}
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.dates()
    | st.datetimes()
    | st.binary(max_size=4)
    | st.text(max_size=8)
)
_NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3), max_leaves=8
)
_TRAINING_KEYS = st.sampled_from(
    [
        *(*TRAINING, "learning_rate", "max_steps", "seed", "bf16", "optim", "lr_scheduler_type", "lora_target_modules"),
        *("model_init_kwargs", "report_to", "evaluate_after", "deepspeed", "template", "overlong", "save_strategy"),
        *("warmup_ratio", "accelerator_config", "dataset_text_field", "learningrate", "eval_files", "max_grad_norm"),
    ]
)
_SETTINGS_KEYS = st.sampled_from(
    [
        *(
            "problems",
            "output_dir",
            "student",
            "teacher",
            "sampling",
            "seed",
            "budget",
            "assembly",
            "attempts",
            "probe",
        ),
        *(
            "teacher.model",
            "seed.x",
            "no.such",
            "teacher.",
            ".teacher",
            ".",
            "benchmarks",
            "model",
            "max_rejected_share",
        ),
    ]
)
_INNER_KEYS = st.sampled_from(
    ["model", "prices", "base_urls", "engine_args", "engine", "samples", "path", "x.y", "rows"]
)
SETTINGS = st.dictionaries(
    _SETTINGS_KEYS | _NAMES, VALUES | st.dictionaries(_INNER_KEYS | _NAMES, VALUES, max_size=3), max_size=4
)


def checked(fault: InputError) -> list[str]:
    """The lines of a message, each of which is a whole sentence of its own that a terminal shows as one line."""
    lines = str(fault).split("\n")
    assert all(line.strip() and len(line) < 2000 for line in lines), lines
    assert all(line.rstrip().endswith((".", "?")) for line in lines), lines
    return lines


@RECIPES
@given(keys=st.dictionaries(_TRAINING_KEYS | _NAMES, VALUES, max_size=5))
@example(keys={"a\nb": 1})
@example(keys={"seed": "x" * 10_000})
def test_a_training_recipe_is_typed_or_refused(keys):
    try:
        recipe = recipe_of(Path("r.yaml"), {**TRAINING, **keys})
    except InputError as fault:
        assert len(checked(fault)) <= len(keys) + len(TRAINING)
        return
    assert isinstance(recipe, Recipe) and set(recipe.given) == {*TRAINING, *keys}
    json.dumps(recipe.resolved())


@RECIPES
@given(values=SETTINGS, kind=st.sampled_from([load_collect_recipe, load_evaluate_recipe]))
@example(values={"no.such": 1}, kind=load_collect_recipe)
@example(values={"seed.x": 1}, kind=load_collect_recipe)
@example(values={"teacher": {"prices.x": 1}}, kind=load_collect_recipe)
@example(values={"teacher": {"prices": {"a\nb": 1}}}, kind=load_collect_recipe)
def test_a_recipe_of_settings_is_typed_or_refused(tmp_path_factory, values, kind):
    path = tmp_path_factory.getbasetemp() / "settings.yaml"
    path.write_text(yaml.safe_dump(values, allow_unicode=False), encoding="utf-8")
    try:
        kind(path, [])
    except InputError as fault:
        checked(fault)


@RECIPES
@given(text=st.text(max_size=40))
@example(text="'" + "x" * 3000)
@example(text="0x" + "f" * 4000)
@example(text='"\\ud800"')
@example(text="{2024-01-01: 5}")
@example(text="!!int ''")
@example(text="!!bool maybe")
@example(text="!!timestamp soon")
@example(text="!!float x")
@example(text="1" + ":59" * 2600)
@example(text="1" + ":59" * 2600 + ".5")
@example(text="2024-13-01")
@example(text="[" * 1500)
@example(text="&a [*a]")
@example(text="? [a]\n: b")
@example(text="=")
@example(text="<<: 5")
@example(text="!!python/object/apply:os.system ['true']")
@example(text="!!set {a, b}")
@example(text="!!omap [a: 1]")
def test_yaml_of_anything_is_a_value_or_a_fault(tmp_path_factory, text):
    override_value(text)
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(f"key: {text}", encoding="utf-8", errors="replace")
    for read in (read_yaml, load_recipe, load_collect_recipe, load_evaluate_recipe):
        try:
            read(path)
        except InputError as fault:
            checked(fault)
    for key in ("seed", "nothing", "model_init_kwargs"):
        try:
            recipe_of(Path("r.yaml"), TRAINING, [f"--{key}={text}"])
        except InputError as fault:
            checked(fault)


_ARGUMENTS = st.sampled_from(["--max_steps", "6", "--seed=1", "--", "-x", "--=", "--a=", "x=y", "--a-b", "-1"])


@RECIPES
@given(arguments=st.lists(_ARGUMENTS | st.text(max_size=6), max_size=6))
def test_overrides_are_pairs_or_a_fault(arguments):
    try:
        pairs = split_overrides(arguments)
    except InputError as fault:
        checked(fault)
        return
    assert all("=" not in key and "-" not in key and not key.startswith("--") for key, _ in pairs)
    # Written in the other form, they say the same.
    assert split_overrides([f"--{key}={text}" for key, text in pairs]) == pairs


@RECIPES
@given(value=st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10))
def test_a_value_that_is_written_as_yaml_is_read_as_it_was(value):
    text = yaml.safe_dump(value).removesuffix("...\n").strip()
    assert override_value(text) == (value if value not in ("none", "None") else override_value(text))


def bomb(levels: int) -> str:
    lines = [f"a0: &a0 [{', '.join(['x'] * 9)}]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, levels)]
    return "\n".join([*lines, f"train_files: *a{levels - 1}"])


@pytest.mark.parametrize("load", [load_recipe, load_collect_recipe, load_evaluate_recipe])
def test_aliases_that_would_fill_the_memory_are_refused_at_once(tmp_path, load):
    path = tmp_path / "bomb.yaml"
    path.write_text(bomb(12), encoding="utf-8")  # 9^12 values in 700 characters
    with pytest.raises(InputError, match="too many values") as fault:
        load(path)
    checked(fault.value)


def test_a_key_of_a_block_that_is_written_with_a_dot_is_explained(tmp_path):
    path = tmp_path / "dotted.yaml"
    path.write_text("teacher.model: gpt\nno.such: 1\n", encoding="utf-8")
    with pytest.raises(InputError) as fault:
        load_collect_recipe(path)
    assert "write teacher: and model: beneath it" in str(fault.value)
