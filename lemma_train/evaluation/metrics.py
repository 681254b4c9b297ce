"""How good the answers to one benchmark are.

Enters: the samples of one benchmark, as lines of `samples.jsonl`. Leaves: plain dictionaries for `results.json`. It
grades nothing: verdicts stand in the samples, and whether two answers mean the same the caller says.

A question is graded when its reference could be read. Where one sample of a question has `correct: null`, the question
with all its samples is left out of every share and counted as `ungradable`: an answer that is missing is wrong beside
any reference, so keeping only those would count against the model.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import comb, sqrt
from typing import Any

import numpy as np

from lemma_train.evaluation.intervals import mean_proportion

MAX_LISTED = 200  # ids of answers that the authors' rules grade otherwise

Sample = Mapping[str, Any]
Same = Callable[[str, str], bool]


@dataclass(frozen=True)
class _Question:
    """One graded question. rights, answers: of its samples, in their order."""

    level: str | None
    subject: str | None
    rights: list[bool]
    answers: list[str | None]

    @property
    def accuracy(self) -> float:
        return sum(self.rights) / len(self.rights)


def benchmark_metrics(samples: Iterable[Sample], same: Same, seed: int = 0) -> dict[str, Any]:
    """Everything that is counted over the samples of one benchmark.

    Args:
        samples: in any order; those of one question are put in the order of `sample`. One pass, texts are not kept.
        same: whether two extracted answers mean the same; only asked about answers to one question.
        seed: of the bootstrap, used where a question has several samples.

    Returns:
        accuracy: the mean over questions of the share of right samples (pass@1). With one sample a question the
            interval is Wilson's, with more a bootstrap over the questions; `n` counts questions, see `mean_proportion`.
        pass_at_k, maj_at_k: {"1": ..., "2": ..., "4": ...}, for powers of two and the largest number of samples; see
            the functions of these names. Questions with fewer than k samples are left out.
        by_level, by_subject: {name: accuracy} of the questions that have one.
        ungradable: questions whose reference cannot be read.
        empty, cut_off, no_answer, rejected: samples that hold white space only, that the limit of tokens ended, in
            which no answer was found, and that were refused, graded or not; one sample may count in several.
        length: {"mean", "p50", "p95", "max"} tokens of all samples, and the same of right ones under "right" and of
            wrong ones under "wrong"; None where there are none. p50 and p95 are linear quantiles.

    Example:
        >>> metrics = benchmark_metrics(samples, same=str.__eq__)                        # doctest: +SKIP
        >>> metrics["accuracy"]                                                          # doctest: +SKIP
        {'value': 0.75, 'low': 0.3006..., 'high': 0.9544..., 'n': 4, 'k': 3}
    """
    counts: Counter[str] = Counter()
    lengths: dict[bool | None, list[int]] = {True: [], False: [], None: []}
    by_question: defaultdict[str, list[tuple[int, bool | None, str | None]]] = defaultdict(list)
    groups: dict[str, tuple[str | None, str | None]] = {}
    for sample in samples:
        counts["empty"] += not sample["response"].strip()
        counts["cut_off"] += sample["finish_reason"] == "length"
        counts["rejected"] += sample["finish_reason"] == "rejected"
        counts["no_answer"] += sample["extracted"] is None
        lengths[sample["correct"]].append(sample["completion_tokens"])
        by_question[sample["question_id"]].append((sample["sample"], sample["correct"], sample["extracted"]))
        groups[sample["question_id"]] = sample.get("level"), sample.get("subject")
    graded = [
        _Question(*groups[name], [bool(right) for _, right, _ in given], [answer for _, _, answer in given])
        for name, unordered in by_question.items()
        for given in [sorted(unordered, key=lambda one: one[0])]
        if all(right is not None for _, right, _ in given)
    ]
    voters = [(question.rights, answer_classes(question.answers, same)) for question in graded]
    ks = _ks(max((len(question.rights) for question in graded), default=0))
    return {
        "accuracy": _accuracy(graded, seed),
        "pass_at_k": {
            str(k): mean_proportion([pass_at_k(len(r), sum(r), k) for r, _ in voters if len(r) >= k], seed) for k in ks
        },
        "maj_at_k": {
            str(k): mean_proportion([maj_at_k(r, classes, k) for r, classes in voters if len(r) >= k], seed) for k in ks
        },
        "by_level": _by([(question.level, question) for question in graded], seed),
        "by_subject": _by([(question.subject, question) for question in graded], seed),
        "ungradable": len(by_question) - len(graded),
        **{name: counts[name] for name in ("empty", "cut_off", "no_answer", "rejected")},
        "length": {
            **_spread(lengths[True] + lengths[False] + lengths[None]),
            "right": _spread(lengths[True]),
            "wrong": _spread(lengths[False]),
        },
    }


def pass_at_k(samples: int, right: int, k: int) -> float:
    """How likely at least one of k samples is right, if k are drawn from these without putting back.

    1 - C(samples - right, k) / C(samples, k), the unbiased estimate of arXiv 2107.03374, section 2.1.

    Example:
        >>> pass_at_k(samples=4, right=1, k=2)
        0.5
    """
    assert 0 <= right <= samples and 1 <= k <= samples
    return 1 - comb(samples - right, k) / comb(samples, k)


def maj_at_k(rights: Sequence[bool], classes: Sequence[int | None], k: int) -> float:
    """How often the answer that most of k samples give is right.

    The samples are cut into blocks of k in their order, a rest shorter than k is left out, and the share of the blocks
    that vote right is returned: so maj@1 is the accuracy, and with k samples in all it is 0 or 1. In a block every
    sample with an answer has one vote; of classes with equally many votes the one seen first in the block wins, and its
    first sample's verdict counts. A block without any answer is wrong.

    Args:
        rights: the verdict of each sample.
        classes: of each sample the class of its answer, see `answer_classes`.

    Example:
        >>> maj_at_k([False, True, True, False], [0, 1, 1, None], k=4)
        1.0
    """
    assert 1 <= k <= len(rights) == len(classes)
    blocks = [range(start, start + k) for start in range(0, len(rights) - k + 1, k)]
    return sum(_votes_right(rights, classes, block) for block in blocks) / len(blocks)


def _votes_right(rights: Sequence[bool], classes: Sequence[int | None], block: range) -> bool:
    votes = Counter(classes[i] for i in block if classes[i] is not None)
    if not votes:
        return False
    # Counter keeps the order in which classes were first seen, and most_common that order among equals.
    winner = votes.most_common(1)[0][0]
    return rights[next(i for i in block if classes[i] == winner)]


def answer_classes(answers: Sequence[str | None], same: Same) -> list[int | None]:
    """The class of each answer: equal answers share one, counted from 0 in the order seen; None stays None.

    An answer is compared with the first of each class only, so `same` need not be transitive, and equal texts are
    never compared.

    Example:
        >>> answer_classes(["0.5", None, "1/2", "3", "0.5"], lambda a, b: {a, b} == {"0.5", "1/2"})
        [0, None, 0, 1, 0]
    """
    firsts: list[str] = []
    known: dict[str, int] = {}
    for answer in answers:
        if answer is not None and answer not in known:
            known[answer] = next((i for i, first in enumerate(firsts) if same(answer, first)), len(firsts))
            if known[answer] == len(firsts):
                firsts.append(answer)
    return [None if answer is None else known[answer] for answer in answers]


def authors_metrics(samples: Iterable[Sample], seed: int = 0) -> dict[str, Any]:
    """What the authors' rules say of the same samples, and where they disagree; see `authors_rules`.

    Returns:
        accuracy: formed as in `benchmark_metrics` and over the same questions. disagreements: ids of the first 200
            samples of these questions with another verdict. disagreement_count: of all of them.
    """
    questions: defaultdict[str, list[bool]] = defaultdict(list)
    ungradable = set()
    differing = []
    for sample in samples:
        questions[sample["question_id"]].append(sample["authors_correct"])
        if sample["correct"] is None:
            ungradable.add(sample["question_id"])
        elif sample["authors_correct"] != sample["correct"]:
            differing.append((sample["question_id"], sample["id"]))
    graded = [rights for question, rights in questions.items() if question not in ungradable]
    disagreements = [name for question, name in differing if question not in ungradable]
    return {
        "accuracy": mean_proportion([sum(rights) / len(rights) for rights in graded], seed),
        "disagreements": disagreements[:MAX_LISTED],
        "disagreement_count": len(disagreements),
    }


def question_accuracies(samples: Iterable[Sample]) -> list[float]:
    """The share of right samples of each graded question: those that `accuracy` is the mean of.

    Example:
        >>> question_accuracies([{"question_id": "q", "correct": right} for right in (True, False)])
        [0.5]
    """
    by_question: defaultdict[str, list[bool | None]] = defaultdict(list)
    for sample in samples:
        by_question[sample["question_id"]].append(sample["correct"])
    return [sum(map(bool, given)) / len(given) for given in by_question.values() if None not in given]


def average_accuracy(accuracies: Mapping[str, Sequence[float]], seed: int = 0) -> dict[str, Any]:
    """The plain mean of the benchmarks' accuracies, as the paper averages, whatever their sizes.

    Args:
        accuracies: benchmark -> `question_accuracies`. One in which nothing was graded is left out.
        seed: of each benchmark's bootstrap, see `mean_proportion`.

    Returns:
        accuracy, low, high: None where no benchmark has one. benchmarks: the names of those that count.

    Example:
        >>> average_accuracy({"a": [1.0, 0.0], "b": [0.0, 1.0, 0.0, 0.0]})["accuracy"]
        0.375
    """
    counted = {name: values for name, values in accuracies.items() if values}
    if not counted:
        return {"accuracy": None, "low": None, "high": None, "benchmarks": []}
    told = [mean_proportion(values, seed) for values in counted.values()]
    mean = sum(one["value"] for one in told) / len(told)
    # From the benchmarks' own intervals, which stay sound where few questions or hardly any are right (MOVER; Zou and
    # Donner, Statistics in Medicine 27, 2008). A bootstrap over all of them would then have no width.
    low, high = (sqrt(sum((one["value"] - one[end]) ** 2 for one in told)) / len(told) for end in ("low", "high"))
    return {"accuracy": mean, "low": mean - low, "high": mean + high, "benchmarks": list(counted)}


def _accuracy(questions: Sequence[_Question], seed: int) -> dict[str, Any]:
    return mean_proportion([question.accuracy for question in questions], seed)


def _by(named: Iterable[tuple[str | None, _Question]], seed: int) -> dict[str, Any]:
    groups: defaultdict[str, list[_Question]] = defaultdict(list)
    for name, question in named:
        if name is not None:
            groups[name].append(question)
    return {name: _accuracy(groups[name], seed) for name in sorted(groups)}


def _ks(most: int) -> list[int]:
    """Powers of two up to the number of samples, and that number."""
    return sorted({2**power for power in range(most.bit_length())} | {most}) if most else []


def _spread(lengths: list[int]) -> dict[str, float | int | None]:
    if not lengths:
        return {"mean": None, "p50": None, "p95": None, "max": None}
    p50, p95 = np.quantile(lengths, [0.5, 0.95])
    return {"mean": float(np.mean(lengths)), "p50": float(p50), "p95": float(p95), "max": max(lengths)}
