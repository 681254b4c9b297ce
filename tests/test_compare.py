"""Comparing two evaluation folders, written here as an evaluation leaves them."""

import json

import numpy as np
import pytest
from finished_runs import NONSENSE, damaged, sign

from lemma_train.errors import InputError
from lemma_train.evaluation.compare import as_dict, as_text, compare
from lemma_train.evaluation.intervals import mcnemar_exact, proportion


def write_run(folder, verdicts, **results):
    """An evaluation's folder. verdicts: benchmark -> for each question its verdict, or a list of its samples'."""
    folder.mkdir()
    given = {name: [row if isinstance(row, list) else [row] for row in rows] for name, rows in verdicts.items()}
    samples = [
        {
            "id": f"{name}/{i}/{k}",
            "question_id": f"{name}/{i}",
            "benchmark": name,
            "sample": k,
            "question": f"How much is {i} + 1?",
            "reference": str(i + 1),
            "response": "It is so.",
            "correct": verdict,
        }
        for name, rows in given.items()
        for i, row in enumerate(rows)
        for k, verdict in enumerate(row)
    ]
    (folder / "samples.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    entries = {name: {"shots": 0, "questions": len(rows), "prompt_fingerprint": "p1"} for name, rows in given.items()}
    standard = {
        "name": folder.name,
        "template_fingerprint": "t1",
        "grader_version": "1",
        "decoding": {"temperature": 0.0, "top_p": 1.0, "max_tokens": 1024, "samples": 1, "stop": ["\n\n#"], "seed": 0},
        "benchmarks": entries,
        "scorecard": None,
        "probe": None,
    }
    (folder / "results.json").write_text(json.dumps(standard | results))
    sign(folder)
    return folder


def change(folder, change_results):
    file = folder / "results.json"
    results = json.loads(file.read_text())
    change_results(results)
    file.write_text(json.dumps(results))


def append(file, text):
    file.write_text(file.read_text() + text)


@pytest.fixture
def pair(tmp_path):
    """Ten questions; B gains three and loses one."""
    a = write_run(tmp_path / "before", {"sums": [True] * 4 + [False] * 6})
    b = write_run(tmp_path / "after", {"sums": [True] * 3 + [False] + [True] * 3 + [False] * 3})
    return a, b


def test_the_same_questions_are_paired(pair):
    found = compare(*pair)
    sums = found.benchmarks["sums"]
    assert (found.name_a, found.name_b) == ("before", "after")
    assert (sums.questions, sums.accuracy_a, sums.accuracy_b) == (10, 0.4, 0.6)
    assert sums.difference == pytest.approx(0.2)
    assert sums.gained == ["sums/4", "sums/5", "sums/6"] and sums.lost == ["sums/3"]
    assert sums.p == mcnemar_exact(3, 1) == 0.625
    assert found.overall == sums


def test_the_interval_is_that_of_the_paired_differences(pair):
    differences = [0] * 3 + [-1] + [1] * 3 + [0] * 3
    random = np.random.default_rng(9)
    means = random.choice(differences, size=(40_000, 10)).mean(axis=1)
    sums = compare(*pair).benchmarks["sums"]
    assert (sums.low, sums.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=1e-9)


def test_questions_are_paired_by_id_not_by_place(pair):
    lines = (pair[1] / "samples.jsonl").read_text().splitlines()
    (pair[1] / "samples.jsonl").write_text("\n".join(reversed(lines)))
    sign(pair[1])
    assert compare(*pair).benchmarks["sums"].gained == ["sums/4", "sums/5", "sums/6"]


def test_over_all_the_plain_mean_of_the_benchmarks_counts(tmp_path):
    a = write_run(tmp_path / "a", {"large": [True] * 50 + [False] * 50, "small": [False] * 4})
    b = write_run(tmp_path / "b", {"large": [True] * 60 + [False] * 40, "small": [False] * 2 + [True] * 2})
    overall = compare(a, b).overall
    assert (overall.questions, overall.accuracy_a, overall.accuracy_b) == (104, 0.25, pytest.approx(0.55))
    assert overall.difference == pytest.approx(0.3)
    assert len(overall.gained) == 12 and overall.p == mcnemar_exact(12, 0)
    # The small benchmark makes it uncertain: a standard error of half of sqrt(0.25 / 4) at least.
    assert overall.high - overall.low > 0.4


def test_a_run_beside_itself_shows_no_difference(pair):
    overall = compare(pair[0], pair[0]).overall
    assert (overall.difference, overall.low, overall.high, overall.p) == (0, 0, 0, 1)
    assert overall.gained == overall.lost == []


def test_with_several_samples_the_shares_of_each_question_are_paired(tmp_path):
    a = write_run(tmp_path / "a", {"sums": [[True, False], [False, False], [True, True], [True, False]]})
    b = write_run(tmp_path / "b", {"sums": [[True, True], [True, False], [False, True], [False, True]]})
    sums = compare(a, b).benchmarks["sums"]
    assert (sums.accuracy_a, sums.accuracy_b) == (0.5, 0.625)
    assert (sums.gained, sums.lost) == (["sums/0", "sums/1"], ["sums/2"])


def test_questions_that_one_run_could_not_grade_are_left_out_of_both(tmp_path):
    a = write_run(tmp_path / "a", {"sums": [True, None, False, [True, None]]})
    b = write_run(tmp_path / "b", {"sums": [False, True, None, [True, True]]})
    sums = compare(a, b).benchmarks["sums"]
    assert (sums.questions, sums.ungradable, sums.lost, sums.gained) == (1, 3, ["sums/0"], [])
    assert "Left out: 3 questions" in as_text(compare(a, b))


def test_nothing_graded_gives_no_figures(tmp_path):
    runs = [write_run(tmp_path / name, {"sums": [None, None]}) for name in "ab"]
    overall = compare(*runs).overall
    assert (overall.questions, overall.ungradable, overall.difference, overall.p) == (0, 2, None, None)
    assert "sums" in as_text(compare(*runs))


def test_rates_of_self_correction_stand_side_by_side(pair):
    card_a, card_b = {"reflects": proportion(1, 10), "by_error_type": {}}, {"reflects": proportion(8, 10)}
    change(pair[0], lambda results: results.update(scorecard=card_a, probe={"recovered": proportion(2, 9)}))
    change(pair[1], lambda results: results.update(scorecard=card_b | {"repair_rate": proportion(3, 4)}))
    change(pair[1], lambda results: results["benchmarks"]["sums"].update(scorecard=card_b))
    found = compare(*pair)
    assert found.overall.scorecard == {
        "reflects": {"a": proportion(1, 10), "b": proportion(8, 10)},
        "repair_rate": {"a": None, "b": proportion(3, 4)},
    }
    assert found.benchmarks["sums"].scorecard == {"reflects": {"a": None, "b": proportion(8, 10)}}
    assert found.probe == {"recovered": {"a": proportion(2, 9), "b": None}}
    text = as_text(found)
    assert "repair rate" in text and "75.0 [30.1, 95.4] of 4" in text and "Forced-error probe" in text


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (lambda r: r.update(template_fingerprint="t2"), "template_fingerprint is 't1' in A and 't2' in B"),
        (lambda r: r.update(grader_version="2"), "grader_version is '1' in A and '2' in B"),
        (lambda r: r["decoding"].update(temperature=0.7), "decoding.temperature is 0.0 in A and 0.7 in B"),
        (lambda r: r["decoding"].pop("top_p"), "decoding.top_p is 1.0 in A and None in B"),
        (lambda r: r["benchmarks"]["sums"].update(shots=4), "shots of sums is 0 in A and 4 in B"),
        (lambda r: r["benchmarks"]["sums"].update(prompt_fingerprint="p2"), "prompt_fingerprint of sums is 'p1' in A"),
    ],
)
def test_runs_that_were_not_measured_alike_are_refused(pair, changed, named):
    change(pair[1], changed)
    with pytest.raises(InputError, match="cannot be compared") as refused:
        compare(*pair)
    assert named in str(refused.value)


