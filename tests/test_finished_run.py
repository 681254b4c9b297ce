"""A finished evaluation: its two files belong together, and whatever is damaged in them is named or harmless."""

import json
import re

import pytest
from finished_runs import sign, write_run

from lemma_train.errors import InputError
from lemma_train.evaluation.finished_run import read_finished_run


def change(run, **values):
    """Change keys of results.json; the value None takes one out."""
    file = run / "results.json"
    results = json.loads(file.read_text()) | values
    file.write_text(json.dumps({key: value for key, value in results.items() if value is not None}))


def test_samples_to_read_are_drawn_evenly_over_outcomes_and_the_same_each_time(tmp_path):
    run = write_run(tmp_path / "run", questions=2_000, benchmarks=("gsm8k", "svamp"))
    first, again, other = (read_finished_run(run, 200, seed) for seed in (0, 0, 1))
    assert len(first.drawn) == 200 and first.samples == 4_000
    assert [s["id"] for s in first.drawn] == [s["id"] for s in again.drawn]
    assert {s["id"] for s in first.drawn} != {s["id"] for s in other.drawn}
    lines = {s["id"]: s for s in map(json.loads, (run / "samples.jsonl").read_text().splitlines())}
    assert all(lines[s["id"]] == s for s in first.drawn)
    drawn = [(s["benchmark"], s["outcome"] or s["correct"]) for s in first.drawn]
    assert len(set(drawn)) == 12
    assert {drawn.count(stratum) for stratum in drawn} <= {16, 17}


def test_a_small_run_is_shown_whole(tmp_path):
    run = write_run(tmp_path / "run", questions=3)
    assert len(read_finished_run(run, 200, 0).drawn) == 9


def test_verdicts_are_kept_by_question_and_item(tmp_path):
    run = read_finished_run(write_run(tmp_path / "run", questions=5))
    assert {name: len(held) for name, held in run.questions.items()} == {"gsm8k": 5, "math": 5, "svamp": 5}
    rights = sum(answered.right for answered in run.questions["gsm8k"].values())
    assert rights / 5 == run.accuracy("gsm8k").value
    told = run.results["probe"]["verdicts"][7]
    assert run.probed["p7"] == {"recovered": told["recovered"], "reflected": told["reflected"]}
    assert not run.drawn


@pytest.mark.parametrize(
    ("file", "content", "named"),
    [
        ("results.json", None, "results.json is missing"),
        ("results.json", "{", "results.json is not valid JSON"),
        ("results.json", "[1]", "results.json is not a JSON object"),
        ("results.json", '{"a": ' * 100_000, "results.json is not valid JSON"),
        ("results.json", '{"a": ' + "[" * 90 + "]" * 90 + "}", "more than 50 deep"),
        ("results.json", '{"benchmarks": [1]}', "'benchmarks'"),
        ("results.json", '{"benchmarks": {"gsm8k": 1}}', "'benchmarks'"),
        ("results.json", '{"benchmarks": {}, "samples_file": 5}', "'samples_file'"),
        ("results.json", '{"benchmarks": {}, "samples_file": {"lines": true, "sha256": "a"}}', "'samples_file'"),
        ("results.json", '{"benchmarks": {}, "samples_file": {"lines": -1, "sha256": "a"}}', "'samples_file'"),
        ("samples.jsonl", None, "samples.jsonl is missing"),
        ("samples.jsonl", '{"id": "a"}\n', "samples.jsonl, line 1: the key 'question_id'"),
        ("samples.jsonl", "[1]\n", "samples.jsonl, line 1 is not a JSON object"),
        ("samples.jsonl", "oh\n", "samples.jsonl, line 1 is not valid JSON"),
        ("samples.jsonl", "", "samples.jsonl: it has 0 lines where results.json tells of 6"),
    ],
)
def test_a_folder_that_is_no_evaluation_is_named(tmp_path, file, content, named):
    run = write_run(tmp_path / "run", questions=2)
    (run / file).unlink()
    if content is not None:
        (run / file).write_text(content)
    with pytest.raises(InputError, match=re.escape(named)):
        read_finished_run(run)


