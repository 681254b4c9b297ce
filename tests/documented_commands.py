"""The commands that the pages show: found in their bash blocks, and read by the parsers that would read them.

Enters: README.md, CONTRIBUTING.md and docs/. Leaves: `Command`s, and for each the words that its own parser accepts, or
an exception. Nothing is trained, asked or submitted here.
"""

import configparser
import itertools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from launching import ROOT

from lemma_train.arguments import TAKE_OVERRIDES, parser

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

# Recipes of the reader's own, and one that an ablation writes: what stands in for them here.
STAND_INS = {
    "RECIPE": "recipes/llama3_8b.yaml",
    "my_collection.yaml": "recipes/collect/gsm8k_math.yaml",
    "outputs/ablations/ranks/best.yaml": "recipes/llama3_8b_lora.yaml",
}
# Programs that are not ours; their words are theirs.
FOREIGN = {"cat", "cd", "export", "git", "hf", "mkdir", "mkdocs", "mypy", "pip", "python3", "ruff", "scancel", "vllm"}

_BLOCK = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
_HERE_DOCUMENT = re.compile(r"<<'(\w+)'\n.*?^\1$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:python|bash) (?:scripts|benchmarks)/[^`]+|scripts/slurm/submit\.sh [^`]+)`")
_ASSIGNMENT = re.compile(r"[A-Z_]+=.*", re.DOTALL)


class Command(NamedTuple):
    """page: the file's name. words: of one command, without comment, assignments and the environment's folder."""

    page: str
    words: tuple[str, ...]

    @property
    def text(self) -> str:
        return shlex.join(self.words)


def commands() -> list[Command]:
    """Every command of the pages' bash blocks, and the calls of our scripts that stand in running text, each once."""
    found = [Command(page.name, words) for page in PAGES for words in _of_page(page.read_text(encoding="utf-8"))]
    return list(dict.fromkeys(found))


def files_that_a_page_writes(name: str) -> str:
    """The lines of a page's blocks that make the reader's own files: `mkdir -p`, and `cat >FILE <<'END'`."""
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    made = [match[0] for block in _BLOCK.findall(page) for match in re.finditer(_writing, block)]
    return "\n".join(made)


_writing = re.compile(r"^mkdir -p .*?$|^cat >\S+ <<'(\w+)'\n.*?^\1$", re.MULTILINE | re.DOTALL)


def _of_page(text: str) -> Iterator[tuple[str, ...]]:
    blocks = [_HERE_DOCUMENT.sub("", block).replace("\\\n", " ") for block in _BLOCK.findall(text)]
    lines = [line for block in blocks for line in block.splitlines()] + _INLINE.findall(text)
    for line in lines:
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word == "&&":
                if words:
                    yield tuple(words)
                words = []
            elif words or not _ASSIGNMENT.fullmatch(word):
                words.append(re.sub(r"^\.venv(-vllm)?/bin/", "", word) if not words else word)


def check(command: Command, checkout: Path) -> None:
    """Read a command as its program would, in a folder that looks like a checkout.

    Raises:
        AssertionError, SystemExit, InputError: a verb, an option, a path or a key is not there.
    """
    name, *rest = [STAND_INS.get(word, word) for word in command.words]
    if name == "python" and rest[:2] == ["-m", "lemma_train.cli"]:
        name, rest = "lemma", rest[2:]
    if name == "lemma":
        _check_lemma(rest)
    elif name == "accelerate":
        _check_launch(rest)
    elif name == "python":
        _check_script(checkout, rest)
    elif name == "bash":
        _check_shell(checkout, rest[0], rest[1:])
    elif name == "sbatch":
        _check_batch(checkout, rest)
    elif name == "cp":
        assert (checkout / rest[0]).is_file(), f"{rest[0]} does not exist"
    elif "/" in name:
        _check_shell(checkout, name, rest)
    else:
        assert name in FOREIGN, f"{name} is a new kind of command: say in documented_commands.py how it is checked"


def _check_lemma(words: list[str]) -> None:
    known, overrides = parser().parse_known_args(words)
    assert not overrides or known.command in TAKE_OVERRIDES, f"lemma {known.command} does not know {overrides}"
    if hasattr(known, "recipe"):
        _load(known.command, known.recipe, overrides)


