"""`prepare` end to end: files in, a `datasets` folder, its report and its rejected rows out; cached, and never half."""

import collections
import copy
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from lemma_train.errors import InputError
from lemma_train.template import IGNORED, Renderer
from lemma_train.training import data_report
from lemma_train.training.mixture import weighted_indices
from lemma_train.training.prepare import FAILED_FILE, find_prepared, fingerprint, prepare, wait_for_prepared
from lemma_train.training.recipe import load_recipe


@pytest.fixture(scope="module")
def renderer(smollm2_tokenizer):
    return Renderer(smollm2_tokenizer)


@pytest.fixture
def recipe(tmp_path):
    """A recipe over tmp_path; rows given as `train` and `eval` are written as JSONL first."""

    def make(train=None, eval=None, **keys):
        for name, rows in (("train", train), ("eval", eval)):
            if rows is not None:
                lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
                (tmp_path / f"{name}.jsonl").write_text("".join(line + "\n" for line in lines))
                keys.setdefault(f"{name}_files", str(tmp_path / f"{name}.jsonl"))
        base = {"model_name_or_path": "m", "output_dir": str(tmp_path / "out")}
        (tmp_path / "r.yaml").write_text(json.dumps(base | keys))
        return load_recipe(tmp_path / "r.yaml")

    return make


def rows(count, questions=None):
    return [{"question": f"Question {i % (questions or count)}?", "answer": f"Answer {i}."} for i in range(count)]


def rejected(prepared):
    lines = (prepared.folder / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_rows_are_written_with_the_renderers_ids_and_labels(recipe, renderer):
    prepared = prepare(
        recipe(train=[{"id": "x", "source": "s", "instruction": "Q", "output": "A b."}, *rows(2)]), renderer
    )
    train, evaluation = prepared.load()
    expected = renderer.encode("Q", "A b.")
    assert train[0] == {
        "input_ids": expected.input_ids,
        "labels": expected.labels,
        "length": len(expected.input_ids),
        "id": "x",
        "source": "s",
    }
    assert train["id"][:] == ["x", "train.jsonl:2", "train.jsonl:3"]
    assert evaluation is None and not prepared.cached
    assert sorted(path.name for path in prepared.folder.parent.iterdir()) == ["prepared"]


def test_span_weights_are_a_column_only_where_they_count(recipe, renderer):
    train = [{"instruction": "Q", "output": "One two three.", "error_span": [0, 7]}, *rows(1)]
    start = len(renderer.prompt_ids("Q"))
    row = prepare(recipe(train, error_span_weight=0.5), renderer).load()[0][0]
    assert row["loss_weights"] == [1.0] * start + [0.5, 0.5, 1.0, 1.0, 1.0]
    masked = prepare(recipe(train, error_span_weight=0.0), renderer)
    assert "loss_weights" not in masked.load()[0].column_names
    assert (
        masked.load()[0][0]["labels"][: start + 3]
        == [IGNORED] * (start + 2) + renderer.encode("Q", "One two three.").input_ids[start + 2 : start + 3]
    )


def test_report_counts_every_row_and_shows_one_with_its_mask(recipe, renderer):
    train = [*rows(6), rows(1)[0], {"question": "Q"}, "{", {"question": "Long", "answer": "word " * 60}]
    train += [{"instruction": "Q", "output": "It is 6. No: 5.", "error_span": [0, 8]}]
    prepared = prepare(recipe(train, max_length=60, max_bad_share=0.5, error_span_weight=0.0), renderer)
    report = prepared.report
    assert (report["rows_in"], report["kept"], report["bad"], report["duplicates"]) == (11, 7, 3, 1)
    assert report["rejected"] == {"missing_field": 1, "invalid_json": 1, "overlong": 1}
    assert [(line["line"], line["reason"]) for line in rejected(prepared)] == [
        (7, "duplicate"),
        (8, "missing_field"),
        (9, "invalid_json"),
        (10, "overlong"),
    ]
    assert {line["file"] for line in rejected(prepared)} == {
        prepared.folder.parent.parent.joinpath("train.jsonl").as_posix()
    }
    table = prepared.load()[0]
    assert report["tokens"] == sum(table["length"][:])
    assert report["supervised_tokens"] == sum(label != IGNORED for labels in table["labels"] for label in labels)
    assert report["lengths"]["min"] == min(table["length"][:]) and report["lengths"]["max"] == max(table["length"][:])
    assert report["example"]["segments"] == [
        [renderer.prompt_text("Q") + " It is 6.", 0.0],
        [" No: 5.<|im_end|>", 1.0],
    ]
    shown = data_report.text(report)
    assert "[[### Instruction:" in shown and "It is 6.]] No: 5.<|im_end|>" in shown
    assert "3 (1 missing_field, 1 invalid_json, 1 overlong)" in shown
    assert json.loads((prepared.folder / "report.json").read_text()) == report
    assert (prepared.folder / "lengths.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_rejected_rows_that_are_no_unicode_can_be_written_down(recipe, renderer):
    bad = '{"question": "a \\ud83e", "answer": "b"}'
    prepared = prepare(recipe([*rows(3), bad, '{"\\ud83e": 1}'], max_bad_share=0.5), renderer)
    assert [line["reason"] for line in rejected(prepared)] == ["invalid_utf8", "unknown_format"]


def test_too_many_bad_rows_stop_and_leave_nothing(recipe, renderer):
    made = recipe([*rows(8), "{", "}"], max_bad_share=0.1)
    with pytest.raises(InputError, match="2 of 10 rows are bad"):
        prepare(made, renderer)
    assert list(made.output_dir.iterdir()) == []


def test_a_cached_set_is_held_to_the_share_as_well(recipe, renderer):
    train = [*rows(8), "{", "}"]
    assert prepare(recipe(train, max_bad_share=0.5), renderer).report["bad"] == 2
    with pytest.raises(InputError, match="lists 2 bad rows of 10"):
        prepare(recipe(train, max_bad_share=0.1), renderer)


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ([], "no row is left to train on .the files hold no row"),
        (["{", "{"], "no row is left to train on .2 invalid_json"),
    ],
)
def test_no_row_left_is_refused(recipe, renderer, train, expected):
    with pytest.raises(InputError, match=expected):
        prepare(recipe(train, max_bad_share=1.0), renderer)
    with pytest.raises(InputError, match="eval_files: no row is left to evaluate on"):
        prepare(recipe(rows(2), eval=train, max_bad_share=1.0), renderer)


