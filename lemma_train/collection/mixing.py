"""Which rows go into the set: caps per question, proportions between kinds of rows, and the draw.

Enters: light entries (no text) and plain shares. Leaves: the chosen entries, and why the others were left out. Every
draw comes from hashes of the row ids with the seed, so that the order in which rows arrive changes nothing.
"""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from lemma_train.collection.records import Origin, Strategy
from lemma_train.errors import InputError

EXTRAS = ("reference", "sample")
STRATEGIES: tuple[Strategy, ...] = ("fix_and_continue", "fresh_and_restart")
ORIGINS: tuple[Origin, ...] = ("student", "injected")

Cell = tuple[str, str | None]
"""A row's strategy and the origin of its error."""
Pool = tuple[str | None, str | None]
"""Cells that are drawn from together; None stands for any."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row without its text. draw: 64 random bits from id and seed. offset, size: where the text lies, in bytes."""

    id: str
    problem_id: str
    order: int
    cell: Cell
    question: bytes
    draw: int
    offset: int
    size: int


def draw_of(seed: int, purpose: str, row_id: str) -> int:
    """64 random bits that depend on nothing but these three."""
    text = f"{seed}\0{purpose}\0{row_id}".encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


@dataclass(frozen=True)
class Shares:
    """How the set is to be put together.

    rows: most trajectories and rows added as a share; None: all.
    strategies, origins: shares of the trajectories, which add up to 1; None: as they come.
    references, right_samples: a whole number is that many rows on top, or all that there are; a share, written with a
        point as in 0.2, is a part of the whole set.

    Raises:
        InputError: shares or counts make no sense; one line for each.
    """

    rows: int | None = None
    strategies: Mapping[str, float] | None = None
    origins: Mapping[str, float] | None = None
    references: float = 0
    right_samples: float = 0

    def __post_init__(self) -> None:
        faults = [
            *_faults_of("strategies", self.strategies, STRATEGIES),
            *_faults_of("origins", self.origins, ORIGINS),
        ]
        extras = {"references": self.references, "right_samples": self.right_samples}
        faults += [
            f"{key}: give a share from 0.0 to 1.0 or a number of rows, not {value!r}."
            for key, value in extras.items()
            if not _is_number(value) or value < 0 or (isinstance(value, float) and value > 1)
        ]
        if not faults and sum(share for share in extras.values() if isinstance(share, float)) > 1:
            faults = ["references, right_samples: together they are a share of more than 1.0; lower one."]
        if faults:
            raise InputError("\n".join(faults))

    def wants(self, cell: Cell) -> bool:
        """Whether any row of this cell can be in the set."""
        strategy, origin = cell
        if strategy in EXTRAS:
            return bool(self.references if strategy == "reference" else self.right_samples)
        by_strategy = self.strategies is None or self.strategies.get(strategy, 0) > 0
        return by_strategy and (self.origins is None or self.origins.get(str(origin), 0) > 0)

    def pool(self, cell: Cell) -> Pool:
        """The pool that a row is drawn from."""
        strategy, origin = cell
        if strategy in EXTRAS:
            return strategy, None
        return (strategy if self.strategies else None), (origin if self.origins else None)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _faults_of(key: str, shares: Mapping[str, float] | None, known: Sequence[str]) -> list[str]:
    if shares is None:
        return []
    asked = f"{key}: give the shares of {' and '.join(known)}, as in {{{known[0]}: 1.0}}"
    if not isinstance(shares, Mapping):
        return [f"{asked}."]
    if unknown := sorted(map(str, set(shares) - set(known))):
        return [f"{asked}; {', '.join(map(repr, unknown))} is none of them."]
    if not all(_is_number(share) and share >= 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        return [f"{key}: the shares must be numbers of at least 0 that add up to 1, not {dict(shares)!r}."]
    return []


def quotas(available: Mapping[Cell, int], shares: Shares) -> dict[Pool, int]:
    """How many rows to take from each pool: as many as the shares allow; where a side is short, the other is cut.

    Where strategies and origins both have shares, each of the two is met, and each strategy's rows split between the
    origins as evenly as the rows at hand allow. Shares hold to the nearest row. Without any row of a side nothing is
    taken at all.

    Example:
        >>> quotas({("fix_and_continue", "student"): 30, ("fresh_and_restart", "student"): 10},
        ...        Shares(strategies={"fix_and_continue": 0.5, "fresh_and_restart": 0.5}))
        {('fix_and_continue', None): 11, ('fresh_and_restart', None): 10}
    """
    extras = sum(share for share in (shares.references, shares.right_samples) if isinstance(share, float))
    for place, sides in enumerate((shares.strategies, shares.origins)):
        for side, share in (sides or {}).items():
            if extras < 1 and share and not any(count for cell, count in available.items() if cell[place] == side):
                return {}
    for name, share in (("reference", shares.references), ("sample", shares.right_samples)):
        if isinstance(share, float) and share and not available.get((name, None)):
            return {}
    for total in range(sum(available.values()), 0, -1):
        found = _split(total, available, shares)
        if found is not None:
            return {pool: count for pool, count in found.items() if count}
    return {}


def _split(total: int, available: Mapping[Cell, int], shares: Shares) -> dict[Pool, int] | None:
    """The rows of each pool in a set of `total` rows, or None where there are not enough."""
    found: dict[Pool, int] = {}
    on_top = 0
    for name, wanted in (("reference", shares.references), ("sample", shares.right_samples)):
        held = available.get((name, None), 0)
        count = _portion(wanted, total) if isinstance(wanted, float) else min(int(wanted), held, total)
        if count > held:
            return None
        found[name, None] = count
        on_top += count if not isinstance(wanted, float) else 0
    if shares.rows is not None and total - on_top > shares.rows:
        return None
    rest = total - sum(found.values())
    held_by_pool: Counter[Pool] = Counter()
    for cell, count in available.items():
        if cell[0] not in EXTRAS and shares.wants(cell):
            held_by_pool[shares.pool(cell)] += count
    wanted_by_pool = _trajectories(rest, held_by_pool, shares) if rest >= 0 else None
    if wanted_by_pool is None or any(count > held_by_pool[pool] for pool, count in wanted_by_pool.items()):
        return None
    return found | wanted_by_pool


def _trajectories(rest: int, held: Mapping[Pool, int], shares: Shares) -> dict[Pool, int] | None:
    fix = _portion((shares.strategies or {}).get(STRATEGIES[0], 0), rest)
    student = _portion((shares.origins or {}).get(ORIGINS[0], 0), rest)
    if shares.strategies is None or shares.origins is None:
        if shares.strategies is not None:
            return {(STRATEGIES[0], None): fix, (STRATEGIES[1], None): rest - fix}
        if shares.origins is not None:
            return {(None, ORIGINS[0]): student, (None, ORIGINS[1]): rest - student}
        return {(None, None): rest}
    # A table of two by two with given sums has one free number: that of the corrected student errors.
    fix_student, fix_injected, restart_student, restart_injected = (
        held.get(pool, 0) for pool in product(STRATEGIES, ORIGINS)
    )
    lowest = max(0, fix - fix_injected, student - restart_student, fix + student - rest)
    highest = min(fix_student, fix, student, restart_injected - rest + fix + student)
    if lowest > highest:
        return None
    both = min(max(_portion(fix * student, 1 / rest) if rest else 0, lowest), highest)
    counts = (both, fix - both, student - both, rest - fix - student + both)
    return dict(zip(product(STRATEGIES, ORIGINS), counts, strict=True))


def _portion(share: float, total: float) -> int:
    return math.floor(share * total + 0.5)


def cap(entries: Iterable[Entry], most: int | Mapping[str, int]) -> set[str]:
    """The ids of at most so many trajectories of each question, taken from its cells in turn; all other rows stay.

    most: one number for all questions, or a number for each problem id; a problem that it lacks has no limit.
    """
    by_question: dict[bytes, list[Entry]] = defaultdict(list)
    kept: set[str] = set()
    for entry in entries:
        if entry.cell[0] in EXTRAS:
            kept.add(entry.id)
        else:
            by_question[entry.question].append(entry)
    for held in by_question.values():
        ranks = _ranks(held, by_cell=True)
        limit = most if isinstance(most, int) else most.get(held[0].problem_id, len(held))
        kept.update(entry.id for entry in sorted(held, key=lambda entry: (ranks[entry.id], entry.draw))[:limit])
    return kept


def choose(entries: Iterable[Entry], wanted: Mapping[Pool, int], shares: Shares) -> list[Entry]:
    """Draw the wanted number from each pool, from every question once before any question twice."""
    pools: dict[Pool, list[Entry]] = defaultdict(list)
    for entry in entries:
        pools[shares.pool(entry.cell)].append(entry)
    taken: Counter[bytes] = Counter()
    chosen: list[Entry] = []
    # The pool with the least to spare comes first: the others can turn to the questions that it left.
    for pool in sorted(wanted, key=lambda pool: (len(pools[pool]) - wanted[pool], str(pool))):
        ranks = _ranks(pools[pool], by_cell=False)
        ordered = sorted(pools[pool], key=lambda entry: (taken[entry.question] + ranks[entry.id], entry.draw))
        drawn = ordered[: wanted[pool]]
        assert len(drawn) == wanted[pool], pool
        taken.update(entry.question for entry in drawn)
        chosen += drawn
    return chosen


def _ranks(entries: Iterable[Entry], by_cell: bool) -> dict[str, int]:
    """Each entry's place, by its draw, among those of its question (and cell)."""
    counts: Counter[tuple[bytes, Cell | None]] = Counter()
    ranks = {}
    for entry in sorted(entries, key=lambda entry: (entry.draw, entry.id)):
        group = (entry.question, entry.cell if by_cell else None)
        ranks[entry.id] = counts[group]
        counts[group] += 1
    return ranks