def test_all_differences_are_named_at_once(pair):
    change(pair[1], lambda r: r.update(template_fingerprint="t2", grader_version="2"))
    with pytest.raises(InputError, match=r"template_fingerprint.*; grader_version.*\. Evaluate both alike\.$"):
        compare(*pair)
    change(pair[1], lambda r: (r.update(grader_version="1"), r["decoding"].update(max_tokens=64, top_p=0.9)))
    with pytest.raises(InputError, match="Evaluate both alike, or allow template and decoding to compare all the same"):
        compare(*pair)


def test_a_difference_can_be_allowed_and_is_told(pair):
    def other_template(results):
        results["template_fingerprint"] = "t2"
        results["benchmarks"]["sums"]["prompt_fingerprint"] = "p2"  # which covers the template

    change(pair[1], other_template)
    found = compare(*pair, allow=["template"])
    assert found.allowed == ["template_fingerprint is 't1' in A and 't2' in B"]
    assert "Allowed: template_fingerprint" in as_text(found)


def test_allowing_one_difference_does_not_allow_another(pair):
    change(pair[1], lambda r: r["benchmarks"]["sums"].update(shots=4))
    with pytest.raises(InputError, match="allow prompts"):
        compare(*pair, allow=["template", "decoding"])
    assert compare(*pair, allow=["prompts"]).allowed == ["shots of sums is 0 in A and 4 in B"]