def test_overlong_rows_are_dropped_whole_or_end_the_run(recipe, renderer):
    train = [*rows(3), {"question": "Long", "answer": "word " * 60}]
    longest = len(renderer.encode("Question 0?", "Answer 0.").input_ids)
    prepared = prepare(recipe(train, max_length=longest, max_bad_share=0.5), renderer)
    assert prepared.load()[0]["length"][:] == [longest] * 3
    assert f"more than max_length {longest}" in rejected(prepared)[0]["detail"]
    with pytest.raises(InputError, match=r"train\.jsonl, line 4: the row has \d+ tokens"):
        prepare(recipe(train, max_length=longest, overlong="error"), renderer)
    assert len(prepare(recipe(train, max_length=None), renderer).load()[0]) == 4


def test_mixed_templates_are_refused_or_unwrapped(recipe, renderer):
    train = [*rows(1), {"instruction": renderer.prompt_text("Question 1?"), "output": "Answer 1."}]
    with pytest.raises(InputError, match="set wrapped_rows: unwrap"):
        prepare(recipe(train), renderer)
    table = prepare(recipe(train, wrapped_rows="unwrap"), renderer).load()[0]
    assert table[1]["input_ids"] == renderer.encode("Question 1?", "Answer 1.").input_ids


def test_held_out_split_keeps_the_rows_of_a_question_together(recipe, renderer):
    made = recipe(rows(60, questions=20), eval_fraction=0.25)
    train, evaluation = prepare(made, renderer).load()
    questions = [{int(i.partition(":")[2]) % 20 for i in part["id"]} for part in (train, evaluation)]
    assert len(train) == 45 and len(evaluation) == 15
    assert not questions[0] & questions[1] and len(questions[1]) == 5
    again = prepare(recipe(rows(60, questions=20), eval_fraction=0.25, seed=1), renderer).load()[1]
    assert again["id"][:] != evaluation["id"][:]


@pytest.mark.parametrize("fraction", [0.01, 0.99])
def test_split_that_leaves_one_side_empty_is_refused(recipe, renderer, fraction):
    with pytest.raises(InputError, match="leaves one side empty"):
        prepare(recipe(rows(6), eval_fraction=fraction), renderer)


