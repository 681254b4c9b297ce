"""Metrics on samples small enough to count by hand."""

from itertools import combinations

import pytest

from lemma_train.evaluation.intervals import proportion
from lemma_train.evaluation.metrics import (
    answer_classes,
    authors_metrics,
    average_accuracy,
    benchmark_metrics,
    maj_at_k,
    pass_at_k,
    question_accuracies,
)


def sample(question="q0", k=0, correct=True, answer="4", **other):
    return {
        "id": f"{question}/{k}",
        "question_id": question,
        "benchmark": "sums",
        "sample": k,
        "level": None,
        "subject": None,
        "response": f"The answer is {answer}.",
        "finish_reason": "stop",
        "completion_tokens": 10,
        "extracted": answer,
        "correct": correct,
        "authors_correct": bool(correct),
        **other,
    }


def of_verdicts(*verdicts, **other):
    """One sample for each question."""
    return [sample(f"q{i}", correct=verdict, **other) for i, verdict in enumerate(verdicts)]


def metrics(samples):
    return benchmark_metrics(samples, same=str.__eq__)


def test_one_sample_a_question_gives_a_proportion_with_wilsons_interval():
    assert metrics(of_verdicts(True, True, False, True))["accuracy"] == proportion(3, 4)


def test_several_samples_give_the_mean_over_questions_with_a_bootstrap():
    samples = [sample(f"q{i}", k, correct=k < i % 5) for i in range(50) for k in range(4)]
    told = metrics(samples)["accuracy"]
    assert told["value"] == pytest.approx(0.5) and (told["n"], told["k"]) == (50, 25)
    wilson_of_all = proportion(100, 200)
    assert told["high"] - told["low"] > wilson_of_all["high"] - wilson_of_all["low"]  # samples of a question are alike


def test_every_question_weighs_the_same_however_many_samples_it_has():
    samples = [sample("q0", k, correct=True) for k in range(8)] + [sample("q1", 0, correct=False)]
    assert metrics(samples)["accuracy"]["value"] == 0.5


def test_a_question_whose_reference_cannot_be_read_is_left_out_with_all_its_samples():
    samples = [
        *of_verdicts(True, False),
        sample("bad", 0, correct=None),
        sample("bad", 1, correct=False, answer=None, response="No idea"),
    ]
    told = metrics(samples)
    assert told["accuracy"] == proportion(1, 2)
    assert (told["ungradable"], told["no_answer"]) == (1, 1)


def test_nothing_graded_gives_no_values():
    told = metrics(of_verdicts(None))
    assert told["accuracy"] == proportion(0, 0)
    assert (told["pass_at_k"], told["maj_at_k"], told["by_level"]) == ({}, {}, {})
    nothing = {"mean": None, "p50": None, "p95": None, "max": None}
    assert (metrics([])["length"]["right"], metrics([])["ungradable"]) == (nothing, 0)


