"""A finished evaluation as the report needs it: its results, and what is counted and drawn from its samples.

Enters: a folder with `results.json` and, if it was kept, `samples.jsonl`. Leaves: a `Run`. It makes no text and no
picture. Samples are read one line at a time; only those that are drawn stay in memory.
"""

import heapq
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lemma_train.collection.mixing import draw_of
from lemma_train.errors import InputError, first_line
from lemma_train.evaluation.marked_text import one_line

RESULTS, SAMPLES = "results.json", "samples.jsonl"
_TEXTS = ("id", "benchmark", "question", "response")
_DISAGREEMENTS = 20


@dataclass(frozen=True)
class Proportion:
    """A share between 0 and 1 with its interval; None where it could not be formed. n: trials, k: successes."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    k: int | None = None


@dataclass
class Run:
    """One evaluation.

    name: what the report calls it, unlike that of any other run. model_names: what may tell the base model.
    drawn: samples to read. disagreements: the first samples that the authors' rules grade otherwise.
    lengths: (tokens, correct) of every graded answer. error_types: type -> answers with it.
    samples: how many lines were read, None where there is no file.
    """

    folder: Path
    name: str
    results: Mapping[str, Any]
    model_names: list[str]
    samples: int | None = None
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
    def average(self) -> float | None:
        return number(at(self.results, "average", "accuracy"))


def at(values: Any, *keys: str) -> Any:
    """What stands under these keys, one inside the other; None as soon as one is missing."""
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def number(value: Any) -> float | None:
    """A finite number, or None for anything else."""
    plain = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if plain else None


def proportion(value: Any) -> Proportion:
    """A proportion of results.json; a bare number is one without an interval."""
    if not isinstance(value, Mapping):
        return Proportion(number(value))
    value, low, high, n, k = (number(value.get(key)) for key in ("value", "low", "high", "n", "k"))
    return Proportion(value, low, high, None if n is None else int(n), None if k is None else int(k))


def read_run(folder: Path, draws: int, seed: int) -> Run:
    """Read an evaluation's folder.

    Args:
        draws: how many samples to draw for reading, evenly over benchmarks and outcomes.

    Raises:
        InputError: `results.json` is missing or is not one, or a line of `samples.jsonl` is not a sample.
    """
    results = _results(folder / RESULTS)
    model = str(results.get("model") or "")
    run = Run(folder, one_line(results.get("name") or model or folder.name), results, [model, *_trained_on(model)])
    file = folder / SAMPLES
    if file.is_file():
        _read_samples(run, file, draws, seed)
    return run


def _results(file: Path) -> dict[str, Any]:
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{file} is missing; name the output_dir of a finished `lemma evaluate`.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read: {first_line(error)}; evaluate again.") from error
    benchmarks = at(results, "benchmarks")
    if not isinstance(benchmarks, Mapping) or not all(isinstance(entry, Mapping) for entry in benchmarks.values()):
        raise InputError(f"{file}: the key 'benchmarks' must map names to results; evaluate again.")
    return results


def _trained_on(model: str) -> Iterator[str]:
    """The base model that the record beside a model trained with this project names, where there is one."""
    record = Path(model).expanduser() / "run.json"
    if model and record.is_file():
        try:
            base = at(json.loads(record.read_text(encoding="utf-8")), "recipe", "model_name_or_path")
        except (OSError, ValueError) as error:
            raise InputError(f"{record} cannot be read: {first_line(error)}.") from error
        if isinstance(base, str):
            yield base


def _read_samples(run: Run, file: Path, draws: int, seed: int) -> None:
    strata: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)  # (-draw, offset), a heap
    run.samples = 0
    with file.open("rb") as lines:
        offset = 0
        for count, line in enumerate(lines, start=1):
            sample = _sample(line, f"{file}, line {count}")
            run.samples = count
            _count(run, sample)
            stratum = strata[sample["benchmark"], str(sample.get("outcome") or sample.get("correct"))]
            heapq.heappush(stratum, (-draw_of(seed, "report", sample["id"]), offset))
            if len(stratum) > draws:
                heapq.heappop(stratum)
            offset += len(line)
        for offset in _evenly([strata[key] for key in sorted(strata)], draws):
            lines.seek(offset)
            run.drawn.append(json.loads(lines.readline()))


def _sample(line: bytes, place: str) -> dict[str, Any]:
    try:
        sample = json.loads(line)
    except ValueError as error:
        raise InputError(f"{place} is not valid JSON: {first_line(error)}; evaluate again.") from error
    if not isinstance(sample, dict):
        raise InputError(f"{place} is not a JSON object; evaluate again.")
    for key in _TEXTS:
        if not isinstance(sample.get(key), str):
            raise InputError(f"{place}: the key {key!r} is missing or is not text; evaluate again.")
    return sample


def _count(run: Run, sample: Mapping[str, Any]) -> None:
    correct, tokens = sample.get("correct"), number(sample.get("completion_tokens"))
    if tokens is not None and isinstance(correct, bool):
        run.lengths.append((int(tokens), correct))
    if sample.get("error_type"):
        run.error_types[one_line(sample["error_type"])] += 1
    differs = isinstance(correct, bool) and sample.get("authors_correct") not in (None, correct)
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