def test_eval_files_join_the_held_out_part_and_are_counted_apart(recipe, renderer):
    prepared = prepare(recipe(rows(10), eval=[*rows(2), "{"], eval_fraction=0.2, max_bad_share=0.5), renderer)
    train, evaluation = prepared.load()
    assert (len(train), len(evaluation)) == (8, 4)
    assert evaluation["id"][2:] == ["eval.jsonl:1", "eval.jsonl:2"]
    assert (prepared.report["eval_rows_in"], prepared.report["eval_rejected"]) == (3, {"invalid_json": 1})
    assert prepared.report["rows_in"] == 10 and prepared.report["held_out_rows"] == 4


def test_too_many_bad_held_out_rows_name_their_key(recipe, renderer):
    with pytest.raises(InputError, match="eval_files: 1 of 3 rows are bad"):
        prepare(recipe(rows(2), eval=[*rows(2), "{"]), renderer)


def test_weights_draw_exact_counts(recipe, renderer, tmp_path):
    entries = []
    for name, weight in (("half", 0.5), ("one", 1), ("more", 2.5)):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"question": f"{name} {i}?", "answer": "A"}) + "\n" for i in range(10)))
        entries.append({"path": str(path), "weight": weight})
    entries[1]["limit"] = 7
    ids = prepare(recipe(train_files=entries), renderer).load()[0]["id"][:]
    assert collections.Counter(i.partition(".")[0] for i in ids) == {"half": 5, "one": 7, "more": 25}
    per_row = collections.Counter(i for i in ids if i.startswith("more"))
    assert sorted(per_row.values()) == [2] * 5 + [3] * 5
    other = prepare(recipe(train_files=entries, data_seed=1), renderer).load()[0]["id"][:]
    assert len(other) == 37 and [i for i in other if "half" in i] != [i for i in ids if "half" in i]


def test_weights_that_leave_no_row_are_refused():
    with pytest.raises(InputError, match="the weights leave no row"):
        weighted_indices(np.zeros(2, dtype=int), np.zeros(2, dtype=bool), [0.1], seed=0)


# --- the cache ------------------------------------------------------------------------------------------------------


def test_second_run_reads_the_first_ones_rows(recipe, renderer):
    first = prepare(recipe(rows(5)), renderer)
    stamp = (first.folder / "report.json").stat().st_mtime_ns
    second = prepare(recipe(rows(5), learning_rate=1e-4, max_bad_share=0.5), renderer)
    assert second.cached and second.report == first.report and second.fingerprint == first.fingerprint
    assert (second.folder / "report.json").stat().st_mtime_ns == stamp
    assert second.load()[0][:] == first.load()[0][:]


