"""A whole evaluation: what it asks, what it leaves, and that it goes on where it stopped."""

import json
import shutil
import signal
import subprocess
import time

import pytest
import yaml
from launching import BIN, environment
from teacher_server import DROPPED, TeacherServer, error

from lemma_train.errors import InputError, Stopped
from lemma_train.evaluation.benchmark_entries import load_entry
from lemma_train.evaluation.recipe import load_evaluate_recipe
from lemma_train.evaluation.run import evaluate
from lemma_train.template import Renderer

ENTRY = {"source": "generated", "kind": "word_sums", "size": 40, "seed": 11}


def settings(folder, smollm2, **keys):
    values = {
        "model": {"engine": "openai", "model": "served", "tokenizer": str(smollm2), "concurrency": 4},
        "benchmarks": [ENTRY],
        "output_dir": str(folder),
        **keys,
    }
    path = folder.parent / f"{folder.name}.yaml"
    path.write_text(yaml.safe_dump(values))
    return load_evaluate_recipe(path)


def over_http(folder, smollm2, server, **keys):
    model = {"engine": "openai", "model": "served", "tokenizer": str(smollm2), "concurrency": 4}
    model |= {"base_urls": [server.url], **keys.pop("model", {})}
    return settings(folder, smollm2, model=model, **keys)


@pytest.fixture(scope="module")
def questions():
    return load_entry(ENTRY, 0).questions


@pytest.fixture(scope="module")
def solver(questions, smollm2_tokenizer):
    """Answers by the place of the question: right, wrong, repaired, spoiled, and so on again."""
    places = {question.question: place for place, question in enumerate(questions)}

    def reply(body):
        text = smollm2_tokenizer.decode(body["prompt"])
        asked = text.split("### Instruction:\n")[-1].split("\n\n### Response:")[0]
        question = questions[places[asked]]
        wrong = str(int(question.reference) + 7)
        return (
            f" {question.solution}",
            f" It must be {wrong}. The answer is {wrong}.",
            f" It must be {wrong}. The answer is {wrong}. Wait, that is not right. {question.solution}",
            f" {question.solution} Wait, that is not right, I made a mistake. The answer is {wrong}.",
        )[places[asked] % 4]

    return reply


def samples(folder):
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def test_prompts_are_the_ids_of_training_and_every_answer_is_judged(
    tmp_path, smollm2_folder, smollm2_tokenizer, questions, solver
):
    with TeacherServer(reply=solver) as server:
        evaluate(over_http(tmp_path / "run", smollm2_folder, server, model={"extra_body": {"top_k": 1}}))
        asked = [seen.body for seen in server.requests]
    assert json.loads((tmp_path / "run" / "results.json").read_text())["decoding"]["further"] == {"top_k": 1}
    renderer = Renderer(smollm2_tokenizer)
    assert sorted(body["prompt"] for body in asked) == sorted(renderer.prompt_ids(one.question) for one in questions)
    assert all(body["temperature"] == 0 for body in asked)
    found = samples(tmp_path / "run")
    assert [one["question_id"] for one in found] == [one.id for one in questions]
    assert [one["correct"] for one in found] == [True, False, True, False] * 10
    assert [one["outcome"] for one in found] == [None, None, "repaired", "spoiled"] * 10
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    (told,) = results["benchmarks"].values()
    assert told["metrics"]["accuracy"]["k"] == 20 and told["metrics"]["accuracy"]["n"] == 40
    assert told["scorecard"]["repair_rate"]["value"] == 1.0 and told["scorecard"]["spoil_rate"]["value"] == 1.0
    assert results["template_fingerprint"] == renderer.fingerprint and results["average"]["accuracy"] == 0.5


