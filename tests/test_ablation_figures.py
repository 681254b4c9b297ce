"""What is said about cells: means, Student's intervals over seeds, paired differences, and which is best."""

import json
from dataclasses import replace

import pytest

from lemma_train.ablation.cells import runs_of
from lemma_train.ablation.figures import mean_over_seeds, run_figures, summarise
from lemma_train.ablation.results import as_text, write_results
from lemma_train.ablation.settings import AblateSettings
from lemma_train.ablation.training_run import Ending
from lemma_train.errors import InputError

DONE = Ending("done", "", 60.0)


def runs_in(folder, seeds=(1, 2, 3), cells=(4, 8)):
    settings = AblateSettings(
        output_dir=str(folder), grid={"lora_r": list(cells)}, seeds=list(seeds), evaluate="e.yaml"
    )
    return runs_of(settings, {"model_name_or_path": "m", "train_files": "rows.jsonl"})


def finish(run, accuracy, eval_loss=None, low=0.0, high=1.0):
    """The files of a finished run, with the fields that are read."""
    folder = run.folder / "evaluation" / "e"
    folder.mkdir(parents=True)
    rates = {"reflects": {"value": 0.25}, "repair_rate": {"value": None}}
    benchmark = {"metrics": {"accuracy": {"value": accuracy}}, "scorecard": rates}
    results = {"benchmarks": {"sums": benchmark}, "average": {"accuracy": accuracy, "low": low, "high": high}}
    (folder / "results.json").write_text(json.dumps(results))
    (run.folder / "run.json").write_text(json.dumps({"figures": {"train_loss": 1.5}}))
    losses = [9.0] if eval_loss is None else [9.0, eval_loss]
    (run.folder / "metrics.jsonl").write_text("".join(json.dumps({"step": 1, "eval_loss": at}) + "\n" for at in losses))


def test_students_interval_is_the_one_of_the_tables():
    # t(2) at 97.5% is 4.303, t(1) 12.706; s of these three is 0.02.
    mean, low, high = mean_over_seeds([0.50, 0.52, 0.54])
    assert mean == pytest.approx(0.52) and high - mean == pytest.approx(4.303 * 0.02 / 3**0.5, rel=1e-3)
    assert mean - low == pytest.approx(high - mean)
    mean, low, high = mean_over_seeds([0.4, 0.6])
    assert high - mean == pytest.approx(12.706 * 0.1, rel=1e-3)


def test_a_run_tells_its_losses_and_every_figure_of_its_benchmarks(tmp_path):
    run = runs_in(tmp_path)[0]
    finish(run, 0.5, eval_loss=1.25, low=0.4, high=0.6)
    told = run_figures(run)
    assert (told["accuracy"], told["low"], told["high"]) == (0.5, 0.4, 0.6)
    assert (told["train_loss"], told["eval_loss"]) == (1.5, 1.25)
    assert (told["sums.accuracy"], told["sums.reflects"], told["sums.repair_rate"]) == (0.5, 0.25, None)


def test_a_difference_is_paired_by_seed(tmp_path):
    runs = runs_in(tmp_path)
    shifts = {1: 0.0, 2: 0.25, 3: 0.5}  # what a seed does to both cells
    gains = {1: 0.05, 2: 0.06, 3: 0.07}
    for run in runs:
        finish(run, 0.3 + shifts[run.seed] + (gains[run.seed] if run.cell.name == "lora_r-8" else 0))
    told = summarise(runs, dict.fromkeys([run.name for run in runs], DONE), "accuracy")
    first, second = told["cells"]
    assert first["difference"] is None and first["interval"] == second["interval"] == "seeds"
    assert second["low"] < first["value"] < second["value"]  # apart they overlap
    difference = second["difference"]
    assert difference["value"] == pytest.approx(0.06)
    assert difference["low"] == pytest.approx(0.06 - 4.303 * 0.01 / 3**0.5, rel=1e-3) and difference["low"] > 0
    assert told["best"] == "lora_r-8" and told["as_good"] == [] and first["low"] == 0.0  # a share is not negative
    assert [run["seed"] for run in told["runs"]] == [1, 1, 2, 2, 3, 3]


def test_a_cell_that_is_not_told_apart_from_the_best_is_named_and_a_lower_loss_is_better(tmp_path):
    runs = runs_in(tmp_path)
    for run in runs:
        finish(
            run,
            0.5,
            eval_loss={4: {1: 1.0, 2: 1.2, 3: 1.1}, 8: {1: 1.1, 2: 1.0, 3: 1.0}}[run.cell.values["lora_r"]][run.seed],
        )
    told = summarise(runs, dict.fromkeys([run.name for run in runs], DONE), "eval_loss")
    assert not told["higher_is_better"] and told["best"] == "lora_r-8" and told["as_good"] == ["lora_r-4"]