@pytest.mark.parametrize("name", ["grader", "questions", "everything"])
def test_what_cannot_be_allowed_is_refused(pair, name):
    with pytest.raises(InputError, match="template, prompts, decoding or probe"):
        compare(*pair, allow=[name])


def test_another_precision_is_a_difference_where_both_say_theirs(pair):
    change(pair[0], lambda results: results.update(dtype="auto"))
    compare(*pair)
    change(pair[1], lambda results: results.update(dtype="float32"))
    with pytest.raises(InputError, match="dtype is 'auto' in A and 'float32' in B"):
        compare(*pair)
    compare(*pair, allow=["decoding"])


def test_another_seed_of_decoding_is_no_difference(pair):
    change(pair[1], lambda results: results["decoding"].update(seed=5))
    assert compare(*pair).allowed == []


def test_other_questions_are_refused(tmp_path):
    a = write_run(tmp_path / "a", {"sums": [True, False], "ages": [True]})
    b = write_run(tmp_path / "b", {"sums": [True, False, True]})
    with pytest.raises(InputError, match="only A has the benchmarks ages") as refused:
        compare(a, b)
    assert "1 questions of sums are only in B, such as sums/2" in str(refused.value)


def test_questions_whose_text_changed_under_the_same_id_are_refused(pair):
    file = pair[1] / "samples.jsonl"
    file.write_text(file.read_text().replace("How much is 3 + 1?", "How much is 3 + 2?"))
    sign(pair[1])
    with pytest.raises(InputError, match="1 questions of sums have another text or reference, as sums/3"):
        compare(*pair)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda folder: (folder / "results.json").unlink(), "results.json is missing"),
        (lambda folder: (folder / "samples.jsonl").unlink(), "samples.jsonl is missing"),
        (lambda folder: (folder / "results.json").write_text("[]"), "results.json is not a JSON object"),
        (lambda folder: (folder / "results.json").write_text('{"benchmarks": []}'), "the key 'benchmarks'"),
        (lambda folder: append(folder / "samples.jsonl", "{"), "samples.jsonl, line 11 is not valid JSON"),
        (lambda folder: append(folder / "samples.jsonl", "{}"), "line 11: the key 'id' is missing"),
    ],
)
def test_damaged_runs_are_named(pair, damage, named):
    damage(pair[1])
    with pytest.raises(InputError, match="evaluat") as refused:
        compare(*pair)
    assert named in str(refused.value) and "after" in str(refused.value)


def test_half_a_file_of_samples_is_refused(pair):
    file = pair[1] / "samples.jsonl"
    file.write_text("\n".join(file.read_text().splitlines()[:7]))
    with pytest.raises(InputError, match=r"has 7 lines where results\.json tells of 10"):
        compare(*pair)


def test_a_sample_that_stands_twice_is_refused(pair):
    file = pair[1] / "samples.jsonl"
    file.write_text(file.read_text() * 2)
    with pytest.raises(InputError, match="line 11: the sample 'sums/0/0' stands twice"):
        compare(*pair)


def test_a_verdict_must_be_a_verdict(pair):
    file = pair[1] / "samples.jsonl"
    file.write_text(file.read_text().replace("true", '"yes"'))
    with pytest.raises(InputError, match="'correct' must be true, false or null"):
        compare(*pair)


def probe(verdicts, **others):
    """Results of a probe. verdicts: item -> (recovered, reflected)."""
    told = [{"id": name, "recovered": a, "reflected": b, "strategy": "none"} for name, (a, b) in verdicts.items()]
    rates = {key: proportion(sum(one[key] for one in told), len(told)) for key in ("recovered", "reflected") if told}
    return {**rates, "verdicts": told, **others}


def test_the_probe_is_paired_item_by_item(pair):
    items = [f"row{n}" for n in range(8)]
    change(pair[0], lambda r: r.update(probe=probe({name: (n < 2, False) for n, name in enumerate(items)})))
    change(pair[1], lambda r: r.update(probe=probe({name: (n > 0, True) for n, name in enumerate(items)})))
    found = compare(*pair)
    recovered, reflected = found.probe_paired["recovered"], found.probe_paired["reflected"]
    assert (recovered.questions, recovered.difference, recovered.lost) == (8, 0.625, ["row0"])
    assert recovered.p == mcnemar_exact(6, 1) and recovered.low < 0.625 < recovered.high
    assert reflected.gained == items and reflected.p == mcnemar_exact(8, 0)
    lines = as_text(found).splitlines()
    assert lines[-3].startswith("Forced-error probe") and "questions" in lines[-3]
    assert lines[-2].split()[:5] == ["recovered", "8", "25.0", "87.5", "+62.5"]
    assert as_dict(found)["probe_paired"]["recovered"]["gained"] == [f"row{n}" for n in range(2, 8)]


