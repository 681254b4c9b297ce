"""The pages are true where a machine can tell: links lead somewhere, keys and messages are those of the code."""

import ast
import dataclasses
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from launching import ROOT

from lemma_train.training.recipe import LemmaConfig
from lemma_train.training.recipe_keys import DEFAULTS, REFUSED_KEYS

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_every_key_of_this_project_and_every_refused_or_changed_one_is_documented():
    recipes, table = ((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("recipes.md", "training_keys.md"))
    own = [f.name for f in dataclasses.fields(LemmaConfig)]
    assert [key for key in [*own, *REFUSED_KEYS] if f"`{key}`" not in table] == []
    assert [key for key in DEFAULTS if f"`{key}`" not in recipes] == []


def test_readme_shows_the_two_set_up_commands():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first_screen = "\n".join(readme.splitlines()[:20])
    assert "bash scripts/quickstart.sh" in first_screen and "bash scripts/test.sh" in first_screen


def headings(page: Path) -> set[str]:
    """The anchors that GitHub gives a page: each heading in lower case without its signs, a second one numbered."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    seen: Counter[str] = Counter()
    anchors = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", text, re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        anchors.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return anchors


def broken_links(pages: list[Path]) -> list[str]:
    """Links to files that are not there, and to headings that their page does not have."""
    broken = []
    for page in pages:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            if link.startswith(("http://", "https://")):
                continue
            if not target.exists() or (anchor and anchor not in headings(target)):
                broken.append(f"{page.name}: {link}")
    return broken


def test_every_link_leads_to_a_file_and_every_anchor_to_a_heading():
    assert broken_links(PAGES) == []


def test_a_broken_link_and_a_broken_anchor_are_noticed(tmp_path):
    (tmp_path / "a.md").write_text("# One `b_c`: two!\n\n```\n# not one\n```\n## Two\n\n## Two\n")
    links = ["a.md", "a.md#one-b_c-two", "a.md#two-1", "#own", "a.md#not-one", "a.md#two-2", "b.md", "#other"]
    (tmp_path / "page.md").write_text("# Own\n\n" + " ".join(f"[x]({link})" for link in links))
    assert broken_links([tmp_path / "page.md"]) == [f"page.md: {link}" for link in links[4:]]


def build_site(config: Path, out: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(config), "--site-dir", str(out)],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )


def test_the_site_is_built_without_a_warning_and_asks_nothing_of_other_hosts(tmp_path):
    done = build_site(ROOT / "mkdocs.yml", tmp_path)
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(list((ROOT / "docs").glob("*.md")))
    fetched = r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"']?((?:https?:)?//[^\"'\s>]+)"
    outside = {found for page in pages for found in re.findall(fetched, page.read_text(encoding="utf-8"))}
    styles = {
        found
        for css in tmp_path.rglob("*.css")
        for found in re.findall(r"url\([\"']?(?:https?:)?//[^)]*", css.read_text())
    }
    assert outside | styles == set()


@pytest.mark.parametrize("slip", ["[x](gone.md)", "[x](data.md#gone)", "[x](/data.md)"])
def test_the_site_is_not_built_with_a_broken_link(tmp_path, slip):
    for page in (ROOT / "docs").glob("*.md"):
        (tmp_path / "docs" / page.name).parent.mkdir(exist_ok=True)
        (tmp_path / "docs" / page.name).write_bytes(page.read_bytes())
    (tmp_path / "mkdocs.yml").write_bytes((ROOT / "mkdocs.yml").read_bytes())
    index = tmp_path / "docs" / "index.md"
    index.write_text(index.read_text(encoding="utf-8") + slip, encoding="utf-8")
    done = build_site(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode == 1 and "WARNING" in done.stderr


def test_the_start_page_has_every_page():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert [name for name in sorted(pages) if f"]({name})" not in index] == []


def test_recipes_and_scripts_that_the_pages_name_exist():
    text = "\n".join(p.read_text(encoding="utf-8") for p in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    named = set(
        re.findall(r"\b((?:recipes|accelerate_configs|ds_configs|scripts)/[\w./-]+\.(?:yaml|json|sh|py))", text)
    )
    assert named and [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("kind", ["collection", "training", "evaluation", "ablation", "run"])
def test_a_page_of_keys_is_the_one_that_the_code_writes(kind):
    name = f"{kind}_keys.md"
    made = subprocess.run(
        [sys.executable, "-c", f"import write_key_tables; print(write_key_tables.page({name!r}), end='')"],
        cwd=ROOT / "scripts",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert page == made, "run: python scripts/write_key_tables.py"


def test_the_table_of_evaluation_keys_leaves_out_what_an_evaluation_refuses():
    from lemma_train.evaluation.settings import NO_EFFECT

    pages = [(ROOT / "docs" / f"{kind}_keys.md").read_text(encoding="utf-8") for kind in ("collection", "evaluation")]
    assert [[f"| `{key}` |" in page for page in pages] for key in NO_EFFECT] == [[True, False]] * len(NO_EFFECT)


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


def texts_of_the_code() -> list[str]:
    """Every text that stands in the code, with a null character where a value is put in."""
    found = []
    for path in (ROOT / "lemma_train").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(v.value if isinstance(v, ast.Constant) else "\0" for v in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_the_messages_that_the_page_on_troubleshooting_quotes_are_the_codes():
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    code, script = texts_of_the_code(), (ROOT / "scripts" / "install.sh").read_text(encoding="utf-8")
    gone = []
    for message in quoted:
        parts = [part for part in message.split("\u2026") if part.strip(" ,:;.?")]
        pattern = re.compile(".*".join(re.escape(part.strip()) for part in parts), re.DOTALL)
        if not any(pattern.search(text) for text in code) and message not in script:
            gone.append(message)
    assert len(quoted) > 25 and gone == []


def test_the_keys_that_the_page_on_llamafactory_proposes_are_keys_of_a_recipe(tmp_path):
    from lemma_train.training.compatibility import check_recipe
    from lemma_train.training.recipe import _fields, load_recipe
    from lemma_train.training.sources import _KEYS

    page = (ROOT / "docs" / "coming_from_llamafactory.md").read_text(encoding="utf-8")
    rows = [
        line.strip("|").split("|") for line in page.partition("| theirs |")[2].splitlines() if line.startswith("| `")
    ]
    proposed = [re.match(r"\w+", code)[0] for cells in rows for code in re.findall(r"`([^`]+)`", cells[1])]
    known = {*_fields(), *_KEYS, "columns"} - REFUSED_KEYS.keys()
    assert len(rows) > 25 and [key for key in proposed if key not in known] == []
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1], encoding="utf-8")
    check_recipe(load_recipe(recipe), {})


def test_a_recipe_that_a_page_shows_is_one(tmp_path, monkeypatch):
    from lemma_train.loop.settings import load_run_recipe

    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs" / "run.md").read_text(encoding="utf-8")
    (tmp_path / "run.yaml").write_text(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1], encoding="utf-8")
    assert load_run_recipe(tmp_path / "run.yaml").seeds == [42, 43, 44]