def test_a_cell_with_a_failed_seed_is_never_best_and_is_named(tmp_path):
    runs = runs_in(tmp_path)
    endings = dict.fromkeys([run.name for run in runs], DONE)
    for run in runs:
        if run.name == "lora_r-8_seed-2":
            endings[run.name] = Ending("failed", "status 1: FloatingPointError: the loss | became nan", 3.0)
        else:
            finish(run, 0.9 if run.cell.name == "lora_r-8" else 0.1)
    told = summarise(runs, endings, "accuracy")
    assert told["best"] == "lora_r-4" and told["failed"] == ["lora_r-8_seed-2"]
    assert told["cells"][1]["seeds"] == [1, 3]
    text = write_results(tmp_path, tmp_path / "a.yaml", told, runs)
    assert "FAILED: lora_r-8_seed-2: status 1: FloatingPointError" in text and "lora_r-4 (best)" in text
    best = (tmp_path / "best.yaml").read_text()
    assert "lora_r: 4\n" in best and "seed: 1\n" in best and f"output_dir: {tmp_path}/best\n" in best
    assert (tmp_path / "ablation.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "ablation.json").read_text())["best"] == "lora_r-4"
    widths = {len(line) for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1  # the columns are aligned


def test_one_seed_has_the_interval_of_its_questions_and_says_so(tmp_path):
    runs = runs_in(tmp_path, seeds=[1])
    for run in runs:
        finish(run, 0.5, low=0.42, high=0.58)
    told = summarise(runs, dict.fromkeys([run.name for run in runs], DONE), "accuracy")
    assert (told["cells"][0]["low"], told["cells"][0]["interval"]) == (0.42, "questions")
    text = as_text(told, tmp_path / "a.yaml")
    assert "[42.0, 58.0] of questions" in text and "One seed a cell" in text and "Student" not in text


def test_nothing_done_yet_has_a_table_and_no_best_recipe(tmp_path):
    runs = runs_in(tmp_path)
    told = summarise(runs, {run.name: Ending("missing") for run in runs}, "accuracy")
    (tmp_path / "best.yaml").write_text("of an earlier time")
    text = write_results(tmp_path, tmp_path / "a.yaml", told, runs)
    assert told["best"] is None and "No cell has accuracy of every seed yet" in text
    assert not (tmp_path / "best.yaml").exists()


def test_a_measure_that_no_run_has_is_refused_with_those_that_they_have(tmp_path):
    runs = runs_in(tmp_path, seeds=[1])
    for run in runs:
        finish(run, 0.5)
    endings = dict.fromkeys([run.name for run in runs], DONE)
    with pytest.raises(
        InputError, match=r"no finished run has the figure gsm8k\.accuracy; they have accuracy, eval_loss"
    ):
        summarise(runs, endings, "gsm8k.accuracy")


def test_a_rate_that_the_first_run_cannot_have_does_not_end_the_ablation(tmp_path):
    runs = runs_in(tmp_path, seeds=[1])
    finish(runs[0], 0.5)  # it reflects, but no answer was wrong before: repaired of none
    told = summarise(runs, {runs[0].name: DONE, runs[1].name: Ending("missing")}, "sums.repair_rate")
    assert told["best"] is None and told["missing"] == [runs[1].name] and told["cells"][0]["value"] is None
    assert "No cell has sums.repair_rate of every seed yet" in write_results(tmp_path, tmp_path / "a.yaml", told, runs)
    finish(runs[1], 0.5)
    with pytest.raises(InputError, match=r"no finished run has the figure sums\.repair_rate"):
        summarise(runs, dict.fromkeys([run.name for run in runs], DONE), "sums.repair_rate")


def test_a_last_held_out_loss_that_is_no_number_is_not_hidden_by_an_earlier_one(tmp_path):
    (run,) = runs_in(tmp_path, seeds=[1], cells=[4])
    finish(run, 0.5, eval_loss=float("nan"))
    assert run_figures(run)["eval_loss"] is None


def test_equal_figures_have_no_interval_and_are_not_told_apart(tmp_path):
    runs = runs_in(tmp_path, seeds=[1, 2])
    for run in runs:  # both seeds gain 0.1 to the rounding
        finish(run, {1: 0.4, 2: 0.5}[run.seed] + (0.1 if run.cell.name == "lora_r-8" else 0))
    told = summarise(runs, dict.fromkeys([run.name for run in runs], DONE), "accuracy")
    difference = told["cells"][1]["difference"]
    assert difference["value"] == pytest.approx(0.1) and difference["low"] is None and difference["interval"] is None
    assert told["best"] == "lora_r-8" and told["as_good"] == ["lora_r-4"]
    assert mean_over_seeds([0.5, 0.5, 0.5]) == (0.5, None, None)


def test_cells_whose_seeds_agree_say_why_they_have_no_interval(tmp_path):
    runs = runs_in(tmp_path, seeds=[1, 2])
    for run in runs:
        finish(run, 0.5)
    told = summarise(runs, dict.fromkeys([run.name for run in runs], DONE), "accuracy")
    text = as_text(told, tmp_path / "a.yaml")
    assert "No interval stands where all seeds gave the same figure" in text and "One seed a cell" not in text


def test_a_benchmark_that_two_evaluations_have_is_told_of_both(tmp_path):
    (run,) = runs_in(tmp_path, seeds=[1], cells=[4])
    finish(run, 0.5)
    run = replace(run, recipe={**run.recipe, "evaluate_after": ["e.yaml", "voting.yaml"]})
    other = run.folder / "evaluation" / "voting"
    other.mkdir()
    assert run_figures(run)["accuracy"] is None  # a mean over the first alone would be another figure
    (other / "results.json").write_text(json.dumps({"benchmarks": {"sums": {"metrics": {"accuracy": {"value": 0.7}}}}}))
    told = run_figures(run)
    assert (told["e.sums.accuracy"], told["voting.sums.accuracy"]) == (0.5, 0.7) and "sums.accuracy" not in told
    assert told["accuracy"] == pytest.approx(0.6) and told["low"] is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 100_000,
        '{"benchmarks": [1]}',
        '{"benchmarks": {"sums": {"metrics": {"accuracy": {"value": 7}}}}}',
    ],
)
def test_damaged_results_have_no_figure_rather_than_a_wrong_one(tmp_path, text):
    (run,) = runs_in(tmp_path, seeds=[1], cells=[4])
    finish(run, 0.5)
    (run.folder / "evaluation" / "e" / "results.json").write_text(text)
    (run.folder / "run.json").write_text(text)
    with pytest.raises(InputError, match=r"no finished run has the figure accuracy; they have eval_loss\. Name one"):
        summarise([run], {run.name: DONE}, "accuracy")
