"""A finished evaluation, read for `lemma report` and `lemma compare`: its results, verdicts and samples.

Enters: a folder with `results.json` and the `samples.jsonl` that was written with it. Leaves: a `FinishedRun`. What it
hands on is safe to use: keys that everything rests on are checked here, and an `InputError` names the file and the
field; all other values are taken through `at`, `number` and `proportion`, which give None for what is damaged. Samples
are read one line at a time, and only those that are drawn stay in memory. It compares nothing and makes no text.
"""

import hashlib
import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from lemma_train.collection.mixing import draw_of
from lemma_train.errors import InputError, first_line
from lemma_train.evaluation.marked_text import one_line
from lemma_train.evaluation.result_values import Proportion, at, number, proportion

RESULTS, SAMPLES = "results.json", "samples.jsonl"
_TEXTS = ("id", "question_id", "benchmark", "question", "reference", "response")
_DISAGREEMENTS = 20
_AVERAGE = {"value": "accuracy", "low": "low", "high": "high"}
_LEVELS = 50  # of values inside values; an evaluation writes 7. Deeper ones overflow the stack where they are shown

_Strata = defaultdict[tuple[str, str], list[tuple[int, int]]]  # benchmark and outcome -> (-draw, offset), a heap


@dataclass(slots=True)
class Answered:
    """One question. text: a number that stands for its text and reference. right: verdicts of its samples so far."""

    text: int
    samples: int = 0
    right: int = 0
    gradable: bool = True

    @property
    def share(self) -> float:
        return self.right / self.samples


@dataclass
class FinishedRun:
    """One evaluation.

    name: what the report calls it, on one visible line. model_names: what may tell the base model.
    samples: how many lines were read, None where there is no file.
    questions: benchmark -> question id -> its verdicts, in the order of the file.
    probed: item id -> its verdicts of the forced-error probe and its question's fingerprint, None without one.
    drawn: samples to read. disagreements: the first samples that the authors' rules grade otherwise.
    lengths: (tokens, correct) of every graded answer. error_types: type -> answers with it.
    """

    folder: Path
    name: str
    results: Mapping[str, Any]
    model_names: list[str]
    samples: int | None = None
    questions: dict[str, dict[str, Answered]] = field(default_factory=dict)
    probed: dict[str, Mapping[str, Any]] | None = None
    drawn: list[dict[str, Any]] = field(default_factory=list)
    disagreements: list[dict[str, Any]] = field(default_factory=list)
    lengths: list[tuple[int, bool]] = field(default_factory=list)
    error_types: Counter[str] = field(default_factory=Counter)

    @property
    def benchmarks(self) -> Mapping[str, Any]:
        return self.results["benchmarks"]

    def accuracy(self, benchmark: str) -> Proportion:
        return proportion(at(self.benchmarks, benchmark, "metrics", "accuracy"))

    @property
    def average(self) -> Proportion:
        told = at(self.results, "average")
        return proportion({key: at(told, place) for key, place in _AVERAGE.items()})


def read_finished_run(folder: Path, draws: int = 0, seed: int = 0, needs_samples: bool = True) -> FinishedRun:
    """Read an evaluation's folder.

    Args:
        draws: how many samples to draw for reading, evenly over benchmarks and outcomes.
        seed: of that draw.
        needs_samples: whether `samples.jsonl` must be there.

    Raises:
        InputError: a file is missing or damaged, or the two are not of one run.

    Example:
        >>> run = read_finished_run(Path("outputs/evaluate/tuned"), draws=200)           # doctest: +SKIP
        >>> run.accuracy("gsm8k").value, len(run.drawn)                                  # doctest: +SKIP
        (0.792, 200)
    """
    file = folder / RESULTS
    try:
        results = _object(file.read_bytes(), str(file))
    except OSError as error:
        raise _unreadable(file, error) from error
    benchmarks = results.get("benchmarks")
    if not isinstance(benchmarks, dict) or not all(isinstance(entry, dict) for entry in benchmarks.values()):
        raise InputError(f"{file}: the key 'benchmarks' must map names to results; evaluate again.")
    lines, sha256 = _samples_file(file, results)
    name, model = (value if isinstance(value, str) else "" for value in (results.get("name"), results.get("model")))
    name = one_line(name or model or folder.name)
    run = FinishedRun(folder, name, results, [model, *_trained_on(model)], probed=_probed(file, results))
    run.questions = {name: {} for name in benchmarks}
    if (folder / SAMPLES).exists() or needs_samples:
        _read_samples(run, folder / SAMPLES, lines, sha256, draws, seed)
    return run


