"""The grader against labels set by hand: grading_pairs.yaml, which tells their policy, and grading_traps.yaml."""

from pathlib import Path

import pytest
import yaml

from lemma_train.grading.grader import Grader

LABELLED = yaml.safe_load(Path(__file__).with_name("grading_pairs.yaml").read_text(encoding="utf-8"))
RESPONSES = LABELLED.pop("responses")
PAIRS = [pytest.param(*pair, id=f"{kind}-{i}") for kind, pairs in LABELLED.items() for i, pair in enumerate(pairs)]
TRAPS = yaml.safe_load(Path(__file__).with_name("grading_traps.yaml").read_text(encoding="utf-8"))


def cases_of(kind: str) -> list:
    groups = TRAPS[kind].items()
    return [pytest.param(*case, id=f"{name}-{i}") for name, cases in groups for i, case in enumerate(cases)]


@pytest.fixture(scope="module")
def grader():
    with Grader(workers=1) as grader:
        yield grader


def test_there_are_at_least_300_pairs_and_no_two_are_the_same():
    assert len(PAIRS) + len(RESPONSES) >= 300
    pairs = [tuple(pair) for pairs in LABELLED.values() for pair in pairs]
    assert len({pair[:2] for pair in pairs}) == len(pairs)
    verdicts = [pair[2] for pair in pairs]
    assert min(verdicts.count(verdict) for verdict in (True, False)) > 100 and verdicts.count(None) >= 4


@pytest.mark.parametrize(("answer", "reference", "verdict"), PAIRS)
def test_the_grader_agrees_with_the_label(grader, answer, reference, verdict):
    assert grader.grade_answer(answer, reference).correct is verdict


@pytest.mark.parametrize(("response", "reference", "extracted", "verdict"), RESPONSES)
def test_the_grader_finds_and_judges_the_answer_of_a_response(grader, response, reference, extracted, verdict):
    grade = grader.grade(response, reference)
    assert (grade.extracted, grade.correct) == (extracted, verdict)


@pytest.mark.parametrize(("answer", "reference", "verdict"), cases_of("pairs"))
def test_answers_that_are_traps(grader, answer, reference, verdict):
    assert grader.grade_answer(answer, reference).correct is verdict


@pytest.mark.parametrize(("response", "reference", "verdict"), cases_of("responses"))
def test_responses_that_are_traps(grader, response, reference, verdict):
    assert grader.grade(response, reference).correct is verdict
