"""The grid: which runs come of it, what they are called, what they train, and what is refused."""

import contextlib
import sys

import pytest
import yaml
from launching import ROOT, write_recipe

from lemma_train.ablation.ablate import Ablation
from lemma_train.ablation.cells import cells_of, runs_of
from lemma_train.ablation.settings import AblateSettings, load_ablate_recipe
from lemma_train.ablation.training_run import STATE_FILE, Ending, ending_of
from lemma_train.child_process import Children, how_it_ended
from lemma_train.errors import InputError
from lemma_train.training.lock import claim

SHIPPED = sorted((ROOT / "recipes" / "ablations").glob("*.yaml"))


def recipe_file(folder, **keys):
    path = folder / "ablation.yaml"
    asked = str(ROOT / "recipes" / "evaluate" / "word_sums.yaml")
    values = {"recipe": str(folder / "recipe.yaml"), "output_dir": str(folder / "out"), "evaluate": asked, **keys}
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_an_ablation_that_ships_opens_with_its_command_and_every_run_of_it_can_be_read(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert path.read_text().startswith(f"# lemma ablate recipes/ablations/{path.name}\n")
    ablation = Ablation(path, [], print)
    assert ablation.faults == {} and len(ablation.runs) == len(ablation.cells) * len(ablation.settings.seeds)
    assert (ROOT / ablation.settings.evaluate).is_file()


def test_every_combination_is_a_cell_and_every_cell_is_trained_once_before_any_a_second_time():
    settings = AblateSettings(
        output_dir="out",
        overrides={"max_steps": 9},
        grid={"lora_r": [4, 8], "lora_target_modules": [["q_proj", "v_proj"], "all-linear"]},
        variants={"whole": {}, "no restart": {"train_files": "b.jsonl", "max_steps": 5}},
        seeds=[1, 2],
        evaluate="e.yaml",
    )
    runs = runs_of(settings, {"train_files": "a.jsonl", "seed": 42, "learning_rate": 1e-4})
    assert len(runs) == 16 and len({run.name for run in runs}) == 16 and [run.seed for run in runs] == [1] * 8 + [2] * 8
    assert runs[1].name == "lora_r-4_lora_target_modules-q_proj+v_proj_no-restart_seed-1"
    assert runs[1].recipe == {
        "train_files": "b.jsonl",
        "seed": 1,
        "learning_rate": 1e-4,
        "max_steps": 5,
        "lora_r": 4,
        "lora_target_modules": ["q_proj", "v_proj"],
        "output_dir": f"out/{runs[1].name}",
        "evaluate_after": "e.yaml",
    }
    assert runs[8].cell == runs[0].cell and yaml.safe_load(runs[1].text) == runs[1].recipe


def test_without_seeds_a_run_has_that_of_the_training_recipe():
    (run,) = runs_of(AblateSettings(output_dir="out", grid={"lora_r": [4]}), {"seed": 7})
    assert run.seed == 7 and "evaluate_after" not in run.recipe


def test_names_that_would_be_equal_or_too_long_are_kept_apart():
    alike = cells_of(AblateSettings(grid={"train_files": ["a b.jsonl", "a/b.jsonl"]}))
    assert len({cell.name for cell in alike}) == 2 and all(cell.name.startswith("train_files-a-b") for cell in alike)
    long = cells_of(AblateSettings(grid={"train_files": ["x" * 300, "x" * 300 + "y"]}))
    assert len({cell.name for cell in long}) == 2 and all(len(cell.name) <= 110 for cell in long)
    assert "/" not in "".join(cell.name for cell in cells_of(AblateSettings(grid={"train_files": ["../../etc", ".."]})))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "neither grid nor variants is given"),
        ({"grid": {"lora_r": []}}, r"grid\.lora_r: it lists no value"),
        ({"grid": {"lora_r": [4, 4]}}, r"grid\.lora_r: a value stands twice"),
        ({"grid": {"seed": [1, 2]}}, r"grid\.seed: list the seeds in the key seeds"),
        ({"grid": {"lora_r": [4]}, "overrides": {"lora_r": 8}}, r"overrides sets it as well"),
        ({"grid": {"lora_r": [4]}, "variants": {"a": {"lora_r": 8}}}, r"variants\.a\.lora_r: the grid sets it as well"),
        ({"grid": {"lora_r": [4]}, "variants": {"a": {"output_dir": "x"}}}, r"variants\.a\.output_dir: each run has"),
        ({"grid": {"lora_r": [4]}, "seeds": [1, 1]}, "seeds: a seed stands twice"),
        ({"grid": {"lora_r": [4]}, "measure": "loss"}, "measure: 'loss' is neither accuracy, eval_loss nor"),
        ({"grid": {"lora_r": [4]}, "measure": "gsm8k.acuracy"}, "measure: 'gsm8k.acuracy' is neither"),
        ({"grids": {"lora_r": [4]}}, "unknown key 'grids'; did you mean grid"),
        ({"grid": {"lora_r": [4]}, "accelerate_config": "no.yaml"}, r"accelerate_config: the file no\.yaml"),
        ({"grid": {"lora_r": [4]}, "seeds": [-1, 1]}, "seeds: -1 must be between 0 and 4294967295"),
        ({"grid": {"lora_r": [4]}, "measure": ".accuracy"}, "measure: '.accuracy' is neither"),
        ({"grid": {"lora_r": [4]}, "output_dir": "~no-such-user/x"}, "output_dir: '~no-such-user/x' can be no folder"),
        ({"grid": {"lora_r": [4]}, "output_dir": "a\0b"}, r"output_dir: 'a\\x00b' can be no folder"),
        ({"grid": {key: list(range(11)) for key in ("a", "b", "c")}}, "grid: it makes 1,331 runs, more than 1,000"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, keys, message):
    with pytest.raises(InputError, match=message):
        load_ablate_recipe(recipe_file(tmp_path, **keys))