def accuracies(results: Path) -> list[str]:
    """One line a benchmark of `results.json`: "gsm8k: accuracy 79.2 [76.9, 81.3] of 1,319 (in %, 95% interval)".

    Raises:
        InputError: the file is damaged.
    """
    benchmarks = at(_object(results.read_bytes(), str(results)), "benchmarks") or {}
    shares = {name: proportion(at(entry, "metrics", "accuracy")) for name, entry in benchmarks.items()}
    return [f"{one_line(name)}: accuracy {share} (in %, 95% interval)" for name, share in shares.items()]


def _samples_file(file: Path, results: Mapping[str, Any]) -> tuple[int, str]:
    """How many lines `samples.jsonl` had when the results were written, and its fingerprint."""
    told = results.get("samples_file")
    if told is None:
        raise InputError(
            f"{file} is of an earlier version: it does not say which {SAMPLES} belongs to it (samples_file). Run the "
            "same `lemma evaluate` again: it grades anew the answers that it has, and asks for none."
        )
    lines, sha256 = at(told, "lines"), at(told, "sha256")
    if type(lines) is not int or number(lines) is None or lines < 0 or not isinstance(sha256, str):
        raise InputError(f"{file}: the key 'samples_file' must hold 'lines' and 'sha256'; evaluate again.")
    return lines, sha256


def _trained_on(model: str) -> Iterator[str]:
    """The base model that the record beside a model trained with this project names, where there is one."""
    try:
        record = Path(model).expanduser() / "run.json"
        if not model or not record.is_file():
            return
    except (OSError, RuntimeError):
        return  # the name of a model on a server: too long for a path, or with a tilde before no user
    try:
        base = at(_object(record.read_bytes(), str(record)), "recipe", "model_name_or_path")
    except OSError as error:
        raise InputError(f"{record} cannot be read: {first_line(error)}.") from error
    if isinstance(base, str):
        yield base


def _probed(file: Path, results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]] | None:
    """The verdicts of the probe by item; None where there are none."""
    told = at(results, "probe", "verdicts")
    if told is None:
        return None
    probed: dict[str, Mapping[str, Any]] = {}
    kinds = {"recovered": (True, False, None), "reflected": (True, False)}
    for place, verdict in enumerate(told if isinstance(told, list) else [told], start=1):
        identity = at(verdict, "id")
        kept = {key: at(verdict, key) for key in kinds}
        if not isinstance(identity, str) or not all(any(kept[key] is kind for kind in kinds[key]) for key in kinds):
            raise InputError(
                f"{file}: verdict {place} of 'probe' must have the text 'id', 'recovered' (true, false or null) and "
                "'reflected' (true or false); evaluate again."
            )
        # Rows of a user's file may share an id; their place keeps them apart, the same in every run.
        question = at(verdict, "question")
        of_question = {"question": question} if isinstance(question, str) else {}  # evaluations before had none
        probed[f"{identity} ({place})" if identity in probed else identity] = kept | of_question
    return probed


