"""Shards: one collection, spread over machines or the jobs of an array, and put together again.

Enters: `i/n`. Leaves: which questions belong to shard i, and where its files lie. Question number k belongs to shard
k mod n, so that every shard has its part of each data set.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from lemma_train.errors import InputError


@dataclass(frozen=True)
class Shard:
    """Shard `number` of `count`, numbered from 0, of the collection in `whole`."""

    number: int
    count: int
    whole: Path

    @property
    def folder(self) -> Path:
        return self.whole / "shards" / f"{self.number}-of-{self.count}"

    def holds(self, order: int) -> bool:
        return order % self.count == self.number

    def all(self) -> list["Shard"]:
        return [Shard(number, self.count, self.whole) for number in range(self.count)]


def read_shard(text: str, whole: Path) -> Shard:
    """Parse `i/n`.

    Raises:
        InputError: it is not of this form, or i is not below n.

    Example:
        >>> read_shard("0/4", Path("outputs/gsm8k")).folder
        PosixPath('outputs/gsm8k/shards/0-of-4')
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not found or not int(found[1]) < int(found[2]):
        raise InputError(f"--shard: {text!r} must be i/n with i from 0 to n-1, such as 0/4.")
    return Shard(int(found[1]), int(found[2]), whole)


def shards_in(whole: Path) -> list[Shard]:
    """The shards that this collection was spread over; none where it was not.

    Raises:
        InputError: shards of different counts lie side by side, or a folder that is none.
    """
    found = sorted((whole / "shards").glob("*-of-*"))
    named = [re.fullmatch(r"(\d{1,6})-of-([1-9]\d{0,5})", folder.name) for folder in found]
    if strange := [folder.name for folder, name in zip(found, named, strict=True) if name is None]:
        raise InputError(f"output_dir: {whole}/shards/{strange[0]} is no shard's folder; remove it.")
    counts = {int(name[2]) for name in named if name}
    if len(counts) > 1:
        raise InputError(
            f"output_dir: {whole}/shards holds shards of {' and of '.join(map(str, sorted(counts)))}; remove those "
            "that do not belong to this collection."
        )
    return Shard(0, counts.pop(), whole).all() if counts else []
