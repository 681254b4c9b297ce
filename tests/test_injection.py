"""Injection: how many errors a question gets, and of which types."""

from collections import Counter

import pytest

from lemma_train.collection import injection
from lemma_train.collection.records import Attempt
from lemma_train.collection.settings import Correction, Injection
from lemma_train.collection.stage_files import Line, write_stage
from lemma_train.collection.taxonomy import load_taxonomy
from lemma_train.problems import Problem

TAXONOMY = load_taxonomy()


@pytest.mark.parametrize(("rate", "rows"), [(0.0, 0), (1 / 16, 1), (2 / 16, 3), (6 / 16, 8), (0.5, 10), (1.0, 20)])
def test_lemma_hard_gives_rows_in_proportion_with_halves_rounded_up(rate, rows):
    settings = Injection(allocation="failure_rate", k_max=20)
    assert injection.rows_of(settings, rate) == rows
    halves = injection.rows_of_origins(settings, rate)
    assert sum(halves.values()) == rows and halves["student"] - halves["injected"] in (0, 1)


@pytest.mark.parametrize(("rows", "both", "one"), [(0, 0, 0), (1, 1, 1), (4, 2, 4), (5, 3, 5)])
def test_no_more_errors_are_asked_for_than_the_rows_need(rows, both, one):
    assert injection.errors_for(rows, Correction()) == both
    assert injection.errors_for(rows, Correction(strategies=["fix_and_continue"])) == one


def _write(folder, verdicts, types):
    """Stage files of questions q0, q1, ...: the verdicts of each one's answers and the types of its errors."""
    for stage in ("problems", "grading", "analysis"):
        with write_stage(folder, stage) as put:
            for order, (told, found) in enumerate(zip(verdicts, types, strict=True)):
                name = f"q{order}"
                if stage == "problems":
                    put(Line(name, name, order, True, Problem(name, f"{order} + 1?", "1", None, f"set{order % 2}")))
                for k, value in enumerate(told if stage == "grading" else found if stage == "analysis" else []):
                    known = {"correct": value} if stage == "grading" else {"error_type": value, "correct": False}
                    put(Line(f"{name}/s{k}", name, order, True, Attempt(f"{name}/s{k}", name, "student", "2", **known)))


def _drawn(folder, **keys):
    settings = Injection(**{"per_question": 40, **keys})
    measured = injection.measured_types([folder])
    found = injection.items(folder, settings, Correction(), TAXONOMY, 0, True, measured)
    drawn: dict[str, Counter[str]] = {}
    for order in found:
        drawn.setdefault(order.problem.id, Counter())[order.error_type] += 1
    return drawn


def test_types_are_drawn_from_the_errors_of_the_same_question(tmp_path):
    three_to_one = ["calculation_error"] * 3 + ["missing_step"]
    _write(tmp_path, [[False] * 4, [True], [False]], [three_to_one, [], ["operator_error"]])
    drawn = _drawn(tmp_path)
    assert set(drawn) == {"q0", "q2"}  # q1 was never wrong
    assert set(drawn["q0"]) == {"calculation_error", "missing_step"} and drawn["q2"] == {"operator_error": 40}
    assert 20 <= drawn["q0"]["calculation_error"] <= 38
    assert drawn == _drawn(tmp_path)
    assert len(_drawn(tmp_path, types="uniform")["q2"]) > 6


def test_types_of_the_data_set_are_those_of_the_same_source(tmp_path):
    _write(tmp_path, [[False]] * 4, [["counting_error"], ["missing_step"], ["operator_error"], []])
    drawn = _drawn(tmp_path, types="data_set")
    assert set(drawn["q0"]) == set(drawn["q2"]) == {"counting_error", "operator_error"}
    assert set(drawn["q1"]) == set(drawn["q3"]) == {"missing_step"}


def test_an_error_that_cannot_be_injected_leaves_every_type_alike(tmp_path):
    _write(tmp_path, [[False]], [["nonsense_output_error"]])
    assert "nonsense_output_error" not in _drawn(tmp_path)["q0"] and len(_drawn(tmp_path)["q0"]) > 6