def _read_samples(run: FinishedRun, file: Path, lines: int, sha256: str, draws: int, seed: int) -> None:
    strata: _Strata = defaultdict(list)
    seen: set[tuple[str, str]] = set()
    digest, offset, run.samples = hashlib.sha256(), 0, 0
    try:
        with file.open("rb") as stream:
            for count, line in enumerate(stream, start=1):
                place = f"{file}, line {count}"
                sample = _sample(line, place)
                digest.update(line)
                run.samples = count
                key = sample["benchmark"], sample["id"]
                if key in seen:
                    raise InputError(f"{place}: the sample {sample['id']!r} stands twice; evaluate again.")
                seen.add(key)
                _count(run, sample, place)
                stratum = strata[sample["benchmark"], str(sample.get("outcome") or sample["correct"])]
                heapq.heappush(stratum, (-draw_of(seed, "report", sample["id"]), offset))
                if len(stratum) > draws:
                    heapq.heappop(stratum)
                offset += len(line)
            if run.samples != lines:
                _not_of_one_run(file, f"it has {run.samples:,} lines where {RESULTS} tells of {lines:,}")
            if digest.hexdigest() != sha256.lower():
                _not_of_one_run(file, f"it is not the file that {RESULTS} was written with")
            for offset in _evenly([strata[key] for key in sorted(strata)], draws):
                stream.seek(offset)
                run.drawn.append(json.loads(stream.readline()))
    except OSError as error:
        raise _unreadable(file, error) from error


def _sample(line: bytes, place: str) -> dict[str, Any]:
    sample = _object(line, place)
    for key in _TEXTS:
        if not isinstance(sample.get(key), str):
            raise InputError(f"{place}: the key {key!r} is missing or is not text; evaluate again.")
    if "correct" not in sample or not (sample["correct"] is None or isinstance(sample["correct"], bool)):
        raise InputError(f"{place}: the key 'correct' must be true, false or null; evaluate again.")
    return sample


def _count(run: FinishedRun, sample: Mapping[str, Any], place: str) -> None:
    name, correct, tokens = sample["benchmark"], sample["correct"], number(sample.get("completion_tokens"))
    if name not in run.questions:
        raise InputError(f"{place}: {RESULTS} has no benchmark {name!r}; evaluate again, so that both are of one run.")
    text = hash((sample["question"], sample["reference"]))
    answered = run.questions[name].setdefault(sample["question_id"], Answered(text))
    answered.samples += 1
    answered.right += correct is True
    answered.gradable &= correct is not None
    if tokens is not None and correct is not None:
        run.lengths.append((int(tokens), correct))
    if sample.get("error_type"):
        run.error_types[one_line(sample["error_type"])] += 1
    theirs = sample.get("authors_correct")
    differs = correct is not None and isinstance(theirs, bool) and theirs != correct
    if differs and len(run.disagreements) < _DISAGREEMENTS:
        kept = ("id", "benchmark", "reference", "extracted", "correct", "authors_extracted", "authors_correct")
        run.disagreements.append({key: sample.get(key) for key in kept})


def _evenly(strata: list[list[tuple[int, int]]], draws: int) -> list[int]:
    """Offsets, one from each stratum in turn until there are enough or none is left, in the order of the file."""
    queues = [[offset for _, offset in sorted(stratum)] for stratum in strata]  # the last is the one drawn first
    chosen: list[int] = []
    while len(chosen) < draws and any(queues):
        for queue in queues:
            if queue and len(chosen) < draws:
                chosen.append(queue.pop())
    return sorted(chosen)


def _object(text: bytes, place: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place} is not valid JSON: {first_line(error)}; evaluate again.") from error
    if not isinstance(value, dict):
        raise InputError(f"{place} is not a JSON object; evaluate again.")
    layer: list[Any] = [value]
    for _ in range(_LEVELS):
        layer = [inner for outer in layer for inner in _inside(outer)]
        if not layer:
            return value
    raise InputError(f"{place} holds values inside values, more than {_LEVELS} deep; evaluate again.")


def _inside(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _not_of_one_run(file: Path, how: str) -> NoReturn:
    raise InputError(f"{file}: {how}; evaluate again, so that both are of one run.")


def _unreadable(file: Path, error: OSError) -> InputError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return InputError(f"{file} is missing; name the output_dir of a finished `lemma evaluate`.")
    return InputError(f"{file} cannot be read: {first_line(error)}.")
