"""Which questions stand in a benchmark: exact matches, and overlaps of 13 words in a row.

Enters: the files of benchmarks in the form in which they are published, and questions. Leaves: for a question the
benchmark row that it repeats, or None. It looks at questions only, never at answers, and removes nothing itself.

The length of 13 words is GPT-3's (arXiv 2005.14165, appendix C). There a single shared run is enough; in mathematics
that takes away questions that share no more than a phrase ("the hour and minute hands of a clock ..."), so that here
the runs shared with one benchmark question must make up a part of the shorter of the two.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lemma_train.collection.words import words
from lemma_train.errors import InputError
from lemma_train.training.sources import Source, iterate

RUN_WORDS = 13
_JOINED_FIELDS = ("body", "question")  # SVAMP, ASDiv: the story and what is asked, in two fields
_QUESTION_FIELDS = ("question", "problem", "squestion", "instruction", "prompt", "query", "input", "text")


@dataclass(frozen=True)
class Match:
    """Where a question stands. overlap: share of its runs of words that are found there; 1 for an exact match."""

    file: str
    row: int
    kind: str  # "exact" or "overlap"
    overlap: float

    def __str__(self) -> str:
        how = "the same question" if self.kind == "exact" else f"{self.overlap:.0%} of its runs of {RUN_WORDS} words"
        return f"{how} as in {self.file}, row {self.row}"


class Benchmarks:
    """An index of benchmark questions; 18,000 of them take about 60 MB.

    Args:
        entries: paths of files or folders, or mappings `{path, field}` where the field that holds the question is to
            be named. Fields found without that: body and question together, else question, problem, sQuestion,
            instruction, prompt, query, input, text, in any case of letters.
        overlap: the share in [0, 1] of the runs of 13 words, counted in the shorter question, from which two
            questions are the same; 0 takes a single shared run for enough. A question of fewer words has no run: it
            is found only where it is exactly the same.

    Raises:
        InputError: an entry is no path, its file is missing or unreadable, or a row has no question.

    Example:
        >>> benchmarks = Benchmarks(["benchmarks/gsm8k.jsonl"])                            # doctest: +SKIP
        >>> benchmarks.find("How many eggs does the farmer sell?") is None                 # doctest: +SKIP
        True
    """

    def __init__(self, entries: Iterable[Any], overlap: float = 0.5):
        if not 0 <= overlap <= 1:
            raise InputError(f"decontaminate_overlap: it is a share from 0 to 1, not {overlap!r}.")
        self.overlap = overlap
        self.questions: Counter[str] = Counter()  # file -> questions read
        self._labels: dict[str, str] = {}  # path -> the name that the file is known by
        self._places: list[tuple[str, int, int]] = []  # file, row and number of runs of each question
        self._exact: dict[bytes, int] = {}
        self._runs: dict[bytes, list[int]] = {}
        for entry in entries:
            for path, row, question in _questions(entry):
                self._add(self._label(path), row, question)

    def find(self, question: str) -> Match | None:
        """The benchmark row that holds this question; an exact match wins, then the largest overlap."""
        if (number := self._exact.get(_digest(words(question)))) is not None:
            file, row, _ = self._places[number]
            return Match(file, row, "exact", 1.0)
        mine = _runs(question)
        shared = Counter(number for run in mine for number in self._runs.get(run, ()))
        best = max(
            ((count / min(len(mine), self._places[number][2]), -number) for number, count in shared.items()),
            default=(-1.0, 0),
        )
        if best[0] < self.overlap:
            return None
        file, row, _ = self._places[-best[1]]
        return Match(file, row, "overlap", best[0])

    def _label(self, path: str) -> str:
        """The file's name, with as many folders before it as no earlier file shares: many are called test.jsonl."""
        if path not in self._labels:
            parts, taken = Path(path).parts, set(self._labels.values())
            tails = ("/".join(parts[-count:]) for count in range(1, len(parts) + 1))
            self._labels[path] = next((tail for tail in tails if tail not in taken), path)
        return self._labels[path]

    def _add(self, file: str, row: int, question: str) -> None:
        number = len(self._places)
        runs = _runs(question)
        self._places.append((file, row, len(runs)))
        self.questions[file] += 1
        self._exact.setdefault(_digest(words(question)), number)
        for run in runs:
            self._runs.setdefault(run, []).append(number)


def _runs(question: str) -> set[bytes]:
    found = words(question, signs=False)
    return {_digest(found[start : start + RUN_WORDS]) for start in range(len(found) - RUN_WORDS + 1)}


def _digest(found: list[str]) -> bytes:
    return hashlib.blake2b(" ".join(found).encode(errors="surrogatepass"), digest_size=8).digest()


def _questions(entry: Any) -> Iterator[tuple[str, int, str]]:
    values = {"path": entry} if isinstance(entry, str | Path) else entry
    if not isinstance(values, Mapping) or set(values) - {"path", "field"} or not values.get("path"):
        raise InputError(f"decontaminate: an entry is a path or a mapping with path and field; got {entry!r}.")
    path = Path(values["path"]).expanduser()
    if not path.exists():
        raise InputError(f"decontaminate: {path} does not exist (paths are taken from the current folder).")
    field = str(values["field"]) if values.get("field") is not None else None
    for located in iterate(Source(str(path), key="decontaminate")):
        if located.fault is not None:
            raise InputError(f"decontaminate: {located.file}, line {located.line}: {located.fault[1]}; mend the file.")
        question = _question(located.row, field, f"{located.file}, row {located.line}")
        yield str(located.file), located.line, question


def _question(row: Any, field: str | None, place: str) -> str:
    fields = {str(key).lower(): value for key, value in row.items()} if isinstance(row, Mapping) else {}
    if field is not None:
        names: tuple[str, ...] = (field.lower(),)
    elif all(name in fields for name in _JOINED_FIELDS):
        names = _JOINED_FIELDS
    else:
        names = tuple(name for name in _QUESTION_FIELDS if name in fields)[:1]
    parts = [fields[name] for name in names if isinstance(fields.get(name), str)]
    if not parts or len(parts) < len(names):
        raise InputError(
            f"decontaminate: {place} has no text in {field!r}; its fields are {', '.join(map(str, fields))[:200]}."
            if field
            else f"decontaminate: {place} has no question that is known by its field's name; write the entry as "
            f"{{path: ..., field: NAME}}. Its fields are {', '.join(map(str, fields))[:200] or '(none)'}."
        )
    return " ".join(parts)
