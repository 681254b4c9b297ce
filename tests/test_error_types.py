"""A teacher names the types of errors of an evaluation: what it is shown, which replies count, and that it is asked
once."""

import json

import pytest
from teacher_server import TeacherServer
from test_evaluate import over_http, questions, samples, solver  # noqa: F401 - fixtures

from lemma_train.evaluation.error_types import wrong_text
from lemma_train.evaluation.run import evaluate


def naming(body):
    return json.dumps(
        {"explanation": "It guesses.", "verdict": "wrong", "error_type": "counting error", "first_wrong_step": 1}
    )


SPEED = ("seconds", "tokens_per_second")


@pytest.fixture
def asked(tmp_path, smollm2_folder, solver):  # noqa: F811
    with TeacherServer(reply=solver) as model, TeacherServer(reply=naming) as teacher:
        block = {"engine": "openai", "model": "gpt", "base_urls": [teacher.url], "concurrency": 4}
        chosen = over_http(tmp_path / "run", smollm2_folder, model, teacher=block)
        evaluate(chosen)
        first = list(teacher.requests)
        speed = [json.loads((tmp_path / "run" / "results.json").read_text())[key] for key in SPEED]
        evaluate(chosen)
        again = [json.loads((tmp_path / "run" / "results.json").read_text())[key] for key in SPEED]
        assert again == speed, "what the teacher took is not the model's speed"
        assert len(teacher.requests) == len(first), "the replies stand in the journal"
        yield tmp_path / "run", first


def test_every_wrong_text_is_shown_and_its_type_taken(asked, questions):  # noqa: F811
    folder, requests = asked
    found = samples(folder)
    # By the place of the question: right, wrong, repaired (wrong before), spoiled (wrong in the end).
    assert [one["error_type"] for one in found] == [None, *["counting_error"] * 3] * 10
    assert [one["error_type_by"] for one in found] == [None, *["teacher"] * 3] * 10
    assert {one["error_told"] for one in found if one["error_type"]} == {"It guesses."}
    assert len(requests) == 30
    shown = [seen.body["messages"][-1]["content"] for seen in requests]
    by_place = {place: text for place in (1, 2, 3) for text in shown if questions[place].question in text}
    assert all(questions[place].solution in text for place, text in by_place.items()), "the worked solution is shown"
    assert "It must be" in by_place[2] and "that is not right" not in by_place[2], "it ends before the reflection"
    assert "that is not right" in by_place[3], "what is wrong in the end is shown whole"
    results = json.loads((folder / "results.json").read_text())
    assert results["error_types_by"] == "gpt"
    assert results["scorecard"]["by_error_type"]["counting_error"]["reflects"]["n"] == 30


def test_a_reply_that_fails_its_check_names_no_type(tmp_path, smollm2_folder, solver):  # noqa: F811
    wrong = {"explanation": "x", "verdict": "wrong", "error_type": "bad mood", "first_wrong_step": 1}
    with TeacherServer(reply=solver) as model, TeacherServer(reply=lambda body: json.dumps(wrong)) as teacher:
        block = {"engine": "openai", "model": "gpt", "base_urls": [teacher.url]}
        evaluate(over_http(tmp_path / "run", smollm2_folder, model, teacher=block, attempts=2))
        assert len(teacher.requests) == 60
    told = [one["error_told"] for one in samples(tmp_path / "run") if one["error_type_by"] == "teacher"]
    assert len(told) == 30 and all(text.startswith("unknown_type: The error_type must be one of") for text in told)
    assert not any(one["error_type"] for one in samples(tmp_path / "run"))


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        ({"response": " 8. Wait", "correct": True, "correct_before": False, "reflection_span": [4, 8]}, "8."),
        ({"response": "It is 8.", "correct": False, "correct_before": None, "reflection_span": None}, "It is 8."),
        ({"response": "7. Wait. 8", "correct": False, "correct_before": True, "reflection_span": [3, 8]}, "7. Wait. 8"),
        ({"response": "7", "correct": True, "correct_before": None, "reflection_span": None}, None),
        ({"response": "7", "correct": None, "correct_before": None, "reflection_span": None}, None),
        ({"response": " ", "correct": False, "correct_before": None, "reflection_span": None}, None),
        ({"response": "9" * 20_001, "correct": False, "correct_before": None, "reflection_span": None}, None),
    ],
)
def test_the_text_that_is_wrong(sample, text):
    assert wrong_text(sample) == text