def test_results_and_samples_of_two_runs_are_refused(tmp_path):
    run, other = (write_run(tmp_path / name, name, questions=4) for name in ("one", "two"))
    (run / "samples.jsonl").write_bytes((other / "samples.jsonl").read_bytes())
    with pytest.raises(InputError, match=r"is not the file that results\.json was written with"):
        read_finished_run(run)
    sign(run)
    assert read_finished_run(run).samples == 12


def test_samples_that_lost_lines_are_refused_though_every_question_is_there(tmp_path):
    run = write_run(tmp_path / "run", questions=4)
    lines = (run / "samples.jsonl").read_text().splitlines(keepends=True)
    (run / "samples.jsonl").write_text("".join(lines + [line.replace("/0", "/1", 1) for line in lines]))
    sign(run)
    (run / "samples.jsonl").write_text("".join(lines))
    with pytest.raises(InputError, match=r"it has 12 lines where results\.json tells of 24"):
        read_finished_run(run)


def test_results_of_an_earlier_version_are_refused_with_the_way_on(tmp_path):
    run = write_run(tmp_path / "run", questions=2)
    change(run, samples_file=None)
    with pytest.raises(InputError, match=r"earlier version.*samples_file.*Run the same `lemma evaluate` again"):
        read_finished_run(run)


def test_samples_may_be_missing_where_they_are_not_needed(tmp_path):
    run = write_run(tmp_path / "run", questions=2)
    (run / "samples.jsonl").unlink()
    assert read_finished_run(run, needs_samples=False).samples is None


def test_one_source_under_two_labels_has_the_same_ids_twice(tmp_path):
    run = write_run(tmp_path / "run", questions=3, benchmarks=("gsm8k",))
    lines = (run / "samples.jsonl").read_text()
    (run / "samples.jsonl").write_text(lines + lines.replace('"benchmark": "gsm8k"', '"benchmark": "few"'))
    results = json.loads((run / "results.json").read_text())["benchmarks"]
    change(run, benchmarks={**results, "few": results["gsm8k"]})
    sign(run)
    assert [len(held) for held in read_finished_run(run).questions.values()] == [3, 3]
    (run / "samples.jsonl").write_text(lines * 2)
    sign(run)
    with pytest.raises(InputError, match="line 4: the sample 'gsm8k-0/0' stands twice"):
        read_finished_run(run)


def test_samples_of_a_benchmark_without_results_are_refused(tmp_path):
    run = write_run(tmp_path / "run", questions=3)
    results = json.loads((run / "results.json").read_text())["benchmarks"]
    change(run, benchmarks={"gsm8k": results["gsm8k"]})
    with pytest.raises(InputError, match=r"line 4: results\.json has no benchmark 'math'"):
        read_finished_run(run)


@pytest.mark.parametrize("model", ["m" * 5_000, "~nosuchuser/model", "a\0b", 5, ["x"], None])
def test_the_name_of_a_model_that_is_no_path_is_just_a_name(tmp_path, model):
    run = write_run(tmp_path / "run", questions=2, model=model)
    assert len(read_finished_run(run).model_names) == 1


@pytest.mark.parametrize(
    "verdicts", [5, {"id": "a"}, [5], [{"id": 5, "recovered": True, "reflected": True}], [{"id": "a", "recovered": 1}]]
)
def test_damaged_verdicts_of_the_probe_are_named(tmp_path, verdicts):
    run = write_run(tmp_path / "run", questions=2, probe={"verdicts": verdicts})
    with pytest.raises(InputError, match=r"results.json: verdict 1 of 'probe' must have"):
        read_finished_run(run)


def test_items_that_share_an_id_are_kept_apart(tmp_path):
    one = {"id": "row", "recovered": None, "reflected": True}
    run = write_run(tmp_path / "run", questions=2, probe={"verdicts": [one, one]})
    assert len(read_finished_run(run).probed) == 2
