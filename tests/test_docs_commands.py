"""Every command that README, CONTRIBUTING and docs/ show in a bash block is tried, as far as this machine can.

Run in full: `lemma plan`, every `--list`, the `lemma grade` of the README, and the path of docs/first_steps.md up to
its training (its files are written by its own lines; rows are added, since the page shows the form of a table only).

Parsed alone, by what would read it: everything else. `lemma` by its own arguments, with the recipe loaded and each
override applied; `accelerate launch` by accelerate's; `submit.sh` by a dry run of itself, and the recipes of the jobs
that it would submit; our Python scripts by their own parsers, which then end. Of programs that are not ours (git, hf,
vllm, ...) nothing is checked. Whole collections, trainings and evaluations are in the tests of their rooms.
"""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from documented_commands import Command, check, commands, files_that_a_page_writes
from launching import ROOT

from lemma_train import cli
from lemma_train.errors import InputError

COMMANDS = commands()
RUN = [
    command
    for command in COMMANDS
    if command.words[:2] == ("lemma", "plan") or (command.words[0] == "lemma" and "--list" in command.words)
]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, smollm2_folder) -> Path:
    """A folder like a checkout, so that nothing is written into the real one, with the files of docs/first_steps.md."""
    folder = tmp_path_factory.mktemp("checkout")
    for entry in ROOT.iterdir():
        if entry.name not in ("data", "outputs", "models") and not entry.name.startswith("."):
            (folder / entry.name).symlink_to(entry)
    (folder / "models").mkdir()
    (folder / "models" / "smollm2-135m").symlink_to(smollm2_folder)
    (folder / "data").mkdir()
    rows = [{"question": f"How much is {n} + 1?", "answer": f"{n} + 1 = {n + 1}.\n#### {n + 1}"} for n in range(800)]
    demo = folder / "data" / "demo" / "train.jsonl"
    demo.parent.mkdir()
    demo.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    written = files_that_a_page_writes("first_steps.md")
    subprocess.run(["bash", "-euc", written], cwd=folder, check=True)
    return folder


@pytest.fixture(autouse=True)
def in_checkout(checkout, monkeypatch):
    monkeypatch.chdir(checkout)


def test_the_pages_show_commands_of_every_kind():
    first = {command.words[0] for command in COMMANDS}
    assert len(COMMANDS) > 50 and {"lemma", "accelerate", "bash", "python", "scripts/slurm/submit.sh"} <= first
    assert len(RUN) > 5


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.page}: {command.text}"[:120])
def test_a_command_is_one_that_its_program_accepts(command, checkout):
    check(command, checkout)


@pytest.mark.parametrize(
    "line",
    [
        "lemma trian recipes/llama3_8b.yaml",
        "lemma merge CHECKPOINT",
        "lemma grade answers.jsonl --to graded.jsonl",
        "lemma plan recipes/llama3_9b.yaml",
        "lemma prepare recipes/llama3_8b.yaml --learning_rat 1",
        "lemma collect recipes/collect/offline_demo.yaml --sampling.sample 2",
        "lemma evaluate recipes/evaluate/paper.yaml --model.modle X",
        "lemma run recipes/run/smollm2_demo.yaml --overrides.train.max_step 2",
        "lemma ablate recipes/ablations/lora_rank_smollm2.yaml --sedes [0]",
        "accelerate launch --config_file accelerate_configs/none.yaml lemma_train/sft.py recipes/llama3_8b.yaml",
        "accelerate launch lemma_train/sft.py recipes/llama3_8b.yaml --lora_rank 8",
        "accelerate launch lemma_train/train.py recipes/llama3_8b.yaml",
        "bash scripts/install.sh demo,doc",
        "bash scripts/quick.sh",
        "python benchmarks/grading.py --rows 5",
        "python scripts/write_key_tables.py --all",
        "scripts/slurm/submit.sh trane recipes/llama3_8b.yaml",
        "scripts/slurm/submit.sh train recipes/llama3_8b.yaml --max_step 3",
        "scripts/slurm/submit.sh chain recipes/llama3_8b.yaml --max_step 3",
        "sbatch scripts/slurm/train.sbatch recipes/llama3_8b.yaml --max_step 3",
        "sbatch --wrap 'lemma univers CHECKPOINT'",
        "lema plan recipes/llama3_8b.yaml",
    ],
)
def test_a_command_with_a_slip_in_it_is_noticed(line, checkout):
    with pytest.raises((AssertionError, SystemExit, InputError)):
        check(Command("none", tuple(shlex.split(line))), checkout)


@pytest.mark.parametrize("command", RUN, ids=lambda command: command.text)
def test_what_is_cheap_is_run(command, capsys):
    cli.main(list(command.words[1:]))
    assert capsys.readouterr().out.strip()


def test_the_readmes_grading_is_run(checkout):
    pairs = [{"response": "It is 4. The answer is 4.", "reference": "4"}, {"response": "5", "reference": "4"}]
    Path("answers.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    (command,) = [c for c in COMMANDS if c.page == "README.md" and c.words[:2] == ("lemma", "grade")]
    cli.main(list(command.words[1:]))
    graded = [json.loads(line) for line in Path("graded.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["correct"] for row in graded] == [True, False]


def test_the_first_steps_lead_to_a_prepared_table_of_ones_own(checkout, capsys):
    table = Path("data/mine/train.csv")
    shown = table.read_text(encoding="utf-8")
    (command,) = [c for c in COMMANDS if c.page == "first_steps.md" and c.words[:2] == ("lemma", "prepare")]
    try:
        table.write_text(shown + "".join(f"How much is {n} + 1?,{n + 1}\n" for n in range(38)), encoding="utf-8")
        cli.main(list(command.words[1:]))
    finally:
        table.write_text(shown, encoding="utf-8")
        shutil.rmtree("outputs/mine", ignore_errors=True)
    told = capsys.readouterr().out
    assert "rows in            40" in told and "rejected           0" in told and "38 (2 held out)" in told
