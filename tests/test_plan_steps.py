"""Rows, steps and tokens: where their numbers come from, and that they are the trainer's and accelerate's."""

import json
import math

import pytest
from accelerate.data_loader import BatchSamplerShard
from launching import write_recipe, write_rows
from torch.utils.data import BatchSampler, SequentialSampler
from transformers.trainer_pt_utils import BatchRebalanceSampler

from lemma_train.errors import InputError
from lemma_train.training.plan_steps import ASSUMED_MEAN_TOKENS, count_steps, find_rows
from lemma_train.training.recipe import load_recipe
from lemma_train.training.row_order import seeded


@pytest.fixture
def recipe(tmp_path):
    """A recipe from keywords; without rows of its own it counts epochs, not steps."""

    def make(rows=None, **keys):
        return load_recipe(write_recipe(tmp_path, tmp_path / "model", rows, **{"max_steps": -1, **keys}))

    return make


def steps(recipe, count, processes, micro_batch=4, accumulation=8):
    return count_steps(recipe, find_rows(recipe, count), processes, micro_batch, accumulation)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 31, 32, 33, 88_904])
@pytest.mark.parametrize("processes", [1, 2, 8])
@pytest.mark.parametrize("drop_last", [False, True])
def test_micro_batches_are_counted_as_accelerate_deals_them_out(recipe, count, processes, drop_last):
    sampler = BatchSampler(SequentialSampler(range(count)), batch_size=4, drop_last=drop_last)
    shard = BatchSamplerShard(sampler, num_processes=processes, process_index=0)
    planned = steps(recipe(dataloader_drop_last=drop_last, train_sampling_strategy="random"), count, processes)
    assert planned.micro_batches == len(shard if processes > 1 else sampler)


@pytest.mark.parametrize("count", [1, 7, 31, 32, 33, 64, 88_904])
@pytest.mark.parametrize("processes", [1, 2, 8])
@pytest.mark.parametrize("last", ["keep", "drop"])
def test_steps_are_counted_as_rows_of_like_length_are_dealt_out(recipe, count, processes, last):
    plain = BatchRebalanceSampler([9] * count, 4 * 8 * processes, processes, 8)
    planned = steps(recipe(partial_last_step=last), count, processes)
    assert planned.micro_batches == len(seeded(plain, 1, last == "drop")) == 8 * planned.steps_per_epoch


def test_the_papers_run_has_347_steps_an_epoch_and_1041_in_all(recipe):
    dropped = steps(recipe(num_train_epochs=3, partial_last_step="drop"), 88_904, 8)
    assert (dropped.global_batch_size, dropped.steps_per_epoch, dropped.total_steps) == (256, 347, 1041)
    kept = steps(recipe(num_train_epochs=3), 88_904, 8)
    assert (kept.steps_per_epoch, kept.total_steps) == (348, 1044)
    assert dropped.tokens == round(1041 * 256 * ASSUMED_MEAN_TOKENS)
    assert kept.tokens == round(3 * 88_904 * ASSUMED_MEAN_TOKENS), "what fills up the last micro-batch is not counted"


def test_max_steps_and_parts_of_epochs(recipe):
    limited = steps(recipe(max_steps=10), 88_904, 8)
    assert limited.total_steps == 10 and limited.epochs == pytest.approx(10 / 348)
    assert steps(recipe(num_train_epochs=0.5), 88_904, 8).total_steps == 174
    few = steps(recipe(partial_last_step="drop"), 5, 1)
    assert few.steps_per_epoch == 1, "an epoch of less than one step is that step"


def test_rows_come_from_the_command_line_then_the_prepared_set_then_the_files(recipe, tmp_path):
    written = write_rows(tmp_path / "some.jsonl", 20)
    written.write_text(written.read_text() + "\n  \n")
    counted = find_rows(recipe(written))
    assert counted.count == 20 and "before linting" in counted.origin
    assert counted.mean == ASSUMED_MEAN_TOKENS and counted.mean_origin == "assumed"
    assert counted.longest == 4096 and counted.padded
    made_from = recipe(written).keys_of_rows
    report = {"train_rows": 18, "lengths": {"min": 20, "mean": 30.5, "max": 40}, "made_from": made_from}
    (tmp_path / "out" / "prepared").mkdir(parents=True)
    (tmp_path / "out" / "prepared" / "report.json").write_text(json.dumps(report))
    prepared = find_rows(recipe(written))
    assert (prepared.count, prepared.mean, prepared.longest) == (18, 30.5, 40) and prepared.padded
    assert find_rows(recipe(written), 7, 50.0).count == 7 and find_rows(recipe(written), 7).mean == 30.5
    other = find_rows(recipe(written, max_length=50))
    assert (other.count, other.longest, other.worst_case) == (20, 50, True)
    assert other.origin.endswith("the prepared set is not counted, because it was made with another max_length")
    lengths = '"lengths": {"min": 1, "mean": 1, "max": 1}'
    absurd = [f'{{"train_rows": {rows}, {lengths}}}' for rows in ("0", "1.5", "true", "Infinity", "NaN", "9" * 400)]
    for damaged in ("{", "[" * 100_000, "[]", '{"train_rows": 5}', *absurd):
        (tmp_path / "out" / "prepared" / "report.json").write_text(damaged)
        assert find_rows(recipe(written)).count == 20


def test_entries_with_limits_and_weights_and_held_out_questions_are_counted(recipe, tmp_path):
    written = str(write_rows(tmp_path / "some.jsonl", 20))
    (tmp_path / "list.json").write_text(json.dumps([{"instruction": "a", "output": "b"}] * 6))
    entries = [{"path": written, "limit": 10, "weight": 2}, {"path": str(tmp_path / "list.json"), "weight": 0.5}]
    assert find_rows(recipe(train_files=entries)).count == 23
    assert find_rows(recipe(train_files=entries, eval_fraction=0.5)).count == round(23 * 0.5)


def test_the_published_data_set_is_known_by_its_card(recipe):
    rows = find_rows(recipe(train_files="panzs19/LEMMA"))
    assert (rows.count, rows.mean) == (88_904, 623.0)
    assert find_rows(recipe(train_files=[{"path": "panzs19/LEMMA", "limit": 50}])).count == 50


def test_rows_that_nobody_can_count_are_asked_for(recipe):
    with pytest.raises(InputError, match="give their number with --rows"):
        find_rows(recipe(train_files="someone/dataset"))
    limited = recipe(train_files="someone/dataset", max_steps=9)
    planned = count_steps(limited, find_rows(limited), 2, 2, 1)
    assert (planned.total_steps, planned.steps_per_epoch) == (9, None)


def test_packed_rows_are_counted_as_full_sequences(recipe):
    rows = find_rows(recipe(packing=True, max_length=1000), 100, 250.0)
    assert (rows.count, rows.mean, rows.longest) == (25, 1000.0, 1000) and "at least 25 sequences" in rows.origin


def test_rows_longer_than_max_length_are_not_expected(recipe):
    assert find_rows(recipe(max_length=100), 10, 5000.0).mean == 100.0
    assert find_rows(recipe(max_length=None), 10, 50.0).longest == math.ceil(4 * 50)
