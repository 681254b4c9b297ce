"""Recipes: what is read, what is refused and with which words, and that a refusal costs no model."""

import subprocess
import sys
from pathlib import Path

import pytest

from lemma_train.errors import InputError
from lemma_train.training import recipe as recipe_module
from lemma_train.training.compatibility import check_recipe
from lemma_train.training.recipe import load_recipe
from lemma_train.training.recipe_keys import FORMER_NAMES, REFUSED_KEYS

ROOT = Path(__file__).resolve().parent.parent
BASE = "model_name_or_path: m\ntrain_files: a.jsonl\noutput_dir: out\n"
SHIPPED = sorted((ROOT / "recipes").glob("*.yaml"))


@pytest.fixture
def written(tmp_path):
    def write(text, base=BASE):
        path = tmp_path / "r.yaml"
        path.write_text(base + text, encoding="utf-8")
        return path

    return write


def fault(path, overrides=()):
    with pytest.raises(InputError) as caught:
        load_recipe(path, overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("learning_rat: 1.0e-5", "unknown key 'learning_rat'; did you mean learning_rate?"),
        ("lora_rank: sixteen", "unknown key 'lora_rank'; did you mean lora_r?"),
        ("gradient_acumulation_steps: 8", "did you mean gradient_accumulation_steps?"),
        ("cutoff_len: 4096", "did you mean max_length?"),
        ("zzzzqqqq: 1", "docs/recipes.md tells which there are"),
        ("lr_scheduler_type: cosin", "did you mean cosine?"),
        ("optim: adamw_torhc", "did you mean adamw_torch?"),
        ("save_strategy: stesp", "did you mean steps?"),
        ("loss_type: nnl", "did you mean nll?"),
        ("wrapped_rows: unwarp", "'unwarp' should be 'refuse' or 'unwrap'"),
        ("max_steps: six", "max_steps: 'six' should be a valid integer"),
        ("max_steps: 2.5", "max_steps: 2.5 should be"),
        ("max_steps: true", "max_steps: True should be a number"),
        ("learning_rate: true", "learning_rate: True should be a number"),
        ("learning_rate: fast", "learning_rate: 'fast' should be a valid number"),
        ("bf16: maybe", "bf16: 'maybe' should be a valid boolean"),
        ("template: {instruction}", "template: {'instruction': None} should be a valid string"),
        ("lora_r: sixteen", "lora_r: 'sixteen' should be a valid integer"),
        ("lora_target_modules: 5", "lora_target_modules: 5 should be"),
    ],
)
def test_typo_or_wrong_type_names_the_key_and_the_mend(written, line, named):
    path = written(line)
    message = fault(path)
    assert named in message and message.startswith(f"{path}: ")


@pytest.mark.parametrize("key", sorted(REFUSED_KEYS))
def test_keys_without_effect_are_refused_with_the_reason(written, key):
    assert f"the key {key} is not supported: {REFUSED_KEYS[key]}" in fault(written(f"{key}: 1"))


def test_all_faults_are_listed_at_once(written):
    path = written(
        "learning_rat: 1\nmax_steps: six\nlr_scheduler_type: cosin\n", base="output_dir: out\ntrain_files: 5\n"
    )
    lines = fault(path, ["--lora_rank", "16", "--bf16", "perhaps"]).splitlines()
    assert len(lines) == 7
    for line, key in zip(
        lines,
        ["train_files", "learning_rat", "max_steps", "lr_scheduler_type", "lora_rank", "bf16", "model_name_or_path"],
        strict=True,
    ):
        assert key in line


@pytest.mark.parametrize("key", ["model_name_or_path", "train_files", "output_dir"])
@pytest.mark.parametrize("left", ["", "{key}:\n", "{key}: ''\n"])
def test_required_key_is_asked_for(written, key, left):
    base = "".join(line + "\n" for line in BASE.splitlines() if not line.startswith(key)) + left.format(key=key)
    assert key in fault(written("", base=base))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "must be a mapping"),
        ("- a\n- b\n", "must be a mapping"),
        ("5: a\n", "must be a mapping"),
        ("a: [1\n", "is not valid YAML"),
        ("a: 1\nb: 2\na: 3\n", "line 3 is not valid YAML: the key 'a' stands twice"),
        ("? [a, b]\n: 1\n", "is not valid YAML"),
        ("run_name: 2024-13-01\n", "is not valid YAML"),
        ("model_init_kwargs: {a: 1, a: 2}\n", "the key 'a' stands twice"),
    ],
)
def test_what_is_no_mapping_of_keys_is_refused(written, text, expected):
    assert expected in fault(written(text, base=""))


def test_missing_or_unreadable_file_is_named(tmp_path):
    assert "none.yaml does not exist" in fault(tmp_path / "none.yaml")
    assert "cannot be read" in fault(tmp_path)
    (tmp_path / "latin1.yaml").write_bytes("run_name: na\xefve\n".encode("latin-1"))
    assert "cannot be read" in fault(tmp_path / "latin1.yaml")


def test_values_are_typed(written):
    recipe = load_recipe(
        written(
            "learning_rate: 1e-5\nmax_steps: '6'\nlora_target_modules: all-linear\nlr_scheduler_type: cosine\n"
            "deepspeed: ds_configs/zero3.json\nmodel_init_kwargs: {a: 1}\nseed: 7\n"
        )
    )
    assert recipe["learning_rate"] == 1e-5 and recipe["max_steps"] == 6 and recipe["seed"] == 7
    assert recipe["lora_target_modules"] == ["all-linear"]
    assert recipe["lr_scheduler_type"] == "cosine" and recipe["deepspeed"] == "ds_configs/zero3.json"


