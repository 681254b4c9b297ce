"""The last stage: corrected trajectories become the training set.

Enters: candidate rows. Leaves: `dataset.jsonl`, `dataset.parquet` and the stage file `stages/assembly.jsonl`, which
says of every candidate whether it is in the set and why not; and the numbers for the data card. It asks no model and
grades nothing.

Texts wait in a file while the choice is made from light entries, so that memory does not grow with them. The order of
the checks is: the training row's own rules, benchmarks, kinds without a share, repetitions, the cap per question,
proportions. What is chosen and in which order it stands depends on ids and seed alone, not on how or when the
candidates came.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lemma_train.collection.candidates import Candidate
from lemma_train.collection.dataset_files import RowSpool, write_dataset
from lemma_train.collection.decontamination import Benchmarks, Match
from lemma_train.collection.mixing import EXTRAS, Entry, Shares, cap, choose, draw_of, quotas
from lemma_train.collection.near_duplicates import repeats
from lemma_train.collection.stage_files import Line, write_stage
from lemma_train.collection.words import words
from lemma_train.errors import InputError
from lemma_train.problems import Problem
from lemma_train.records import RowError, read_row


@dataclass
class Assembled:
    """What the data card tells about this stage; plain values.

    entered, kept: rows, by "strategy/origin". reasons: rows left out, by reason.
    pools: for each side of a proportion its rows at hand and those taken.
    benchmarks: file -> questions read. overlap: the share of runs from which questions count as the same, or None
        without benchmarks. contaminated: file -> {"exact" or "overlap": questions removed}.
    contaminated_examples: a few of the removed problems, `{problem_id, detail}`.
    """

    entered: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    pools: list[dict[str, Any]] = field(default_factory=list)
    benchmarks: dict[str, int] = field(default_factory=dict)
    overlap: float | None = None
    contaminated: dict[str, dict[str, int]] = field(default_factory=dict)
    contaminated_examples: list[dict[str, str]] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(self.kept.values())


def assemble(
    candidates: Iterable[Candidate],
    folder: Path,
    *,
    seed: int,
    rows: int | None = None,
    strategies: Mapping[str, float] | None = None,
    origins: Mapping[str, float] | None = None,
    max_per_question: int | Mapping[str, int] | None = None,
    near_duplicate_threshold: float | None = 0.9,
    decontaminate: Sequence[Any] = (),
    decontaminate_overlap: float = 0.5,
    not_asked: Sequence[Problem] = (),
    references: float = 0,
    right_samples: float = 0,
) -> Assembled:
    """Choose among the candidates and write the data set.

    A proportion is kept where one of its sides is short: the other is cut. What is cut, and what is over `rows`, is
    drawn so that as many questions as possible stay.

    Args:
        candidates: in any order; ids must differ.
        folder: the collection's folder.
        rows, strategies, origins, references, right_samples: see `mixing.Shares`.
        max_per_question: most trajectories of one question, or of each problem id; they are taken from its strategies
            and origins in turn.
        near_duplicate_threshold: Jaccard similarity of word 5-grams from which the rows of one question count as one,
            the first of them stays; None: only equal ones. Equal trajectories of different questions count as one too.
        decontaminate, decontaminate_overlap: see `decontamination.Benchmarks`.
        not_asked: questions that were left out as contaminated before any stage; they are counted with the others.

    Raises:
        InputError: a setting makes no sense, a benchmark cannot be read, an id comes twice, no row is left, or the
            disk is full.

    Example:
        >>> lines = read_stage(folder, "smoothing")                                        # doctest: +SKIP
        >>> assemble(trajectory_rows(lines, problems.__getitem__), folder, seed=0).rows    # doctest: +SKIP
        88904
    """
    shares = Shares(rows, strategies, origins, references, right_samples)
    if near_duplicate_threshold is not None and not 0 < near_duplicate_threshold <= 1:
        raise InputError(
            f"near_duplicate_threshold: give a number above 0 and up to 1, not {near_duplicate_threshold}."
        )
    benchmarks = Benchmarks(decontaminate, decontaminate_overlap)
    summary = Assembled(
        benchmarks=dict(benchmarks.questions), overlap=decontaminate_overlap if benchmarks.questions else None
    )
    with RowSpool(folder) as spool:
        room = _Room(spool, summary)
        for problem in not_asked:
            if match := benchmarks.find(problem.question):
                room.count(problem.id, match)
        room.take_in(candidates, benchmarks, shares, seed)
        room.drop_repeats(1.0 if near_duplicate_threshold is None else near_duplicate_threshold)
        room.cap(max_per_question)
        chosen = room.draw(shares)
        if not chosen:
            raise InputError(_nothing_left(summary))
        chosen.sort(key=lambda entry: (draw_of(seed, "order", entry.id), entry.id))
        write_dataset(folder, (spool.get(entry.offset, entry.size) for entry in chosen))
        with write_stage(folder, "assembly") as put:
            for entry in room.all:
                reason, detail = room.left_out.get(entry.id, (None, None))
                put(Line(entry.id, entry.problem_id, entry.order, reason is None, None, reason, detail))
    return summary


class _Room:
    """The candidates on their way through the checks. all: in canonical order; left_out: id -> reason and detail."""

    def __init__(self, spool: RowSpool, summary: Assembled):
        self.spool = spool
        self.summary = summary
        self.all: list[Entry] = []
        self.left_out: dict[str, tuple[str, str]] = {}

    @property
    def present(self) -> list[Entry]:
        return [entry for entry in self.all if entry.id not in self.left_out]

    def leave_out(self, entry: Entry, reason: str, detail: str) -> None:
        self.left_out[entry.id] = (reason, detail)
        self.summary.reasons[reason] = self.summary.reasons.get(reason, 0) + 1

    def take_in(self, candidates: Iterable[Candidate], benchmarks: Benchmarks, shares: Shares, seed: int) -> None:
        matches: dict[bytes, Match | None] = {}
        seen: set[str] = set()
        for candidate in candidates:
            if candidate.id in seen:
                raise InputError(f"The row id {candidate.id!r} comes twice; were the files of one shard merged twice?")
            seen.add(candidate.id)
            row = candidate.row
            question = _digest(" ".join(row["instruction"].lower().split()))
            cell = (row["strategy"], row.get("error_origin"))
            checked, fault = _checked(row)
            offset, size = self.spool.put(checked) if checked is not None else (0, 0)
            entry = Entry(
                *(candidate.id, candidate.problem_id, candidate.order, cell, question),
                *(draw_of(seed, "choice", candidate.id), offset, size),
            )
            self.all.append(entry)
            if fault is not None:
                self.leave_out(entry, *fault)
                continue
            if question not in matches:
                matches[question] = benchmarks.find(row["instruction"])
            if match := matches[question]:
                self.leave_out(entry, "contaminated", str(match))
            elif not shares.wants(cell):
                self.leave_out(entry, "not_wanted", f"the recipe gives {_name(entry)} no share")
        self.summary.entered = dict(Counter(_name(entry) for entry in self.all))
        self.all.sort(key=lambda entry: (entry.order, _natural(entry.id)))
        for entry in self.all:
            if match := matches.pop(entry.question, None):
                self.count(entry.problem_id, match)

    def count(self, problem_id: str, match: Match) -> None:
        """One question that stands in a benchmark."""
        kinds = self.summary.contaminated.setdefault(match.file, {"exact": 0, "overlap": 0})
        kinds[match.kind] += 1
        if len(self.summary.contaminated_examples) < 5:
            self.summary.contaminated_examples.append({"problem_id": problem_id, "detail": str(match)})

    def drop_repeats(self, threshold: float) -> None:
        groups: dict[bytes, list[Entry]] = defaultdict(list)
        for entry in self.present:
            groups[entry.question].append(entry)
        seen: dict[bytes, str] = {}
        for question, group in groups.items():
            fresh: list[tuple[Entry, str]] = []
            for entry in group:
                text = self.spool.get(entry.offset, entry.size)["output"]
                # Short right answers may well be the same for two questions; a whole trajectory is not by chance.
                scope = question if entry.cell[0] in EXTRAS else b""
                digest = scope + _digest(" ".join(words(text)))
                if (first := seen.setdefault(digest, entry.id)) != entry.id:
                    self.leave_out(entry, "duplicate", f"says the same as {first}")
                else:
                    fresh.append((entry, text))
            for (entry, _), earlier in zip(fresh, repeats([text for _, text in fresh], threshold), strict=True):
                if earlier is not None:
                    self.leave_out(entry, "near_duplicate", f"says nearly the same as {fresh[earlier][0].id}")

    def cap(self, most: int | Mapping[str, int] | None) -> None:
        if most is not None:
            entries = self.present
            kept = cap(entries, most)
            for entry in entries:
                if entry.id not in kept:
                    self.leave_out(entry, "question_cap", "its question has as many trajectories as it may")

    def draw(self, shares: Shares) -> list[Entry]:
        entries = self.present
        at_hand = Counter(shares.pool(entry.cell) for entry in entries)
        wanted = quotas(Counter(entry.cell for entry in entries), shares)
        chosen = choose(entries, wanted, shares)
        ids = {entry.id for entry in chosen}
        by_share = sum(n for (name, _), n in wanted.items() if not _on_top(name, shares))
        full = shares.rows is not None and by_share >= shares.rows
        for entry in entries:
            if entry.id not in ids:
                name = shares.pool(entry.cell)[0]
                if full or _on_top(name, shares):
                    self.leave_out(entry, "enough_rows", "as many rows as the recipe asks for are in the set")
                else:
                    self.leave_out(entry, "proportion", "another side of the proportion has too few rows")
        for pool in sorted(at_hand, key=str):
            strategy, origin = pool
            self.summary.pools.append(
                {"strategy": strategy, "origin": origin, "at_hand": at_hand[pool], "taken": wanted.get(pool, 0)}
            )
        self.summary.kept = dict(Counter(_name(entry) for entry in chosen))
        return chosen


def _on_top(name: str | None, shares: Shares) -> bool:
    """Whether rows of this strategy are asked for as a number rather than as a share."""
    wanted = {"reference": shares.references, "sample": shares.right_samples}.get(str(name))
    return wanted is not None and not isinstance(wanted, float)


def _checked(row: Mapping[str, Any]) -> tuple[dict[str, Any] | None, tuple[str, str] | None]:
    """The row as training reads it, or the reason why training would not take it."""
    try:
        trajectory = read_row(row)
    except RowError as error:
        return None, (error.reason, str(error))
    return {**asdict(trajectory), "input": ""}, None


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=12).digest()


def _name(entry: Entry) -> str:
    strategy, origin = entry.cell
    return f"{strategy}/{origin}" if origin else strategy


def _natural(row_id: str) -> list[tuple[str, int]]:
    """Sorts "q/s10" after "q/s2"."""
    return [(text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d{0,18})", row_id)]


def _nothing_left(summary: Assembled) -> str:
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(summary.reasons.items()))
    if "proportion" not in summary.reasons:
        return f"assembly: no row is left: {counts or 'no candidate came in'}; stages/*.jsonl hold the reasons."
    at_hand = ", ".join(
        f"{pool['at_hand']} {' '.join(filter(None, (pool['strategy'], pool['origin'])))}" for pool in summary.pools
    )
    return (
        f"assembly: no row is left, because a side of the proportions has none. At hand are {at_hand}; change "
        "strategies, origins, references or right_samples."
    )