def test_items_of_one_question_are_one_pair(pair):
    """Ten mistakes of two questions, all gained with the question."""
    for folder, second in zip(pair, (False, True), strict=True):
        told = probe({f"row{n}": (n % 2 == 0 or second, True) for n in range(10)})
        for n, verdict in enumerate(told["verdicts"]):
            verdict["question"] = f"question {n % 2}"
        change(folder, lambda r, told=told: r.update(probe=told))
    recovered = compare(*pair).probe_paired["recovered"]
    assert (recovered.questions, recovered.difference, recovered.p) == (2, 0.5, mcnemar_exact(1, 0))
    assert recovered.gained == ["row1"]


def test_other_rules_of_self_correction_are_refused(pair):
    change(pair[0], lambda r: r.update(scorecard_version="1"))
    with pytest.raises(InputError, match=r"scorecard_version is '1' in A and .* in B. Evaluate both alike"):
        compare(*pair)


def test_probes_with_other_items_are_refused_unless_allowed_and_then_not_paired(pair):
    change(pair[0], lambda r: r.update(probe=probe({"row1": (True, True), "row2": (False, True)})))
    change(pair[1], lambda r: r.update(probe=probe({"row1": (True, True), "row3": (False, True)})))
    with pytest.raises(InputError, match=r"2 items of the probe are only in one of them, such as row2.*allow probe"):
        compare(*pair)
    found = compare(*pair, allow=["probe"])
    assert found.probe_paired == {} and found.probe["recovered"]["b"] == proportion(1, 2)
    assert "50.0 [9.5, 90.5] of 2" in as_text(found)


@pytest.mark.parametrize("nonsense", NONSENSE, ids=str)
def test_no_damaged_value_ends_in_a_traceback(pair, nonsense):
    card = {"repaired": proportion(1, 3), "repair_rate": proportion(0, 0), "by_error_type": {"slip": proportion(1, 2)}}
    told = {"scorecard": card, "probe": probe({"row1": (True, False)})}
    for run in pair:
        change(run, lambda results: results.update(told))
    file = pair[1] / "results.json"
    results = json.loads(file.read_text())
    tried = 0
    for changed in damaged(results, nonsense):
        file.write_text(json.dumps(changed))
        tried += 1
        try:
            found = compare(*pair, allow=["template", "prompts", "decoding", "probe"])
        except InputError:
            continue
        told = [line for line in as_text(found).splitlines() if not line.startswith("Allowed: ")]
        assert "nan" not in "\n".join(told) and "NaN" not in json.dumps({**as_dict(found), "allowed": []})
    assert tried > 50


def test_the_text_is_a_table_in_percent(pair):
    lines = as_text(compare(*pair)).splitlines()
    assert lines[:2] == ["A: before", "B: after"]
    assert lines[3].split() == ["questions", "A", "B", "B", "-", "A", "95%", "interval", "p", "gained", "lost"]
    assert lines[4].split() == ["sums", "10", "40.0", "60.0", "+20.0", "[-20.0,", "+60.0]", "0.6250", "3", "1"]
    assert len(lines[3]) == len(lines[4])
    assert lines[5:] == [
        "Gained (A wrong, B right): sums/4, sums/5, sums/6",
        "Lost (A right, B wrong): sums/3",
    ]


def test_long_lists_of_flips_are_cut_in_the_text_alone(tmp_path):
    a = write_run(tmp_path / "a", {"sums": [False] * 30, "ages": [True]})
    b = write_run(tmp_path / "b", {"sums": [True] * 30, "ages": [True]})
    found = compare(a, b)
    assert "sums/4 and 25 more" in as_text(found)
    assert any(line.startswith("average") and "<0.0001" in line for line in as_text(found).splitlines())
    assert len(as_dict(found)["benchmarks"]["sums"]["gained"]) == 30


def test_the_dictionary_is_plain_json(pair):
    told = as_dict(compare(*pair))
    assert json.loads(json.dumps(told)) == told
    assert told["benchmarks"]["sums"]["difference"] == pytest.approx(0.2)


def test_names_cannot_steer_the_terminal(pair):
    change(pair[1], lambda results: results.update(name="fine\x1b[2Jgone"))
    assert "\x1b" not in as_text(compare(*pair))
    change(pair[1], lambda results: results["benchmarks"].update({"bad\x1b[2J": {}}))
    with pytest.raises(InputError, match="only B has the benchmarks") as refused:
        compare(*pair)
    assert "\x1b" not in str(refused.value)
