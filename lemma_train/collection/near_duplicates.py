"""Which solutions of one question say the same: word 5-grams and their Jaccard similarity.

Enters: texts that belong together, first come first. Leaves: for each the earlier text that it repeats. It reads no
files, and compares no texts of different questions.
"""

from collections.abc import Sequence

from lemma_train.collection.words import words

_SHINGLE_WORDS = 5


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    """All runs of five words of a text; a shorter text is one run."""
    found = words(text)
    if len(found) <= _SHINGLE_WORDS:
        return frozenset([tuple(found)])
    return frozenset(zip(*(found[start:] for start in range(_SHINGLE_WORDS)), strict=False))


def repeats(texts: Sequence[str], threshold: float) -> list[int | None]:
    """For each text the index of the first kept text that it is too similar to, or None where it is kept.

    A text that was not kept hides nothing: with A like B and B like C, but C unlike A, both A and C stay.

    Args:
        threshold: Jaccard similarity (shared runs over all runs of the two) in (0, 1] from which two texts are the
            same; 1 finds only texts that are equal but for case and punctuation.

    Example:
        >>> repeats(["It is 2 + 3 = 5.", "it is 2 + 3 = 5", "It is 9."], threshold=0.9)
        [None, 0, None]
    """
    assert 0 < threshold <= 1, threshold
    kept: list[tuple[int, frozenset[tuple[str, ...]]]] = []
    found: list[int | None] = []
    for index, text in enumerate(texts):
        mine = shingles(text)
        earlier = next((number for number, other in kept if _similar(mine, other, threshold)), None)
        found.append(earlier)
        if earlier is None:
            kept.append((index, mine))
    return found


def _similar(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]], threshold: float) -> bool:
    small, large = sorted((len(one), len(other)))
    if small < threshold * large:  # not even if the smaller lay wholly in the larger
        return False
    shared = len(one & other)
    return shared >= threshold * (len(one) + len(other) - shared)