def test_stopped_by_a_dead_server_it_asks_only_for_what_is_missing(tmp_path, smollm2_folder, solver):
    def rule(body):
        return DROPPED if len(server.requests) > 15 and not state["well"] else None

    state = {"well": False}
    with TeacherServer(reply=solver, rule=rule) as server:
        quick = {"outage_minutes": 0.02, "max_tries": 2}
        chosen = over_http(tmp_path / "run", smollm2_folder, server, model=quick)
        with pytest.raises(Stopped):
            evaluate(chosen)
        assert not (tmp_path / "run" / "results.json").exists()
        kept = len((tmp_path / "run" / "journal" / "replies.jsonl").read_bytes().splitlines())
        state["well"] = True
        before = len(server.requests)
        evaluate(chosen)
        assert 0 < kept < 40 and len(server.requests) - before == 40 - kept
        evaluate(chosen)
        assert len(server.requests) - before == 40 - kept


def test_a_context_that_is_too_short_is_no_accuracy_of_zero(tmp_path, smollm2_folder, solver):
    said = "This model's maximum context length is 64 tokens. However, you requested 1100 tokens."
    state = {"short": True}

    def rule(body):
        return error(400, said, code="context_length_exceeded") if state["short"] else None

    with TeacherServer(reply=solver, rule=rule) as server:
        chosen = over_http(tmp_path / "run", smollm2_folder, server)
        with pytest.raises(InputError, match=r"40 of 40 prompts were refused, .*maximum context length.*max_tokens"):
            evaluate(chosen)
        assert not (tmp_path / "run" / "results.json").exists()
        state["short"] = False
        evaluate(chosen)
        assert {one["finish_reason"] for one in samples(tmp_path / "run")} == {"stop"}
        state["short"] = True
        evaluate(over_http(tmp_path / "other", smollm2_folder, server, max_rejected_share=1.0))
    (told,) = json.loads((tmp_path / "other" / "results.json").read_text())["benchmarks"].values()
    assert told["metrics"]["rejected"] == 40 and told["metrics"]["accuracy"]["k"] == 0


def test_results_of_an_earlier_model_never_stand_beside_samples_of_another(tmp_path, smollm2_folder, solver):
    rows = tmp_path / "rows.jsonl"
    row = {"instruction": "3 + 4?", "output": "8. Wait, 7. The answer is 7.", "error_span": [0, 2], "answer": "7"}
    rows.write_text(json.dumps(row) + "\n")

    def rule(body):
        return DROPPED if body["prompt"] == state["down_over"] else None

    state = {"down_over": None}
    with TeacherServer(reply=lambda body: "The answer is 1.", rule=rule) as server:
        keys = {"probe": {"path": str(rows)}}
        evaluate(over_http(tmp_path / "run", smollm2_folder, server, **keys))
        before = [(tmp_path / "run" / name).read_bytes() for name in ("results.json", "samples.jsonl")]
        # Another model answers the questions, and its server is gone when the probe begins.
        state["down_over"] = server.requests[-1].body["prompt"]
        quick = {"model": "second", "outage_minutes": 0.02, "max_tries": 1}
        with pytest.raises(Stopped):
            evaluate(over_http(tmp_path / "run", smollm2_folder, server, model=quick, **keys))
    assert [(tmp_path / "run" / name).read_bytes() for name in ("results.json", "samples.jsonl")] == before