def test_a_fault_of_every_run_is_refused_and_one_of_some_is_told_for_them_alone(tmp_path, tiny_llama):
    write_recipe(tmp_path, tiny_llama, use_peft=True)
    with pytest.raises(InputError, match=r"no run of it can be trained; of lora_rank-4_seed-7: .*did you mean lora_r"):
        Ablation(recipe_file(tmp_path, grid={"lora_rank": [4, 8]}), [], print)
    ablation = Ablation(recipe_file(tmp_path, grid={"lora_r": [4, "sixteen"]}), [], print)
    assert list(ablation.faults) == ["lora_r-sixteen_seed-7"]
    assert "lora_r: 'sixteen' should be a valid integer" in ablation.faults["lora_r-sixteen_seed-7"]
    assert [line.split()[1] for line in ablation.state_lines()] == ["missing", "failed"]


def test_an_output_folder_that_is_a_file_is_refused_before_anything_is_trained(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(InputError, match=r"output_dir: '.*out' is a file; name a folder"):
        load_ablate_recipe(recipe_file(tmp_path, grid={"lora_r": [4, 8]}))


def test_a_baseline_must_be_a_cell(tmp_path, tiny_llama):
    write_recipe(tmp_path, tiny_llama, use_peft=True)
    with pytest.raises(InputError, match=r"baseline: 'lora_r-5' is no cell; they are lora_r-4, lora_r-8"):
        Ablation(recipe_file(tmp_path, grid={"lora_r": [4, 8]}, baseline="lora_r-5"), [], print)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"evaluate": "no.yaml"}, r"evaluate_after: The recipe no\.yaml does not exist"),
        ({"evaluate": ["a/e.yaml", "b/e.yaml"]}, "two recipes are called e; rename one"),
        ({"evaluate": []}, "measure: accuracy needs an evaluation; name its recipe in the key evaluate"),
        ({"measure": "eval_loss"}, "measure: eval_loss needs held-out rows: set eval_strategy, and"),
    ],
)
def test_what_could_not_be_measured_is_refused_before_anything_is_trained(tmp_path, tiny_llama, keys, message):
    write_recipe(tmp_path, tiny_llama, use_peft=True)
    with pytest.raises(InputError, match=message):
        Ablation(recipe_file(tmp_path, grid={"lora_r": [4, 8]}, **keys), [], print)