def test_defaults_are_the_projects_where_it_has_one_and_the_librarys_elsewhere(written):
    recipe = load_recipe(written(""))
    assert recipe["max_length"] == 4096 and recipe["logging_nan_inf_filter"] is False
    assert recipe["error_span_weight"] == 1.0 and recipe["resume"] == "auto" and recipe["lora_r"] == 16
    with pytest.raises(KeyError):
        recipe["no_such_key"]


def test_every_key_accepts_its_own_default(written):
    recipe = load_recipe(written(""))
    for key in recipe_module._fields():
        if key not in REFUSED_KEYS:
            recipe_module._typed(key, recipe[key])


def test_advice_names_keys_that_exist():
    for advice in FORMER_NAMES.values():
        key = advice.partition(":")[0].partition(" ")[0].rstrip(",")
        assert key == "limit" or (key in recipe_module._fields() and key not in REFUSED_KEYS), advice


@pytest.mark.parametrize(
    ("arguments", "key", "value"),
    [
        (["--max_steps", "6"], "max_steps", 6),
        (["--max_steps=6"], "max_steps", 6),
        (["--max-steps", "6"], "max_steps", 6),
        (["--max_steps", "-1"], "max_steps", -1),
        (["--max_steps", "5", "--max_steps", "6"], "max_steps", 6),
        (["--learning_rate", "2e-5"], "learning_rate", 2e-5),
        (["--bf16", "true"], "bf16", True),
        (["--run_name", "007"], "run_name", "007"),
        (["--run_name", "2024-01-15"], "run_name", "2024-01-15"),
        (["--run_name", "2024-13-15"], "run_name", "2024-13-15"),
        (["--run_name", "# 5"], "run_name", "# 5"),
        (["--deepspeed", "none"], "deepspeed", None),
        (["--deepspeed", "null"], "deepspeed", None),
        (["--template", "Q: {instruction}"], "template", "Q: {instruction}"),
        (["--train_files", "[b.jsonl, c.jsonl]"], "train_files", ["b.jsonl", "c.jsonl"]),
        (["--train_files", "[{path: b.jsonl, limit: 5}]"], "train_files", [{"path": "b.jsonl", "limit": 5}]),
    ],
)
def test_overrides_win_over_the_file(written, arguments, key, value):
    path = written("max_steps: 3\nrun_name: file\ndeepspeed: ds.json\n")
    assert load_recipe(path, arguments)[key] == value


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["max_steps", "6"], "Unexpected argument 'max_steps'"),
        (["--max_steps"], "--max_steps needs a value"),
        (["--max_steps", "--bf16"], "--max_steps needs a value"),
        (["--learning_rat", "1"], "did you mean learning_rate?"),
        (["--max_steps", "six"], "command line: max_steps: 'six'"),
    ],
)
def test_bad_override_is_refused(written, arguments, expected):
    assert expected in fault(written(""), arguments)


def test_resolved_recipe_is_plain_json_with_every_own_key(written):
    resolved = load_recipe(written("max_steps: 6\n")).resolved()
    assert resolved["max_steps"] == 6 and resolved["max_length"] == 4096
    assert resolved["error_span_weight"] == 1.0 and resolved["train_files"] == "a.jsonl"


def test_configs_receive_the_recipes_values(written, tmp_path):
    recipe = load_recipe(
        written("max_steps: 6\nlora_r: 8\nuse_peft: true\nuse_cpu: true\nbf16: false\n"),
        ["--output_dir", str(tmp_path)],
    )
    config, model = recipe.sft_config(), recipe.model_config()
    assert (config.max_steps, config.max_length, config.logging_nan_inf_filter) == (6, 4096, False)
    assert (model.lora_r, model.use_peft) == (8, True)


def test_combination_that_sftconfig_refuses_is_the_users_fault(written):
    recipe = load_recipe(written("load_best_model_at_end: true\neval_strategy: 'no'\nuse_cpu: true\nbf16: false\n"))
    with pytest.raises(InputError, match="SFTConfig refuses the recipe"):
        recipe.sft_config()


TYPO = """
import sys
from lemma_train.errors import InputError
from lemma_train.training.recipe import load_recipe
try:
    load_recipe(sys.argv[1])
except InputError as error:
    print(error)
loaded = [name for name in sys.modules if name.startswith("transformers.models.llama.modeling")]
print("models:", loaded, "deepspeed:", "deepspeed" in sys.modules)
"""


def test_a_leading_tilde_is_the_home_folder_in_every_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    file = tmp_path / "r.yaml"
    file.write_text("model_name_or_path: ~/m\ntrain_files: x.jsonl\noutput_dir: ~/out\nuse_cpu: true\nbf16: false\n")
    recipe = load_recipe(file)
    assert recipe["model_name_or_path"] == "/home/someone/m"
    assert str(recipe.output_dir) == recipe.sft_config().output_dir == "/home/someone/out"


def test_typo_is_found_without_a_model(written):
    done = subprocess.run(
        [sys.executable, "-c", TYPO, written("learning_rat: 1\n")], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert "did you mean learning_rate?" in done.stdout
    assert "models: [] deepspeed: False" in done.stdout


def test_recipes_ship():
    assert SHIPPED, "recipes/ holds no YAML file"


@pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
def test_shipped_recipe_loads_and_its_files_exist(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    recipe = load_recipe(path)
    check_recipe(recipe, {})
    if recipe["deepspeed"]:
        assert Path(recipe["deepspeed"]).is_file()
    opening = path.read_text(encoding="utf-8").partition("\nmodel_name_or_path")[0]
    assert "accelerate launch" in opening, "a recipe opens with the command that runs it"
