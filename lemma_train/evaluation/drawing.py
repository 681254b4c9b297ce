"""The draw of some items out of many: the same for every benchmark and for the probe.

Enters: items with ids. Leaves: some of them, in their order. The same ids and seed give the same draw, whatever else is
in the file.
"""

import hashlib
from collections.abc import Sequence
from typing import Protocol, TypeVar


class Named(Protocol):
    """What can be drawn."""

    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=Named)


def drawn(items: Sequence[T], count: int | None, seed: int) -> list[T]:
    """`count` of the items in their order, drawn by their ids; all where it is None or there are not so many.

    Example:
        >>> len(drawn(load_benchmark("gsm8k"), count=100, seed=0))                       # doctest: +SKIP
        100
    """
    by_chance = sorted(items, key=lambda item: hashlib.sha256(f"{seed} {item.id}".encode()).digest())
    kept = {item.id for item in by_chance[:count]}
    return [item for item in items if item.id in kept]