def test_a_model_trained_again_under_its_name_is_asked_anew(tmp_path, smollm2_folder, solver):
    folder = tmp_path / "model"
    shutil.copytree(smollm2_folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    weights = folder / "model.safetensors"
    with TeacherServer(reply=solver) as server:
        for number, content in enumerate((b"first", b"again", b"again"), start=1):
            weights.write_bytes(content * 1000)
            evaluate(over_http(tmp_path / "run", folder, server))
            assert len(server.requests) == 40 * min(number, 2)


def test_the_speed_is_that_of_the_starts_that_asked(tmp_path, smollm2_folder, solver):
    with TeacherServer(reply=solver, latency=0.05) as server:
        evaluate(over_http(tmp_path / "run", smollm2_folder, server))
        first = json.loads((tmp_path / "run" / "results.json").read_text())
        evaluate(over_http(tmp_path / "run", smollm2_folder, server))
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == first
    # Forty answers of 7 tokens, four at once, 50 ms each.
    assert first["seconds"] >= 0.5 and first["tokens_per_second"] == pytest.approx(280 / first["seconds"], rel=0.1)


def test_a_model_trained_with_another_prompt_is_refused(tmp_path, smollm2_folder, solver):
    folder = tmp_path / "model"
    shutil.copytree(smollm2_folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "run.json").write_text(json.dumps({"template": {"template": "alpaca", "fingerprint": "0" * 16}}))
    with TeacherServer(reply=solver) as server:
        chosen = over_http(tmp_path / "run", folder, server)
        with pytest.raises(InputError, match=r"model\.template: .* was trained with the template 'alpaca'"):
            evaluate(chosen)
        # The same text with another separator or BOS: naming it once more would be no help.
        (folder / "run.json").write_text(json.dumps({"template": {"template": "lemma", "fingerprint": "0" * 16}}))
        with pytest.raises(InputError, match=r"with this template as another tokenizer or an earlier version rendered"):
            evaluate(chosen)
        assert not server.requests
        evaluate(over_http(tmp_path / "run", folder, server, other_template="allow"))


def test_several_samples_give_pass_and_majority(tmp_path, smollm2_folder, solver):
    with TeacherServer(reply=solver) as server:
        evaluate(over_http(tmp_path / "run", smollm2_folder, server, samples=4, model={"temperature": 0.7}))
        assert len({seen.body["seed"] for seen in server.requests}) == 160
    (told,) = json.loads((tmp_path / "run" / "results.json").read_text())["benchmarks"].values()
    assert told["samples"] == 160 and {"1", "4"} <= set(told["metrics"]["pass_at_k"])
    assert told["metrics"]["maj_at_k"]["4"]["value"] == 0.5


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"samples": 4}, r"samples: greedy answers are all the same; set model\.temperature"),
        ({"benchmarks": []}, r"the key benchmarks is missing"),
        ({"benchmarks": ["gsm9k"]}, r"gsm8k"),
        ({"benchmarks": [ENTRY, ENTRY]}, r"stands twice"),
        ({"model": {"engine": "openai", "model": "m"}}, r"model\.tokenizer is missing"),
        ({"model": {"model": "nowhere/at/all"}}, r"model\.model: there is no folder nowhere/at/all "),
        ({"probe": {"path": "missing.jsonl"}}, r"probe\.path"),
        ({"sample": 3}, r"unknown key 'sample'; did you mean samples\?"),
    ],
)
def test_a_fault_is_named_with_its_key(tmp_path, smollm2_folder, keys, message):
    with pytest.raises(InputError, match=message):
        evaluate(settings(tmp_path / "run", smollm2_folder, **keys))


@pytest.mark.slow
def test_killed_and_started_again_a_local_model_gives_the_same_results(tmp_path, smollm2_folder):
    values = {
        "model": {"model": str(smollm2_folder), "max_tokens": 48, "batch_size": 4, "dtype": "float32"},
        "benchmarks": [{**ENTRY, "size": 12}],
    }
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**values, "output_dir": str(tmp_path / "whole")}))
    command = [str(BIN / "lemma"), "evaluate", str(recipe)]
    assert subprocess.run(command, env=environment()).returncode == 0
    killed = [*command, "--output_dir", str(tmp_path / "killed")]
    run = subprocess.Popen(killed, env=environment())
    journal = tmp_path / "killed" / "journal" / "replies.jsonl"
    while not (journal.is_file() and journal.stat().st_size):
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()
    kept = len(journal.read_bytes().splitlines())
    assert 0 < kept < 12
    ended = subprocess.run(killed, env=environment(), stdout=subprocess.PIPE, text=True)
    (name, found), *_ = json.loads((tmp_path / "killed" / "results.json").read_text())["benchmarks"].items()
    accuracy = found["metrics"]["accuracy"]
    low, high = 100 * accuracy["low"], 100 * accuracy["high"]
    told = f"{name}: accuracy {100 * accuracy['value']:.1f} [{low:.1f}, {high:.1f}] of 12 (in %, 95% interval)"
    assert (ended.returncode, ended.stdout) == (0, f"Evaluated: {tmp_path}/killed/results.json\n{told}\n")
    assert [(one["id"], one["response"]) for one in samples(tmp_path / "killed")] == [
        (one["id"], one["response"]) for one in samples(tmp_path / "whole")
    ]
