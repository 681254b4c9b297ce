"""Nothing is paid for twice, beyond the budget, or for rows that could not stay."""

import collections
import json
import re

import pytest
from reading_teacher import ReadingTeacher
from teacher_server import TeacherServer
from test_collect import PROBLEMS, SMALL, over_http, replies, rows, settings

from lemma_train.collection.collect import collect, estimate
from lemma_train.collection.graded import failure_rate
from lemma_train.collection.injection import rows_of
from lemma_train.collection.shards import read_shard
from lemma_train.collection.stage_files import by_question, read_stage
from lemma_train.errors import InputError, Stopped


def test_shards_share_the_budget_and_the_estimate_counts_them_all(tmp_path):
    folder = tmp_path / "spread"
    prices = {"prices": {"output": 100_000.0}, "max_tokens": 10}  # at most 1.0 a reply; it is 0.7
    with TeacherServer(reply=ReadingTeacher(PROBLEMS, 3)) as server:
        chosen = over_http(folder, server, **SMALL, teacher=prices, budget=9.0)
        for number in range(3):
            with pytest.raises(Stopped, match=r"of the budget of 3, this shard's part of 9, is spent"):
                collect(chosen, shard=read_shard(f"{number}/3", folder))
    paid = [reply for i in range(3) for reply in replies(folder / "shards" / f"{i}-of-3")]
    by_task = collections.Counter(reply["task"] for reply in paid)
    assert by_task.total() - by_task["sampling"] == 3 * 3
    assert json.loads((folder / "shards" / "0-of-3" / "recipe.json").read_text())["budget"] == 9.0
    # Noted at the prices of the day: a cheaper teacher later changes nothing of it.
    assert sum(reply["cost"] for reply in paid if reply["task"] != "sampling") == pytest.approx(9 * 0.7)
    told = estimate(chosen)
    assert re.search(rf"^analysis +\d+ +{by_task['analysis']} ", told, re.MULTILINE), told
    assert re.search(r"answers are wrong \(measured\)", told)


def test_questions_of_a_benchmark_are_set_aside_before_anything_is_asked(tmp_path):
    collect(settings(tmp_path / "first", **SMALL), stage="problems")
    planted = [line.record for line in read_stage(tmp_path / "first", "problems")][3]
    (tmp_path / "bench.jsonl").write_text(json.dumps({"question": planted["question"].upper()}) + "\n")
    chosen = settings(tmp_path / "clean", **SMALL, assembly={"decontaminate": [str(tmp_path / "bench.jsonl")]})
    assert "11 questions" in estimate(chosen)
    collect(chosen)
    aside = [line for line in read_stage(tmp_path / "clean", "problems") if not line.kept]
    assert [(line.id, line.order, line.reason) for line in aside] == [(planted["id"], 3, "contaminated")]
    assert len(replies(tmp_path / "clean")) > 50
    assert not [reply for reply in replies(tmp_path / "clean") if reply["item"].split("/")[0] == planted["id"]]
    assert not [row for row in rows(tmp_path / "clean") if row["instruction"] == planted["question"]]
    card = json.loads((tmp_path / "clean" / "card.json").read_text())
    assert card["assembled"]["contaminated"] == {"bench.jsonl": {"exact": 1, "overlap": 0}}
    assert card["assembled"]["contaminated_examples"][0]["problem_id"] == planted["id"]


def test_lemma_hard_asks_for_no_more_rows_than_it_wants(tmp_path):
    hard = {"allocation": "failure_rate", "k_max": 13}
    keys = {**SMALL, "student": {"engine": "offline", "mistake_share": 0.8}, "sampling": {"samples": 12}}
    chosen = settings(tmp_path / "hard", **keys, injection=hard)
    collect(chosen)
    wanted, odd = {}, set()
    for (asked,), graded in by_question(tmp_path / "hard", "problems", "grading"):
        wanted[asked.id] = rows_of(chosen.injection, failure_rate(graded) or 0.0)
        odd |= {asked.id} if wanted[asked.id] % 2 else set()
    corrected = list(read_stage(tmp_path / "hard", "correction"))
    tried = collections.Counter(line.problem_id for line in corrected)
    assert odd and all(tried[problem] <= count for problem, count in wanted.items())
    assert sum(tried.values()) > 0.8 * sum(wanted.values())
    single = collections.Counter(line.id.rpartition("/")[2] for line in corrected)
    assert single["fix"] > 0 and abs(single["fix"] - single["restart"]) < 0.2 * single["fix"]


@pytest.mark.parametrize(
    ("name", "token", "message"), [("no owner", "hf_x", "of the form owner/name"), ("owner/name", "", "HF_TOKEN")]
)
def test_an_upload_that_cannot_be_is_told_before_the_run(tmp_path, monkeypatch, name, token, message):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", token)
    chosen = settings(tmp_path / "early", **SMALL, assembly={"push_to_hub": name})
    with pytest.raises(InputError, match=f"push_to_hub: .*{message}"):
        collect(chosen)
    assert not (tmp_path / "early").exists()
    collect(chosen, stage="problems", shard=read_shard("0/2", tmp_path / "early"))  # a shard uploads nothing
