"""benchmarks/training_*.py where nothing is trained: their rows, what trainers are told, what comes of figures."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from launching import ROOT

from lemma_train.template import Renderer
from lemma_train.training.recipe import load_recipe

sys.path.append(str(ROOT / "benchmarks"))

import training_measured
import training_rows
import training_runs
import training_scaling
import training_speed
import training_tables

ENVIRONMENT = {"processor": "a processor", "threads": 2, "torch": "2.15.0", "transformers": "5.24.0", "trl": "1.16.0"}


@pytest.fixture
def gsm8k(tmp_path) -> Path:
    file = tmp_path / "train.jsonl"
    lines = [
        {"question": f"What is {i} + {i + 3}?", "answer": f"Add {i} and {i + 3}.\nIt is {2 * i + 3}."}
        for i in range(1000)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return file


@pytest.fixture
def job(tmp_path, gsm8k, smollm2_folder) -> training_runs.Job:
    training_rows.write_rows(tmp_path / "rows", training_rows.gsm8k_rows(gsm8k, 32), "<eos>")
    return training_runs.Job(
        trainer="ours",
        python=Path(sys.executable),
        model=smollm2_folder,
        rows=tmp_path / "rows",
        out=tmp_path / "run",
        lora=False,
        steps=2,
        micro_batch=4,
        accumulation=4,
        processes=1,
        learning_rate=1e-5,
    )


def test_rows_of_a_length_have_just_that_many_tokens(gsm8k, smollm2_tokenizer):
    renderer = Renderer(smollm2_tokenizer)
    for tokens in (32, 64, 128):
        rows = training_rows.rows_of_length(gsm8k, renderer, tokens, 12)
        stripped = [(question.strip(), answer.strip()) for question, answer in rows]  # as preparing does
        assert {len(renderer.encode(*row).input_ids) for row in stripped} == {tokens}
        assert len(set(rows)) == 12


def test_a_length_below_the_prompts_is_refused(gsm8k, smollm2_tokenizer):
    with pytest.raises(ValueError, match="a row of 16 tokens has no room for an answer"):
        training_rows.rows_of_length(gsm8k, Renderer(smollm2_tokenizer), 16, 1)


@pytest.mark.parametrize("measure", training_runs.MEASURES, ids=lambda measure: measure.name)
def test_a_run_without_a_measure_differs_in_its_key_alone(job, measure):
    with_all, without = (load_recipe(file, extra) for file, *extra in map(training_runs.arguments, _both(job, measure)))
    key, _, value = measure.key.partition(": ")
    assert str(with_all[key]).lower() == value
    assert str(without[key]).lower() == measure.without != value
    told, told_without = map(training_runs.told, _both(job, measure))
    assert {name for name in told if told[name] != told_without[name]} == {"extra"}


def _both(job, measure):
    return job, replace(job, extra=measure.extra)


def test_only_a_run_that_was_told_the_same_is_kept(job):
    assert training_measured.kept(job) is None
    job.out.mkdir()
    (job.out / "run.json").write_text(json.dumps({"told": training_runs.told(job)}), encoding="utf-8")
    assert training_measured.kept(job) == {"told": training_runs.told(job)}
    with pytest.raises(SystemExit, match=r"other settings \(learning_rate; learning_rate: 1e-05, now 0\.1\)"):
        training_measured.kept(replace(job, learning_rate=0.1))
    (job.rows / "ours.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"other settings \(rows; rows: "):
        training_measured.kept(job)
    (job.out / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SystemExit, match="an older version wrote it"):
        training_measured.kept(job)


def _figures(step_seconds: float) -> dict:
    rank = {
        "train_began": 3.0,
        "step_ends": [8.0, 8.0 + step_seconds, 8.0 + 3 * step_seconds],
        "tokens": [[100, 150, 200]] * 3,
        "losses": [3.0, 2.0, 1.0],
        "peak_rss_gib": 1.5,
        "environment": ENVIRONMENT,
    }
    return training_measured.figures([rank, rank | {"peak_rss_gib": 2.5}])


def test_figures_count_all_ranks_and_hold_the_first_step_apart():
    found = _figures(step_seconds=2.0)
    assert (found["start_seconds"], found["first_step_seconds"], found["whole_seconds"]) == (3.0, 5.0, 14.0)
    assert (found["steady_seconds"], found["supervised_per_second"]) == (6.0, 75.0)  # steps of 2 and 4 seconds
    assert (found["padding_share"], found["tokens"], found["peak_rss_gib"]) == (0.25, 900, 2.5)


def _run(number: int, name: str, step_seconds: float, **told) -> dict:
    told = {"processes": 1, "rows": "a"} | told
    return {"round": number, "name": name, "told": told, "held_out_loss": 1.25, **_figures(step_seconds)}


def test_a_ratio_is_the_median_of_the_rounds_own():
    runs = [_run(number, "trl", seconds) for number, seconds in ((1, 4.0), (2, 10.0), (3, 6.0))]
    runs += [_run(number, "ours", 2.0) for number in (1, 2, 3)]
    runs += [_run(1, "ours-trl_head", 2.5)]
    summary = training_tables.summarise(runs)
    assert list(summary["trainers"]) == ["ours", "trl", "ours-trl_head"]
    assert summary["trainers"]["trl"]["ours_is_faster_by"] == 3.0
    assert summary["trainers"]["trl"]["in_each_round"] == [2.0, 5.0, 3.0]
    assert summary["trainers"]["ours-trl_head"]["gain"] == 1.25
    text = training_tables.markdown(training_tables.trainers_table(summary | {"base_held_out_loss": 1.5}))
    assert "| `trl sft` 1.16 | 25.0 | 37.5 | 25.0% | 5.0 s | 26 s | 2.0000 | 1.2500 | 2.5 GiB | 3.00 (2.00, " in text
    assert text.endswith("\n| untrained | | | | | | | 1.5000 | | |")
    with pytest.raises(SystemExit, match="rows differs"):
        training_tables.summarise([*runs, _run(4, "ours", 2.0, rows="b")])
    elsewhere = _run(4, "ours", 2.0) | {"environment": ENVIRONMENT | {"processor": "another"}}
    with pytest.raises(SystemExit, match="processor differs"):
        training_tables.summarise([*runs, elsewhere])


@pytest.mark.parametrize(
    ("read", "words", "message"),
    [
        (training_speed.read_options, ["--rows", "250"], "250 rows are not two or more whole steps of 16 rows"),
        (training_speed.read_options, ["--measures", "--name", "x"], "goes with neither"),
        (training_speed.read_options, ["--llamafactory", "missing"], "missing is no environment"),
        (training_scaling.read_options, ["--tokens", "4096"], "4096 does not divide the 2,048 tokens"),
        (training_scaling.read_options, ["--tokens", "16"], "a row of 16 tokens has no room for an answer"),
        (training_scaling.read_options, ["--rows", "16"], "16 is not two or more whole steps"),
    ],
)
def test_options_that_cannot_be_are_named(gsm8k, smollm2_folder, capsys, read, words, message):
    with pytest.raises(SystemExit) as ended:
        read([str(gsm8k), "out", "--model", str(smollm2_folder), *words])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_relative_places_are_those_of_the_caller(gsm8k, smollm2_folder, monkeypatch):
    monkeypatch.chdir(gsm8k.parent)
    options = training_speed.read_options([gsm8k.name, "out", "--trainers", "ours", "--model", str(smollm2_folder)])
    assert [job.out for job in training_speed.planned(options)] == [
        gsm8k.parent / "out" / f"{number}-ours" for number in (1, 2, 3)
    ]


def test_scaling_draws_the_runs_that_it_finds(gsm8k, smollm2_folder, capsys, monkeypatch):
    words = [str(gsm8k), str(gsm8k.parent / "out"), "--rows", "32", "64", "--tokens", "64", "--model"]
    options, by_length = training_scaling.read_options([*words, str(smollm2_folder)])
    for _, _, job in training_scaling.plan(options, by_length):
        job.out.mkdir(exist_ok=True)
        run = {**_figures(2.0), "told": training_runs.told(job), "tokens": 64 * 32 * 5}
        (job.out / "run.json").write_text(json.dumps(run), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["training_scaling.py", *words, str(smollm2_folder), "--markdown"])
    training_scaling.main()
    names = [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert names[2:] == ["32 rows", "64 rows", "64 tokens a row", "1 process", "2 processes"]
    points = json.loads((options.out / "scaling.json").read_text(encoding="utf-8"))
    assert {axis: [point["at"] for point in found] for axis, found in points.items()} == {
        "rows": [32, 64],
        "tokens": [64],
        "processes": [1, 2],
    }
    assert (options.out / "training_scaling.png").stat().st_size > 10_000