def test_no_key_or_seed_of_a_recipe_leads_out_of_the_output_folder():
    settings = AblateSettings(output_dir="out", grid={"../../x": ["../y"]})
    (run,) = runs_of(settings, {"seed": "../../z"})
    assert run.folder.parent.name == "out" and ".." not in run.folder.parts


@pytest.mark.parametrize("text", ["", "[]", "{}", "[[", "[" * 100_000, '{"state": "done", "message": 1}', b"\xff"])
def test_a_damaged_state_counts_as_a_run_that_is_not_done(tmp_path, tiny_llama, text):
    write_recipe(tmp_path, tiny_llama, use_peft=True)
    ablation = Ablation(recipe_file(tmp_path, grid={"lora_r": [4]}), [], print)
    ablation.runs[0].folder.mkdir(parents=True)
    (ablation.runs[0].folder / STATE_FILE).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert ending_of(ablation.runs[0]) == Ending("missing")


def test_a_run_whose_folder_cannot_be_written_fails_alone(tmp_path, tiny_llama):
    said = []
    write_recipe(tmp_path, tiny_llama, use_peft=True)
    ablation = Ablation(recipe_file(tmp_path, grid={"lora_r": [4, 8]}), [], said.append)
    for run, name in zip(ablation.runs, ("train.log", "recipe.yaml"), strict=True):
        (run.folder / name).mkdir(parents=True)
    assert not ablation.train_all()
    failed = [line for line in said if "FAILED: output_dir: " in line and "cannot be written: Is a directory" in line]
    assert len(failed) == 2 and "none is called best" in (tmp_path / "out" / "ablation.md").read_text()
    (tmp_path / "out" / "ablation.png").unlink()
    (tmp_path / "out" / "ablation.png").mkdir()
    with pytest.raises(InputError, match=r"output_dir: .*ablation\.png cannot be written: Is a directory"):
        ablation.gather()


def test_a_run_that_another_process_takes_up_meanwhile_is_left_to_it(tmp_path, tiny_llama):
    said = []
    write_recipe(tmp_path, tiny_llama, use_peft=True)
    ablation = Ablation(recipe_file(tmp_path, grid={"lora_r": [4, 8]}), [], lambda line: said.append(line))
    first, second = ablation.runs
    (first.folder / "train.log").mkdir(parents=True)  # it fails at once

    def say(line):
        said.append(line)
        if f"{first.name}: trains" in line:  # the other process begins with the second while the first is at work
            holding.enter_context(claim(second.folder))

    with contextlib.ExitStack() as holding:
        ablation.say = say
        assert not ablation.train_all()
        assert said[-1] == f"[2/2] {second.name}: another process trains it or has done so"
        assert [ending.split()[1] for ending in ablation.state_lines()] == ["missing", "elsewhere"]
    assert not (second.folder / STATE_FILE).exists()


def test_how_a_command_ended_is_its_signal_or_the_last_thing_that_it_said(tmp_path):
    children, log = Children(), tmp_path / "log.txt"
    killed = children.run(
        [sys.executable, "-c", "import os; print('step 7', flush=True); os.kill(os.getpid(), 9)"], log
    )
    assert how_it_ended(killed, log) == "killed by SIGKILL"
    failed = children.run([sys.executable, "-c", r"print('a fault\33[2J\n'); exit(3)"], log)
    assert failed == 3 and how_it_ended(failed, log) == r"a fault\x1b[2J"
    assert "cannot be read" in how_it_ended(1, tmp_path / "none.txt")
