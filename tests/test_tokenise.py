"""`tokenise` batch by batch: while one is tokenised the next is read, and no row changes, moves or goes missing."""

import json

import pytest

from lemma_train.errors import InputError
from lemma_train.template import Renderer
from lemma_train.training import tokenise as tokenise_module
from lemma_train.training.lint import Linter
from lemma_train.training.recipe import load_recipe
from lemma_train.training.sources import read_sources
from lemma_train.training.tokenise import tokenise

LONG = "word " * 60
# Several batches: good rows, a duplicate of another batch's row, bad and over-long ones, text that trips tokenizers.
ROWS = [
    *(
        {"id": f"r{i}", "instruction": f"Q{i}", "output": f"It is {i}0. No: {i}.", "error_span": [0, 9]}
        for i in range(7)
    ),
    {"id": "long", "instruction": "Q", "output": LONG},
    {"id": "again", "instruction": "Q1", "output": "It is 10. No: 1."},
    {"id": "empty", "instruction": "Q", "output": " "},
    {"id": "emoji", "instruction": "\u00e9\u200d", "output": "\U0001f600 e\u0301 \u4e09", "error_span": [0, 1]},
    {"id": "last", "instruction": "<b>", "output": "x < y | z"},
]


@pytest.fixture(scope="module", params=["smollm2", "llama3"])
def renderer(request):
    return Renderer(request.getfixturevalue(f"{request.param}_tokenizer"))


@pytest.fixture
def run(tmp_path, monkeypatch, renderer):
    def run(rows=ROWS, **keys):
        monkeypatch.setattr(tokenise_module, "BATCH_ROWS", 2)
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        base = {"model_name_or_path": "m", "output_dir": str(tmp_path), "train_files": str(tmp_path / "rows.jsonl")}
        (tmp_path / "r.yaml").write_text(json.dumps(base | {"max_length": 60} | keys))
        recipe = load_recipe(tmp_path / "r.yaml")
        linter = Linter(renderer, "refuse", drop_duplicates=True)
        sources = read_sources(recipe["train_files"])
        return tokenise(recipe, renderer, linter, sources, tmp_path / "rows.arrow", tmp_path), linter

    return run


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_rows_of_many_batches_are_those_of_the_renderer_one_by_one(run, renderer, weight):
    found, _ = run(error_span_weight=weight)
    kept = [row for row in ROWS if row["id"] not in ("long", "again", "empty")]
    assert found.rows["id"][:] == [row["id"] for row in kept] and len(found) == len(kept)
    for i, row in enumerate(kept):
        span = row.get("error_span")
        expected = renderer.encode(row["instruction"], row["output"], span and tuple(span), weight)
        stored = found.rows[i]
        assert (stored["input_ids"], stored["labels"]) == (expected.input_ids, expected.labels)
        assert stored.get("loss_weights") == expected.loss_weights
        assert stored["length"] == len(expected.input_ids)
        assert found.supervised[i] == sum(label != -100 for label in expected.labels)
    assert len(set(found.questions.tolist())) == len(kept) and set(found.origins.tolist()) == {0}


def test_left_out_rows_are_written_down_whatever_their_batch(run, tmp_path):
    _, linter = run()
    lines = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    assert sorted((line["line"], line["reason"]) for line in lines) == [
        (8, "overlong"),
        (9, "duplicate"),
        (10, "empty_field"),
    ]
    assert linter.tally.rows_in == len(ROWS) and linter.tally.bad == 2


def test_batches_of_which_nothing_is_left_are_no_batch(run):
    found, _ = run(
        [ROWS[0], {"id": "1", "instruction": "A", "output": LONG}, *({**ROWS[7], "id": str(i)} for i in range(2))]
    )
    assert found.rows["id"][:] == ["r0"]
    nothing, _ = run([ROWS[7]])
    assert len(nothing) == 0 and len(nothing.rows) == 0


def test_a_fault_ends_it_while_the_next_batch_is_tokenised(run):
    with pytest.raises(InputError, match=r"rows\.jsonl, line 8: the row has \d+ tokens"):
        run(overlong="error")