@pytest.mark.parametrize(("n", "right", "k"), [(5, 0, 3), (5, 1, 3), (5, 2, 3), (5, 3, 3), (4, 4, 1), (7, 2, 7)])
def test_pass_at_k_is_the_share_of_all_draws_that_hold_a_right_sample(n, right, k):
    draws = list(combinations([True] * right + [False] * (n - right), k))
    assert pass_at_k(n, right, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_pass_at_k_comes_for_powers_of_two_and_the_number_of_samples():
    samples = [sample(f"q{i}", k, correct=k < i) for i in range(2) for k in range(6)]
    told = metrics(samples)["pass_at_k"]
    assert list(told) == ["1", "2", "4", "6"]
    assert [entry["value"] for entry in told.values()] == pytest.approx([1 / 12, 1 / 6, 1 / 3, 1 / 2])
    assert told["6"] == proportion(1, 2)


def test_questions_with_fewer_samples_are_left_out_of_a_larger_k():
    samples = [sample("q0", 0), sample("q1", 0, correct=False, answer="5"), sample("q1", 1)]
    told = metrics(samples)
    assert told["pass_at_k"]["2"] == proportion(1, 1)
    assert told["maj_at_k"]["2"] == proportion(0, 1)  # one vote each way: the first, which is wrong
    assert told["pass_at_k"]["1"]["n"] == 2


def test_the_majority_wins_over_more_right_looking_firsts():
    assert maj_at_k([True, False, False, True], [0, 1, 1, None], 4) == 0.0
    assert maj_at_k([False, True, True, True], [0, 1, 2, 1], 4) == 1.0


def test_a_tie_goes_to_the_answer_seen_first():
    assert maj_at_k([True, False, False, True], [0, 1, 1, 0], 4) == 1.0
    assert maj_at_k([False, True, True, False], [0, 1, 1, 0], 4) == 0.0


def test_the_first_sample_of_the_winning_answer_gives_its_verdict():
    """Spellings of one answer can get different verdicts, where comparing is not transitive."""
    assert maj_at_k([False, True, False], [1, 0, 0], 3) == 1.0
    assert maj_at_k([True, False, True], [1, 0, 0], 3) == 0.0


def test_samples_without_an_answer_do_not_vote_and_alone_they_are_wrong():
    assert maj_at_k([False, False, True], [None, None, 0], 3) == 1.0
    assert maj_at_k([False, False], [None, None], 2) == 0.0


def test_smaller_votes_are_held_in_blocks_that_use_every_sample():
    rights, classes = [True, False, True, True, False], [0, 1, 0, 0, 2]
    assert maj_at_k(rights, classes, 1) == 0.6
    assert maj_at_k(rights, classes, 2) == 1.0  # tie won by the first; then two equal; the fifth is left over


def test_votes_are_counted_by_meaning_not_by_spelling():
    answers = ["3", "1/2", "0.5", "3.", "\\frac12"]
    halves = {"1/2", "0.5", "\\frac12"}
    samples = [sample("q0", k, correct=answer in halves, answer=answer) for k, answer in enumerate(answers)]
    told = benchmark_metrics(samples, same=lambda a, b: a in halves and b in halves)
    assert told["maj_at_k"]["5"]["value"] == 1.0
    assert metrics(samples)["maj_at_k"]["5"]["value"] == 0.0  # five spellings: the first wins


def test_samples_vote_in_their_own_order_whatever_the_order_of_the_file():
    samples = [sample("q0", 1, correct=True, answer="5"), sample("q0", 0, correct=False, answer="6")]
    assert metrics(samples)["maj_at_k"]["2"]["value"] == 0.0


def test_equal_texts_are_never_compared_and_others_only_with_the_first_of_each_class():
    asked = []

    def same(a, b):
        asked.append((a, b))
        return a.strip("0.") == b.strip("0.")

    assert answer_classes(["7", None, "7", "8", "7.0", "8", "9"], same) == [0, None, 0, 1, 0, 1, 2]
    assert asked == [("8", "7"), ("7.0", "7"), ("9", "7"), ("9", "8")]


def test_levels_and_subjects_are_told_apart_in_order_and_absent_ones_left_out():
    samples = [
        sample("q0", level="2", subject="Sums"),
        sample("q1", correct=False, level="2"),
        sample("q2", correct=False, level="1", subject="Sums"),
        sample("q3"),
        sample("q4", correct=None, level="3"),
    ]
    told = metrics(samples)
    assert list(told["by_level"].items()) == [("1", proportion(0, 1)), ("2", proportion(1, 2))]
    assert told["by_subject"] == {"Sums": proportion(1, 2)}


def test_empty_cut_off_and_unanswered_samples_are_counted():
    samples = [
        sample("q0"),
        sample("q1", correct=False, answer=None, response=" \n"),
        sample("q2", correct=False, answer=None, response="It goes on", finish_reason="length"),
    ]
    told = metrics(samples)
    assert (told["empty"], told["cut_off"], told["no_answer"]) == (1, 1, 2)


def test_lengths_are_told_of_all_right_and_wrong_answers():
    samples = [sample(f"q{i}", correct=i < 2, completion_tokens=10 * (i + 1)) for i in range(4)]
    samples.append(sample("q4", correct=None, completion_tokens=100))
    length = metrics(samples)["length"]
    assert (length["mean"], length["p50"], length["p95"], length["max"]) == (40.0, 30.0, pytest.approx(88.0), 100)
    assert (length["right"]["mean"], length["right"]["max"], length["wrong"]["mean"]) == (15.0, 20, 35.0)


def test_the_authors_verdicts_are_counted_over_the_same_questions():
    samples = [
        sample("q0", correct=True, authors_correct=True),
        sample("q1", correct=False, authors_correct=True),
        sample("q2", correct=True, authors_correct=False),
        sample("q3", correct=False, authors_correct=False),
        sample("q4", 0, correct=None, authors_correct=True),
        sample("q4", 1, correct=False, authors_correct=True),
    ]
    told = authors_metrics(samples)
    assert told == {"accuracy": proportion(2, 4), "disagreements": ["q1/0", "q2/0"], "disagreement_count": 2}


def test_at_most_200_disagreements_are_listed_and_all_are_counted():
    told = authors_metrics([sample(f"q{i}", correct=False, authors_correct=True) for i in range(250)])
    assert (len(told["disagreements"]), told["disagreement_count"]) == (200, 250)


def test_the_average_is_the_plain_mean_of_the_benchmarks():
    large, small = of_verdicts(*[True] * 90 + [False] * 10), of_verdicts(True, False)
    accuracies = {name: question_accuracies(given) for name, given in {"large": large, "small": small}.items()}
    told = average_accuracy({**accuracies, "unread": question_accuracies(of_verdicts(None))})
    assert (told["accuracy"], told["benchmarks"]) == (pytest.approx(0.7), ["large", "small"])
    # Half of the mean's spread comes from the small benchmark: it cannot be known well.
    assert 0.3 < told["low"] < 0.7 < told["high"] < 1.0
    assert average_accuracy({}) == {"accuracy": None, "low": None, "high": None, "benchmarks": []}


def test_the_average_of_few_questions_is_not_known_exactly():
    told = average_accuracy({"a": [1.0] * 10, "b": [1.0] * 10})
    alone = proportion(10, 10)
    assert told["accuracy"] == told["high"] == 1.0
    assert told["low"] == pytest.approx(1 - (1 - alone["low"]) / 2**0.5)


def test_the_average_of_one_benchmark_is_its_accuracy_with_its_interval():
    told = average_accuracy({"only": [1.0] * 2 + [0.0] * 98})
    assert (told["accuracy"], told["low"], told["high"]) == tuple(
        proportion(2, 100)[k] for k in ("value", "low", "high")
    )


def test_the_accuracy_is_the_mean_of_the_questions_accuracies():
    samples = [sample("q1", 0), sample("q1", 1, correct=False), sample("q2", correct=None), sample("q3", correct=False)]
    assert question_accuracies(samples) == [0.5, 0.0]
    assert metrics(samples)["accuracy"]["value"] == 0.25
