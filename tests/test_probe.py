"""The forced-error probe: what the model reads, which beginnings are drawn, and what counts as a recovery."""

import pytest

from lemma_train.errors import InputError
from lemma_train.evaluation.drawing import drawn
from lemma_train.evaluation.intervals import proportion
from lemma_train.evaluation.probe import probe_items, probe_prompt, probe_score
from lemma_train.grading.grader import Grader
from lemma_train.template import Renderer

QUESTION = "Ada has 3 pens, gets 4 and then 5. How many has she?"


@pytest.fixture(scope="module")
def grader():
    with Grader() as one:
        yield one


ROW = {
    "id": "q/s0/fix",
    "instruction": QUESTION,
    "output": "3 + 4 = 8. Wait, that is not right. 3 + 4 = 7. 7 + 5 = 12. The answer is 12.",
    "error_span": [0, 10],
    "error_type": "calculation_error",
    "answer": "12",
}


def test_the_probe_gives_the_model_the_ids_that_training_would(smollm2_tokenizer):
    renderer = Renderer(smollm2_tokenizer)
    (item,) = probe_items([ROW, {**ROW, "id": "q/s0/restart"}, {**ROW, "error_span": None}])
    prompt = probe_prompt(renderer, item)
    trained = renderer.encode(QUESTION, ROW["output"]).input_ids
    assert list(prompt.ids) == trained[: len(prompt.ids)] and prompt.boundary == "clean"
    assert smollm2_tokenizer.decode(prompt.ids).endswith("step by step. 3 + 4 = 8.")


def test_the_probe_counts_recoveries_by_the_models_own_words(grader):
    items = probe_items([ROW, {**ROW, "output": "3 + 4 = 9. Wait, no. It is 7. The answer is 12."}])
    told = probe_score(items, [" Wait, that is not right. 7 + 5 = 12. The answer is 12.", " The answer is 14."], grader)
    assert (told["recovered"]["k"], told["recovered"]["n"], told["reflected"]["k"]) == (1, 2, 1)
    assert told["recovered_when_silent"]["value"] == 0.0


def test_mistakes_of_one_question_say_less_than_those_of_many(grader):
    right, wrong = " 3 + 4 = 7. 7 + 5 = 12. The answer is 12.", " The answer is 14."
    of_one = [{**ROW, "output": f"3 + 4 = {n}. Wait. The answer is 12.", "error_span": [0, 10]} for n in (1, 2, 5, 6)]
    rows = [{**row, "instruction": f"{QUESTION} ({k})"} for k in range(40) for row in of_one]
    answers = [right if k % 2 else wrong for k in range(40) for _ in of_one]
    told = probe_score(probe_items(rows), answers, grader)
    assert (told["recovered"]["k"], told["recovered"]["n"]) == (80, 160)
    alone = proportion(20, 40)  # as if each question had been asked once
    assert (told["recovered"]["low"], told["recovered"]["high"]) == pytest.approx(
        (alone["low"], alone["high"]), abs=0.01
    )
    assert len({verdict["question"] for verdict in told["verdicts"]}) == 40


def test_a_bad_row_of_the_probe_is_named():
    with pytest.raises(InputError, match=r"probe\.path: row 2"):
        probe_items([ROW, {"instruction": "no output"}])


def test_the_limit_draws_over_all_rows_and_another_seed_draws_others():
    rows = [{**ROW, "id": f"q{i}", "output": f"3 + 4 = {i}. Wait, it is 7. The answer is 12."} for i in range(1000)]
    items = probe_items([{**row, "error_span": [0, row["output"].index(".") + 1]} for row in rows])
    chosen = drawn(items, 50, seed=0)
    places = [items.index(item) for item in chosen]
    assert len(chosen) == 50 and places == sorted(places)
    assert min(places) < 100 and max(places) > 900, "a data set sorted by source is drawn from as a whole"
    assert chosen == drawn(items[::-1], 50, seed=0)[::-1] != drawn(items, 50, seed=1)
    assert drawn(items[:3], 50, seed=0) == drawn(items[:3], None, seed=0) == items[:3]


def test_where_a_tokenizer_joins_the_end_with_the_line_break_the_break_is_put_in(llama3_tokenizer):
    """Llama 3 has one token for a full stop and a line break."""
    renderer = Renderer(llama3_tokenizer)
    output = "3 + 4 = 8.\nWait, that is not right. 3 + 4 = 7. The answer is 12."
    (item,) = probe_items([{**ROW, "output": output, "error_span": [0, 10]}])
    prompt = probe_prompt(renderer, item)
    assert prompt.boundary == "with_break" and prompt.text.endswith("3 + 4 = 8.\n")
    assert list(prompt.ids) == renderer.encode(QUESTION, output).input_ids[: len(prompt.ids)]