@pytest.mark.parametrize(
    "change",
    [
        {"train": rows(6)},
        {"max_length": 100},
        {"drop_duplicates": False},
        {"error_span_weight": 0.0},
        {"eval_fraction": 0.4},
        {"seed": 1},
        {"data_seed": 1},
        {"wrapped_rows": "unwrap"},
        {"overlong": "error"},
        {"eval": rows(2)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_cache_misses_when_rows_or_settings_change(recipe, renderer, change):
    first = prepare(recipe(rows(5)), renderer)
    changed = prepare(recipe(**({"train": rows(5)} | change)), renderer)
    assert not changed.cached and changed.fingerprint != first.fingerprint


def test_cache_misses_when_template_or_tokenizer_change(recipe, renderer, smollm2_tokenizer, llama3_tokenizer):
    made = recipe(rows(5))
    grown = copy.deepcopy(smollm2_tokenizer)
    grown.add_tokens(["Question"])
    other_eos = copy.deepcopy(smollm2_tokenizer)
    other_eos.eos_token = "<|endoftext|>"
    renderers = [renderer, Renderer(smollm2_tokenizer, "alpaca"), Renderer(smollm2_tokenizer, "chat")]
    renderers += [Renderer(tokenizer) for tokenizer in (llama3_tokenizer, grown, other_eos)]
    prints = {prepare(made, each).fingerprint for each in renderers}
    assert len(prints) == len(renderers)
    assert not prepare(made, renderer).cached  # the last renderer's rows lie there


def test_fingerprint_is_blind_to_how_the_tokenizer_was_last_called(recipe, smollm2_tokenizer):
    tokenizer = copy.deepcopy(smollm2_tokenizer)
    made, renderer = recipe(rows(3)), Renderer(tokenizer)
    before = fingerprint(made, renderer)
    tokenizer(["a", "b c"], padding=True, truncation=True, max_length=5)
    assert fingerprint(made, renderer) == before


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: truncate(folder / "data-00000-of-00001.arrow"),
        lambda folder: truncate(folder / "eval" / "data-00000-of-00001.arrow"),
        lambda folder: truncate(folder / "report.json"),
        lambda folder: (folder / "report.json").write_text("[]"),
        lambda folder: (folder / "report.json").write_text('{"fingerprint": "x"}'),
        lambda folder: (folder / "state.json").unlink(),
        lambda folder: (folder / "report.json").unlink(),
    ],
    ids=["arrow cut", "eval cut", "report cut", "report a list", "report foreign", "state gone", "report gone"],
)
def test_damaged_cache_is_rebuilt(recipe, renderer, damage):
    made = recipe(rows(10), eval_fraction=0.2)
    first = prepare(made, renderer)
    expected = first.load()[0][:]
    damage(first.folder)
    assert find_prepared(first.folder, first.fingerprint) is None
    again = prepare(made, renderer)
    assert not again.cached and again.load()[0][:] == expected


def test_old_rows_survive_a_preparation_that_fails(recipe, renderer):
    first = prepare(recipe(rows(5)), renderer)
    expected = first.load()[0][:]
    with pytest.raises(InputError):
        prepare(recipe([*rows(2), "{"]), renderer)
    assert find_prepared(first.folder, first.fingerprint).load()[0][:] == expected
    assert [path.name for path in first.folder.parent.iterdir()] == ["prepared"]


def test_output_dir_that_cannot_be_written_is_the_users_fault(recipe, renderer, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="output_dir: the prepared rows cannot be written"):
        prepare(recipe(rows(2), output_dir=str(tmp_path / "file")), renderer)


def test_another_rank_waits_until_the_rows_are_whole(recipe, renderer):
    made = recipe(rows(5))
    wanted = fingerprint(made, renderer)
    found = []
    waiting = threading.Thread(target=lambda: found.append(wait_for_prepared(made.output_dir / "prepared", wanted)))
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    prepare(made, renderer)
    waiting.join(10)
    assert found[0].fingerprint == wanted and len(found[0].load()[0]) == 5


def test_a_waiting_rank_passes_on_why_the_rows_are_at_fault(tmp_path):
    stale = tmp_path / FAILED_FILE
    stale.write_text("an earlier run's fault")
    os.utime(stale, (1, 1))
    faults = []

    def wait():
        try:
            wait_for_prepared(tmp_path / "prepared", "wanted")
        except InputError as error:
            faults.append(str(error))

    waiting = threading.Thread(target=wait)
    waiting.start()
    waiting.join(0.8)
    assert waiting.is_alive(), "a stale message must not count"
    stale.write_text("train_files: no row is left")
    waiting.join(10)
    assert faults == ["train_files: no row is left"]


@pytest.mark.parametrize("model", ["smollm2", "llama3"])
def test_every_gsm8k_question_gets_the_evaluation_prompt(recipe, shared_data, request, model):
    tokenizer = request.getfixturevalue(f"{model}_tokenizer")
    renderer = Renderer(tokenizer)
    source = shared_data / "gsm8k_train.jsonl"
    prepared = prepare(recipe(train_files=str(source)), renderer)
    report = prepared.report
    assert (report["rows_in"], report["kept"], report["bad"], report["duplicates"]) == (7473, 7473, 0, 0)
    assert rejected(prepared) == []
    questions = [json.loads(line)["question"] for line in source.read_text(encoding="utf-8").splitlines()]
    table = prepared.load()[0]
    assert len(table) == len(questions) == 7473
    columns = zip(questions, table["input_ids"][:], table["labels"][:], strict=True)
    for question, input_ids, labels in columns:
        prompt = renderer.prompt_ids(question.strip())
        assert input_ids[: len(prompt)] == prompt
        assert labels[: len(prompt)] == [IGNORED] * len(prompt) and labels[len(prompt) :] == input_ids[len(prompt) :]
        assert labels[-1] == tokenizer.eos_token_id
