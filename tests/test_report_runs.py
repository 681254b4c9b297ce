"""What a report reads of an evaluation: an even draw of its samples, and a plain word where it is none."""

import json
import re

import pytest
from finished_runs import share, write_run

from lemma_train.errors import InputError
from lemma_train.evaluation.report_runs import proportion, read_run


def test_samples_to_read_are_drawn_evenly_over_outcomes_and_the_same_each_time(tmp_path):
    run = write_run(tmp_path / "run", questions=2_000, benchmarks=("gsm8k", "svamp"))
    first, again, other = (read_run(run, 200, seed) for seed in (0, 0, 1))
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
    assert len(read_run(run, 200, 0).drawn) == 9


def test_proportions_may_be_bare_numbers_and_nonsense_counts_as_none():
    assert proportion(share(3, 4)).value == 0.75
    assert (proportion(0.5).value, proportion(0.5).low) == (0.5, None)
    for nonsense in (None, "0.5", True, float("nan"), [0.5], {"value": "x"}):
        assert proportion(nonsense).value is None


@pytest.mark.parametrize(
    ("file", "content", "named"),
    [
        ("results.json", None, "results.json is missing"),
        ("results.json", "{", "results.json cannot be read"),
        ("results.json", '{"benchmarks": [1]}', "'benchmarks'"),
        ("results.json", '{"benchmarks": {"gsm8k": 1}}', "'benchmarks'"),
        ("samples.jsonl", '{"id": "a"}\n', "samples.jsonl, line 1: the key 'benchmark'"),
        ("samples.jsonl", "[1]\n", "samples.jsonl, line 1 is not a JSON object"),
        ("samples.jsonl", "oh\n", "samples.jsonl, line 1 is not valid JSON"),
    ],
)
def test_a_folder_that_is_no_evaluation_is_named(tmp_path, file, content, named):
    run = write_run(tmp_path / "run", questions=2)
    (run / file).unlink()
    if content is not None:
        (run / file).write_text(content)
    with pytest.raises(InputError, match=re.escape(named)):
        read_run(run, 200, 0)
