"""A whole collection: what it leaves, what it may not do twice, and what each switch changes."""

import asyncio
import collections
import json
import re
import shutil

import orjson
import pytest
import yaml
from reading_teacher import ReadingTeacher
from teacher_server import DROPPED, HALF, NOT_JSON, REFUSAL, Behaviour, TeacherServer, busy, error

from lemma_train.collection.collect import collect, estimate, status
from lemma_train.collection.recipe import load_collect_recipe
from lemma_train.collection.shards import read_shard
from lemma_train.collection.stage_files import read_stage
from lemma_train.errors import InputError, Stopped
from lemma_train.grading.grader import Grader
from lemma_train.records import read_row
from lemma_train.training import lock

PROBLEMS = [
    {"source": "generated", "kind": "word_sums", "size": 24},
    {"source": "generated", "kind": "gsm_symbolic", "size": 12},
]
OFFLINE = {
    "problems": PROBLEMS,
    "seed": 3,
    "student": {"engine": "offline"},
    "teacher": {"engine": "offline"},
    "sampling": {"samples": 2},
    "injection": {"per_question": 1},
    "correction": {"restart_shows": "reference"},
}


def settings(folder, **keys):
    path = folder.parent / f"{folder.name}.yaml"
    path.write_text(yaml.safe_dump({**OFFLINE, "output_dir": str(folder), **keys}))
    return load_collect_recipe(path)


def rows(folder):
    return [json.loads(line) for line in (folder / "dataset.jsonl").read_text().splitlines()]


