"""The documentation names every key and every message reason that the code has."""

import dataclasses
import re
import subprocess
import sys

import pytest
from launching import ROOT

from lemma_train.training.recipe import LemmaConfig
from lemma_train.training.recipe_keys import DEFAULTS, REFUSED_KEYS

RECIPES = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")


def test_every_key_of_this_project_and_every_refused_or_changed_one_is_documented():
    keys = [*(f.name for f in dataclasses.fields(LemmaConfig)), *REFUSED_KEYS, *DEFAULTS]
    assert [key for key in keys if f"`{key}`" not in RECIPES] == []


def test_readme_shows_the_two_set_up_commands_and_its_links_lead_somewhere():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first_screen = "\n".join(readme.splitlines()[:20])
    assert "bash scripts/quickstart.sh" in first_screen and "bash scripts/test.sh" in first_screen
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    broken = [
        f"{page.name}: {link}"
        for page in pages
        for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
        if not link.startswith("http") and not (page.parent / link).exists()
    ]
    assert broken == []


def test_recipes_and_scripts_that_the_pages_name_exist():
    text = "\n".join(p.read_text(encoding="utf-8") for p in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    named = set(
        re.findall(r"\b((?:recipes|accelerate_configs|ds_configs|scripts)/[\w./-]+\.(?:yaml|json|sh|py))", text)
    )
    assert named and [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("name", ["collection_keys.md", "ablation_keys.md", "run_keys.md"])
def test_a_page_of_keys_is_the_one_that_the_code_writes(name):
    made = subprocess.run(
        [sys.executable, "-c", f"import write_key_tables; print(write_key_tables.page({name!r}), end='')"],
        cwd=ROOT / "scripts",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert page == made, "run: python scripts/write_key_tables.py"


def test_the_reasons_that_the_page_on_collecting_names_are_in_the_code():
    page = (ROOT / "docs" / "collection.md").read_text(encoding="utf-8")
    stages = page.partition("## The stages")[2].partition("\n\n`--stage")[0].partition("\n\nThe student's")[0]
    reasons = [name for line in stages.splitlines() for name in re.findall(r"`([a-z_]+)`", line.rpartition(" | ")[2])]
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "lemma_train").rglob("*.py"))
    assert len(reasons) > 10 and [name for name in reasons if f'"{name}"' not in code] == []


def test_every_test_that_the_page_on_reliability_names_exists():
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", page))
    files = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py")}
    gone = [f"{file}::{test}" for file, test in named if f"def {test}(" not in files.get(file, "")]
    assert len(named) > 40 and sorted(gone) == []
    faults = page.partition("## Faults of the machine")[2].partition("What you see:")[0]
    rows = [line.replace("`| head`", "").strip("|").split("|") for line in faults.splitlines() if line.startswith("| ")]
    assert all(len(cells) == 5 and all(cell.strip() for cell in cells) for cells in rows), rows