def _load(command: str, recipe: str, overrides: list[str]) -> None:
    if command in ("prepare", "plan", "train"):
        from lemma_train.training.compatibility import check_recipe
        from lemma_train.training.recipe import load_recipe

        check_recipe(load_recipe(recipe, overrides), {})
    elif command == "collect":
        from lemma_train.collection.recipe import load_collect_recipe

        load_collect_recipe(recipe, overrides)
    elif command == "evaluate":
        from lemma_train.evaluation.recipe import load_evaluate_recipe

        load_evaluate_recipe(recipe, overrides)
    elif command == "ablate":
        from lemma_train.ablation.ablate import Ablation

        Ablation(recipe, overrides, say=print)
    else:
        from lemma_train.loop.run import WholeRun

        assert command == "run", command
        WholeRun(recipe, overrides, say=print)


def _check_launch(words: list[str]) -> None:
    from accelerate.commands.launch import launch_command_parser

    assert words[0] == "launch", words
    known = launch_command_parser().parse_args(words[1:])
    assert known.config_file is None or Path(known.config_file).is_file(), known.config_file
    assert known.training_script == "lemma_train/sft.py", known.training_script
    _load("train", known.training_script_args[0], known.training_script_args[1:])


# Ends a script where its own parser has accepted the words.
_ONLY_PARSE = """
import argparse, runpy, sys
parse = argparse.ArgumentParser.parse_args
def parse_and_end(*given, **named):
    parse(*given, **named)
    sys.exit(0)
argparse.ArgumentParser.parse_args = parse_and_end
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def _check_script(checkout: Path, words: list[str]) -> None:
    script = checkout / words[0]
    assert script.is_file(), f"{words[0]} does not exist"
    if "argparse" not in script.read_text(encoding="utf-8"):
        assert not words[1:], f"{words[0]} takes no words"
        return
    done = subprocess.run(
        [sys.executable, "-c", _ONLY_PARSE, *words],
        cwd=checkout,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(script.parent), str(ROOT)])},
    )
    assert done.returncode == 0, done.stderr


def _check_shell(checkout: Path, script: str, words: list[str]) -> None:
    assert (checkout / script).is_file(), f"{script} does not exist"
    if script.endswith("/submit.sh"):
        _submit(checkout, words)
    elif script.endswith("/install.sh"):
        known = configparser.ConfigParser()
        known.read(ROOT / "setup.cfg")
        extras = set(words[0].split(",")) if words else set()
        assert extras <= set(known["options.extras_require"]), f"setup.cfg has no extra of {extras}"


def _submit(checkout: Path, words: list[str]) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LEMMA_", "SLURM_"))}
    if words[0] == "stop":  # what was begun before it on the page
        for name in words[1:]:
            log = checkout / "outputs" / "servers" / name / "1.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            log.touch()
    online = {"HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0"}
    done = subprocess.run(
        ["bash", str(checkout / "scripts/slurm/submit.sh"), "--dry-run", *words],
        # A model that is not on this disk is no fault where it may still be fetched, which a dry run does not.
        env={**clean, "LEMMA_CLUSTER_ENV": os.devnull, "LEMMA_VENV": sys.prefix, **online},
        cwd=checkout,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    jobs = [shlex.split(line) for line in done.stdout.splitlines() if line.startswith("sbatch ")]
    for job in jobs:  # what the jobs themselves would read
        script = next((place for place, word in enumerate(job) if word.endswith(".sbatch")), 0)
        verb = Path(job[script]).stem
        if verb in ("train", "prepare", "evaluate", "collect"):
            _load(verb, job[script + 1], job[script + 2 :])


def _check_batch(checkout: Path, words: list[str]) -> None:
    wrapped = [word for before, word in itertools.pairwise(words) if before == "--wrap"]
    scripts = [place for place, word in enumerate(words) if word.endswith(".sbatch")]
    assert len(wrapped) + len(scripts) == 1, words
    for inner in wrapped:
        for inner_words in _of_page(f"```bash\n{inner}\n```\n"):
            check(Command("--wrap", inner_words), checkout)
    for place in scripts:
        assert (checkout / words[place]).is_file(), words[place]
        _load(Path(words[place]).stem, words[place + 1], words[place + 2 :])