def replies(folder):
    return [orjson.loads(line) for line in (folder / "journal" / "replies.jsonl").read_bytes().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a finished offline collection. Do not write into it."""
    folder = tmp_path_factory.mktemp("collect") / "whole"
    collect(settings(folder))
    return folder


def test_every_row_is_a_wrong_beginning_that_ends_right(whole):
    found = rows(whole)
    assert len(found) >= 60
    assert {row["strategy"] for row in found} == {"fix_and_continue", "fresh_and_restart"}
    assert {row["error_origin"] for row in found} == {"student", "injected"}
    with Grader() as grader:
        for row in found:
            start, end = row["error_span"]
            assert read_row(row).error_span == (start, end)
            assert grader.grade(row["output"], row["answer"]).correct is True
            wrong = row["output"][:end]
            assert row["output"][start:end].strip() == row["output"][start:end] != ""
            assert grader.grade(f"{wrong} The answer is {_last_number(wrong)}.", row["answer"]).correct is not None
            assert len(row["output"]) > end


def _last_number(text):
    return (re.findall(r"\d+", text) or ["0"])[-1]


def test_each_step_of_the_way_is_in_the_stage_files_and_the_card(whole):
    card = json.loads((whole / "card.json").read_text())
    counts = {stage["stage"]: stage for stage in card["stages"]}
    assert counts["problems"]["kept"] == 36 and counts["sampling"]["entered"] == 72
    graded = list(read_stage(whole, "grading"))
    wrong = [line for line in graded if line.kept and line.record["correct"] is False]
    assert counts["analysis"]["entered"] == len(wrong) > 10
    errors = counts["analysis"]["kept"] + counts["injection"]["kept"]
    assert counts["correction"]["entered"] == 2 * errors
    assert counts["assembly"]["kept"] == len(rows(whole)) == card["rows"]
    assert (whole / "funnel.png").stat().st_size > 5000 and (whole / "error_types.png").stat().st_size > 5000


def test_started_again_it_asks_nothing_and_writes_the_same(whole, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    for path in copy.glob("dataset.*"):
        path.unlink()
    journal = (copy / "journal" / "replies.jsonl").read_bytes()
    collect(settings(copy))
    assert (copy / "journal" / "replies.jsonl").read_bytes() == journal
    for name in ("dataset.jsonl", "dataset.parquet"):
        assert (copy / name).read_bytes() == (whole / name).read_bytes()


def test_another_machine_collects_the_same_bytes(whole, tmp_path):
    collect(settings(tmp_path / "again"))
    assert (tmp_path / "again" / "dataset.jsonl").read_bytes() == (whole / "dataset.jsonl").read_bytes()


def test_another_seed_collects_others(whole, tmp_path):
    collect(settings(tmp_path / "other", seed=4))
    assert (tmp_path / "other" / "dataset.jsonl").read_bytes() != (whole / "dataset.jsonl").read_bytes()


def test_shards_joined_are_the_same_as_one_run(whole, tmp_path):
    folder = tmp_path / "shards"
    chosen = settings(folder)
    with pytest.raises(Stopped, match=r"Shard 1/3 has not finished"):
        collect(chosen, shard=read_shard("0/3", folder))
        collect(chosen, stage="assembly")
    for number in (2, 1):
        collect(chosen, shard=read_shard(f"{number}/3", folder))
    collect(chosen, stage="assembly")
    for name in ("dataset.jsonl", "dataset.parquet", "stages/smoothing.jsonl", "stages/grading.jsonl"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()
    assert "shard 2-of-3" in status(chosen)
    collect(chosen, shard=read_shard("1/3", folder))  # what was joined may go on
    collect(chosen, stage="assembly")
    assert (folder / "dataset.jsonl").read_bytes() == (whole / "dataset.jsonl").read_bytes()


def stages_of_card(folder):
    return [stage["stage"] for stage in json.loads((folder / "card.json").read_text())["stages"]]


def test_a_shard_that_was_begun_again_is_not_joined_before_it_has_finished(tmp_path):
    folder, small = tmp_path / "shards", [{"source": "generated", "kind": "word_sums", "size": 4}]
    chosen = settings(folder, problems=small)
    for number in (0, 1):
        collect(chosen, shard=read_shard(f"{number}/2", folder))
    collect(chosen, stage="assembly")
    collect(chosen, stage="grading", shard=read_shard("1/2", folder))
    with pytest.raises(Stopped, match=r"Shard 1/2 has not finished \(no smoothing yet\); wait for it"):
        collect(chosen, stage="assembly")


def test_a_stage_that_is_switched_off_leaves_the_card_of_whole_and_joined_collections(tmp_path):
    folder, small = tmp_path / "shards", [{"source": "generated", "kind": "word_sums", "size": 6}]
    for keys in ({}, {"injection": {"enabled": False}}):
        chosen = settings(folder, problems=small, **keys)
        for number in (0, 1):
            collect(chosen, shard=read_shard(f"{number}/2", folder))
        collect(chosen, stage="assembly")
        assert ("injection" in stages_of_card(folder)) == (not keys)
    one = tmp_path / "one"
    collect(settings(one, problems=small))
    without = settings(one, problems=small, injection={"enabled": False})
    for stage in ("correction", "smoothing", "assembly"):
        collect(without, stage=stage)
    assert "injection" not in stages_of_card(one) and not (one / "stages" / "injection.jsonl").exists()


def test_a_collection_is_not_assembled_under_the_name_of_another_teacher(tmp_path):
    small = [{"source": "generated", "kind": "word_sums", "size": 6}]
    collect(settings(tmp_path, problems=small))
    before = {file.name: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    other_teacher = {"engine": "openai", "model": "large", "base_urls": ["http://127.0.0.1:1/v1"]}
    for keys, named in (
        ({"teacher": other_teacher}, r"teacher\.engine, teacher\.model"),
        ({"injection": {"per_question": 2}, "seed": 9}, r"injection\.per_question, seed"),
    ):
        with pytest.raises(InputError, match=rf"another recipe \({named}\); give the recipe .* with no --stage"):
            collect(settings(tmp_path, problems=small, **keys), stage="assembly")
    (tmp_path / "recipe.json").rename(tmp_path / "moved.json")
    with pytest.raises(InputError, match=r"recipe\.json is missing or damaged; collect again, with no --stage"):
        collect(settings(tmp_path, problems=small), stage="assembly")
    (tmp_path / "moved.json").rename(tmp_path / "recipe.json")
    assert {file.name: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    moved = tmp_path.rename(tmp_path.parent / "moved")
    earlier = json.loads((moved / "recipe.json").read_text())
    del earlier["on_failure"], earlier["smoothing"]["enabled"]  # as a version before these keys wrote it
    (moved / "recipe.json").write_text(json.dumps(earlier))
    free = {"budget": 5.0, "currency": "EUR", "teacher": {"engine": "offline", "concurrency": 3}}
    collect(settings(moved, problems=small, assembly={"rows": 3}, **free), stage="assembly")
    assert len(rows(moved)) == 3


def test_a_stage_that_is_switched_off_cannot_be_asked_for(tmp_path):
    with pytest.raises(InputError, match=r"leaves injection out; set injection\.enabled: true"):
        collect(settings(tmp_path, injection={"enabled": False}), stage="injection")
    with pytest.raises(InputError, match=r"leaves grading out; set sampling\.enabled: true"):
        collect(settings(tmp_path, sampling={"enabled": False}), stage="grading")
    assert not list(tmp_path.iterdir())


def test_a_shard_of_another_recipe_is_not_joined(tmp_path):
    folder = tmp_path / "shards"
    small = [{"source": "generated", "kind": "word_sums", "size": 4}]
    collect(settings(folder, problems=small), shard=read_shard("0/2", folder))
    collect(settings(folder, problems=small, seed=9), shard=read_shard("1/2", folder))
    with pytest.raises(InputError, match=r"1-of-2 was collected with another recipe \(seed\); .* with --shard 1/2"):
        collect(settings(folder, problems=small), stage="assembly")
    with pytest.raises(InputError, match="holds 2 shards; run them with --shard i/2"):
        collect(settings(folder, problems=small))
    with pytest.raises(InputError, match="already spread over 2 shards, not 3"):
        collect(settings(folder, problems=small), shard=read_shard("0/3", folder))


def test_shards_that_draw_from_the_whole_data_set_wait_for_each_other(tmp_path):
    drawn = {"injection": {"types": "data_set", "per_question": 1}}
    collect(settings(tmp_path / "one", **drawn))
    folder = tmp_path / "two"
    with pytest.raises(Stopped, match=r"errors of all shards, and 1/2 are not analysed yet"):
        collect(settings(folder, **drawn), shard=read_shard("0/2", folder))
    collect(settings(folder, **drawn), shard=read_shard("1/2", folder))
    collect(settings(folder, **drawn), shard=read_shard("0/2", folder))
    collect(settings(folder, **drawn), stage="assembly")
    assert (folder / "dataset.jsonl").read_bytes() == (tmp_path / "one" / "dataset.jsonl").read_bytes()


@pytest.mark.parametrize("text", ["4/4", "1", "a/b", "-1/2", "1/2/3"])
def test_a_shard_is_written_i_of_n(text, tmp_path):
    with pytest.raises(InputError, match=r"--shard: .* must be i/n"):
        read_shard(text, tmp_path)


def test_a_second_run_in_the_folder_is_refused(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE_SECONDS", 0.3)
    folder = tmp_path / "busy"
    with lock.claim(folder), pytest.raises(InputError, match="another run is at work in"):
        collect(settings(folder))


SMALL = {"problems": [{"source": "generated", "kind": "word_sums", "size": 12}]}


def test_each_ablation_leaves_its_part_out(tmp_path):
    def kinds(name, **keys):
        collect(settings(tmp_path / name, **SMALL, **keys))
        found = rows(tmp_path / name)
        return {row["strategy"] for row in found}, {row["error_origin"] for row in found}, replies(tmp_path / name)

    both = {"fix_and_continue", "fresh_and_restart"}
    assert kinds("no_augmentation", injection={"enabled": False})[:2] == (both, {"student"})
    assert kinds("no_student", sampling={"enabled": False})[:2] == (both, {"injected"})
    assert kinds("no_restart", correction={"strategies": ["fix_and_continue"]})[0] == {"fix_and_continue"}
    no_fix = {"strategies": ["fresh_and_restart"], "restart_shows": "reference"}
    assert kinds("no_fix", correction=no_fix)[0] == {"fresh_and_restart"}
    asked = kinds("no_smoothing", smoothing={"enabled": False})[2]
    assert "smoothing" not in {reply["task"] for reply in asked}


def test_without_truncation_the_whole_wrong_solution_stays(tmp_path):
    cut, whole = {"restart_shows": "reference"}, {"restart_shows": "reference", "truncate": False}
    collect(settings(tmp_path / "cut", **SMALL, correction=cut, smoothing={"enabled": False}))
    collect(settings(tmp_path / "whole", **SMALL, correction=whole, smoothing={"enabled": False}))
    attempts = {line.id: line.record for line in read_stage(tmp_path / "whole", "analysis") if line.kept}
    long = {row["id"]: row for row in rows(tmp_path / "whole")}
    for row in rows(tmp_path / "cut"):
        attempt = attempts.get(row["id"].rpartition("/")[0])
        if attempt and row["id"] in long:
            start, end = attempt["wrong_span"]
            assert row["output"].startswith(attempt["text"][:end]) and row["error_span"] == [start, end]
            assert long[row["id"]]["output"].startswith(attempt["text"])
            assert long[row["id"]]["error_span"] == [start, len(attempt["text"])]
    assert any(
        len(long[row["id"]]["output"]) > len(row["output"]) for row in rows(tmp_path / "cut") if row["id"] in long
    )


def test_lemma_hard_gives_rows_by_failure_rate(tmp_path):
    hard = {"allocation": "failure_rate", "k_max": 8}
    keys = {**SMALL, "sampling": {"samples": 6}, "injection": hard}
    collect(settings(tmp_path / "hard", **keys))
    rates = collections.defaultdict(list)
    for line in read_stage(tmp_path / "hard", "grading"):
        rates[line.problem_id].append(line.record["correct"] is False)
    counts = collections.Counter(row["id"].split("/")[0] for row in rows(tmp_path / "hard"))
    for problem, wrong in rates.items():
        assert counts[problem] <= round(8 * sum(wrong) / len(wrong))
    often = [counts[p] for p, wrong in rates.items() if sum(wrong) / len(wrong) > 0.6]
    seldom = [counts[p] for p, wrong in rates.items() if sum(wrong) / len(wrong) < 0.4]
    assert sum(often) / len(often) > sum(seldom) / len(seldom)


def test_a_changed_prompt_asks_that_stage_again_and_keeps_the_rest(whole, tmp_path):
    copy, prompts = tmp_path / "copy", tmp_path / "prompts"
    shutil.copytree(whole, copy)
    prompts.mkdir()
    from lemma_train.collection.taxonomy import PACKAGED_PROMPTS

    text = (PACKAGED_PROMPTS / "smoothing.jinja").read_text()
    (prompts / "smoothing.jinja").write_text(text.replace("Never mention", "Please never mention"))
    before = collections.Counter(reply["task"] for reply in replies(copy))
    collect(settings(copy, prompts=str(prompts)))
    after = collections.Counter(reply["task"] for reply in replies(copy))
    assert after["smoothing"] == 2 * before["smoothing"]
    del before["smoothing"], after["smoothing"]
    assert after == before


def test_a_stage_runs_alone_on_what_came_before(whole, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    (copy / "stages" / "smoothing.jsonl").unlink()
    (copy / "stages" / "analysis.jsonl").unlink()
    collect(settings(copy), stage="smoothing")
    assert (copy / "stages" / "smoothing.jsonl").read_bytes() == (whole / "stages" / "smoothing.jsonl").read_bytes()
    with pytest.raises(InputError, match="run the stage analysis first"):
        collect(settings(copy), stage="injection")


def test_a_dry_run_sends_and_writes_nothing(tmp_path):
    prices = {"engine": "offline", "prices": {"input": 2.0, "output": 10.0}}
    told = estimate(settings(tmp_path / "dry", teacher=prices))
    assert not (tmp_path / "dry").exists()
    assert "36 questions" in told and re.search(r"^smoothing +\d+ +0 +[\d,]+ +[\d,]+ +\d+\.\d\d$", told, re.MULTILINE)
    assert re.search(r"^sampling +72 ", told, re.MULTILINE)


def test_the_estimate_is_near_what_the_collection_needs(whole):
    told = estimate(settings(whole))
    sent = collections.Counter(reply["task"] for reply in replies(whole))
    for task, wanted in re.findall(r"^(\w+) +([\d,]+) +[\d,]+ ", told, re.MULTILINE):
        if task in sent:
            assert 0.7 < int(wanted.replace(",", "")) / sent[task] < 1.4, task


HTTP = {
    "student": {"engine": "openai", "model": "student", "concurrency": 8},
    "teacher": {"engine": "openai", "model": "teacher", "concurrency": 8},
}


def over_http(folder, server, **keys):
    urls = {"base_urls": [server.url], "max_tries": 6, "outage_minutes": 0.5}
    blocks = {role: {**HTTP[role], **urls, **keys.pop(role, {})} for role in ("student", "teacher")}
    return settings(folder, **blocks, **keys)


def test_a_teacher_behind_http_reads_everything_from_its_prompts(whole, tmp_path):
    with TeacherServer(reply=ReadingTeacher(PROBLEMS, 3), latency=0.01) as server:
        collect(over_http(tmp_path / "http", server))
        bodies = [json.dumps(seen.body, sort_keys=True) for seen in server.requests]
        assert server.most_in_flight == 8
    assert len(bodies) == len(replies(tmp_path / "http")) == len(set(bodies))
    found = rows(tmp_path / "http")
    assert len(found) > 0.8 * len(rows(whole))
    with Grader() as grader:
        assert all(grader.grade(row["output"], row["answer"]).correct for row in found)


def test_a_teacher_that_misbehaves_costs_no_row(tmp_path):
    faults = [None, DROPPED, busy("0"), HALF, error(500, "oops"), NOT_JSON, None, error(503, "later")]
    with TeacherServer(reply=ReadingTeacher(PROBLEMS, 3)) as server:
        collect(over_http(tmp_path / "calm", server, **SMALL))
        well = len(server.requests)
    with TeacherServer(reply=ReadingTeacher(PROBLEMS, 3), script=faults * 3) as server:
        collect(over_http(tmp_path / "rough", server, **SMALL))
        rough = len(server.requests)
    assert (tmp_path / "rough" / "dataset.jsonl").read_bytes() == (tmp_path / "calm" / "dataset.jsonl").read_bytes()
    assert rough == well + 3 * 6


def test_replies_that_fail_their_check_are_asked_again_and_counted(tmp_path):
    state = collections.Counter()
    cut_off = Behaviour(finish_reason="length", text='{"explanation": "The step')

    def rule(body):
        task = body.get("response_format", {}).get("json_schema", {}).get("name")
        state[task] += 1
        return {1: cut_off, 2: REFUSAL}.get(state[task] % 7) if task else None

    with TeacherServer(reply=ReadingTeacher(PROBLEMS, 3), rule=rule) as server:
        collect(over_http(tmp_path / "checks", server, **SMALL))
    stages = ("analysis", "correction", "smoothing")
    lines = [line for stage in stages for line in read_stage(tmp_path / "checks", stage)]
    faults = collections.Counter(call.fault for line in lines for call in line.calls)
    assert faults["cut_off"] > 0 and faults["refusal"] > 0
    for line in lines:
        assert line.kept == (line.calls[-1].fault is None)
        assert len(line.calls) <= 3
    again = [seen.body for seen in server.requests if len(seen.body.get("messages", ())) > 2]
    assert again and all("cannot be used" in body["messages"][-1]["content"] for body in again)


def test_requests_without_an_answer_stop_the_stage_and_only_they_are_sent_again(tmp_path):
    def rule(body):
        return NOT_JSON if "prompt" in body and body["seed"] % 5 == 0 and not state["well"] else None

    state = {"well": False}
    with TeacherServer(reply=ReadingTeacher(PROBLEMS, 3), rule=rule) as server:
        chosen = over_http(tmp_path / "gap", server, **SMALL, student={"max_tries": 2, "concurrency": 1})
        with pytest.raises(Stopped, match=r"got no answer; the last one: .*not a completion.*Everything else is kept"):
            collect(chosen)
        kept = len(replies(tmp_path / "gap"))
        state["well"] = True
        before = len(server.requests)
        collect(chosen)
        sampled = [seen for seen in server.requests[before:] if "prompt" in seen.body]
        assert 0 < kept < 24 and len(sampled) == 24 - kept


def test_the_budget_stops_the_run_and_more_of_it_goes_on(tmp_path):
    prices = {"prices": {"input": 1000.0, "output": 1000.0}, "max_tokens": 10}
    with TeacherServer(reply=ReadingTeacher(PROBLEMS, 3)) as server:
        chosen = over_http(tmp_path / "poor", server, **SMALL, teacher=prices, budget=3.0)
        with pytest.raises(Stopped, match=r"of the budget of 3 is spent .* raise the key budget"):
            collect(chosen)
        first = len(server.requests)
        spent = sum(0.018 for reply in replies(tmp_path / "poor") if reply["task"] != "sampling")
        assert 0 < spent <= 3
        collect(over_http(tmp_path / "poor", server, **SMALL, teacher=prices))
        assert len(server.requests) == len(replies(tmp_path / "poor")) > first


def test_a_server_that_is_down_ends_the_run_with_its_name(tmp_path):
    with TeacherServer() as server:
        url = server.url
    keys = {"base_urls": [url], "outage_minutes": 0.02, "max_tries": 2}
    chosen = settings(tmp_path / "down", **SMALL, student={**HTTP["student"], **keys})
    with pytest.raises(Stopped, match=r"127\.0\.0\.1"):
        collect(chosen)


def test_a_missing_key_is_named_and_no_key_is_written(tmp_path, monkeypatch):
    monkeypatch.delenv("SOME_KEY", raising=False)
    student = {"engine": "openai", "model": "m", "api_key_env": "SOME_KEY"}
    chosen = settings(tmp_path / "nokey", **SMALL, student=student)
    with pytest.raises(InputError, match=r"student\.api_key_env: the environment variable SOME_KEY is not set"):
        collect(chosen)
    monkeypatch.setenv("SOME_KEY", "sk-very-secret")
    with TeacherServer(reply=ReadingTeacher(PROBLEMS, 3)) as server:
        collect(over_http(tmp_path / "key", server, **SMALL, student={"api_key_env": "SOME_KEY"}))
        assert server.requests[0].headers["authorization"] == "Bearer sk-very-secret"
    for path in (tmp_path / "key").rglob("*"):
        assert path.is_dir() or b"sk-very-secret" not in path.read_bytes()


def test_cancelled_in_the_middle_it_goes_on(tmp_path):
    async def cancelled():
        from contextlib import ExitStack

        from lemma_train.collection.pipeline import open_run, run_stages

        with ExitStack() as stack:
            run = open_run(chosen, tmp_path / "cut", None, stack)
            task = asyncio.create_task(run_stages(run, ["problems", "sampling", "grading", "analysis"]))
            await asyncio.sleep(0.3)
            task.cancel()
            await task

    with TeacherServer(reply=ReadingTeacher(PROBLEMS, 3), latency=0.05) as server:
        chosen = over_http(tmp_path / "cut", server, **SMALL)
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(cancelled())
        assert server.requests
        collect(chosen)
        assert len(server.requests) <= len(replies(tmp_path / "cut")) + 8


def test_a_server_that_refuses_everything_ends_the_run_and_a_mended_one_is_asked_again(tmp_path):
    state = {"well": False}

    def rule(body):
        return None if state["well"] else error(400, "no such sampler here")

    with TeacherServer(reply=ReadingTeacher(PROBLEMS, 3), rule=rule) as server:
        chosen = over_http(tmp_path / "refused", server, **SMALL)
        with pytest.raises(InputError, match=r"'student' refused 20 requests in a row, .*no such sampler here"):
            collect(chosen)
        assert replies(tmp_path / "refused") == []
        state["well"] = True
        collect(chosen)
    assert rows(tmp_path / "refused")


def test_what_assembly_cannot_do_is_said_before_anything_is_paid_for(tmp_path):
    chosen = settings(tmp_path / "early", **SMALL, assembly={"decontaminate": [str(tmp_path / "missing.jsonl")]})
    with pytest.raises(InputError, match=r"assembly: .*missing\.jsonl"):
        collect(chosen)
    assert not (tmp_path / "early").exists()
