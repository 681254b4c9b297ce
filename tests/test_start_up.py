"""What starts at once: `lemma --help` and `lemma plan` import no heavy library; a recipe is read without TRL.

Nothing is timed here; benchmarks/start_up.py does that.
"""

import dataclasses
import importlib.metadata
import json
import runpy
import subprocess
import sys
import typing

import pytest
from launching import ROOT
from trl import ModelConfig, SFTConfig

from lemma_train.training import library_keys
from lemma_train.training import recipe as recipe_module
from lemma_train.training.recipe_keys import REFUSED_KEYS

HEAVY = ("torch", "transformers", "trl", "peft", "datasets", "pyarrow", "numpy", "matplotlib", "huggingface_hub")


def imported(code: str) -> set[str]:
    """Top-level names of what a new process has imported once `code` has run."""
    tell = "import sys, json; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    made = subprocess.run([sys.executable, "-c", f"{code}\n{tell}"], capture_output=True, text=True, cwd=ROOT)
    assert made.returncode == 0, made.stderr
    return set(json.loads(made.stdout.splitlines()[-1]))


def test_help_imports_no_heavy_library():
    run = "from lemma_train.cli import main\ntry: main(['--help'])\nexcept SystemExit as end: assert not end.code"
    assert imported(run) & {*HEAVY, "yaml", "pydantic"} == set()


@pytest.mark.parametrize("recipe", ["llama3_8b.yaml", "llama3_70b_lora.yaml", "smollm2_135m.yaml"])
def test_plan_imports_no_heavy_library(recipe, tmp_path):
    # The table counts as right whatever is installed: this test is about what the plan itself needs.
    versions = {name: importlib.metadata.version(name) for name in library_keys.VERSIONS}
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"question": "2 + 3?", "answer": "5"}\n')
    command = ["plan", f"recipes/{recipe}", "--train_files", str(rows), "--output_dir", str(tmp_path / "out")]
    run = f"from lemma_train.training import library_keys\nlibrary_keys.VERSIONS = {versions}\n"
    assert imported(f"{run}from lemma_train.cli import main\nmain({command})") & set(HEAVY) == set()


# --- the table of TRL's keys ----------------------------------------------------------------------------------------


def installed_are_the_tables() -> bool:
    return all(importlib.metadata.version(name) == version for name, version in library_keys.VERSIONS.items())


def test_the_table_of_keys_is_the_one_that_the_installed_libraries_make():
    script = ROOT / "scripts" / "write_library_keys.py"
    made = runpy.run_path(str(script))["text"]()
    if installed_are_the_tables():
        text = (ROOT / "lemma_train" / "training" / "library_keys.py").read_text(encoding="utf-8")
        assert text == made, "run: python scripts/write_library_keys.py"
    else:
        assert recipe_module._configs()[1:] == (ModelConfig, SFTConfig)
        compile(made, "library_keys.py", "exec")


def test_with_other_releases_the_libraries_are_asked(monkeypatch):
    monkeypatch.setattr(library_keys, "VERSIONS", {"trl": "0.0.1"})
    recipe_module._configs.cache_clear()
    try:
        assert recipe_module._configs() == (recipe_module.LemmaConfig, ModelConfig, SFTConfig)
    finally:
        recipe_module._configs.cache_clear()


@pytest.mark.parametrize(
    ("keys", "config"), [(library_keys.ModelKeys, ModelConfig), (library_keys.SFTKeys, SFTConfig)], ids=["model", "sft"]
)
def test_keys_have_the_libraries_names_defaults_and_types(keys, config):
    if not installed_are_the_tables():
        return  # then it is not used: see above
    real = {f.name: f for f in dataclasses.fields(config)}
    hints, of_table = typing.get_type_hints(config), typing.get_type_hints(keys)
    assert [f.name for f in dataclasses.fields(keys)] == list(real)
    for f in dataclasses.fields(keys):
        assert recipe_module._default(f) == recipe_module._default(real[f.name]), f.name
        assert list(f.metadata.get("choices") or ()) == list(real[f.name].metadata.get("choices") or ()), f.name
        if f.name not in REFUSED_KEYS:
            assert recipe_module._members(of_table[f.name]) == recipe_module._members(hints[f.name]), f.name
