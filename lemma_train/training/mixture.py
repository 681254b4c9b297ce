"""Which rows are held out and how often each of the others is trained on; every draw comes from the seed.

Enters: the rows' questions, as hashes, and the weights of their sources. Leaves: a mask and indices. It sees no text
but the questions and moves no rows.
"""

import hashlib

import numpy as np

from lemma_train.errors import InputError


def question_hash(instruction: str, seed: int) -> int:
    """64 bits by which a question is drawn: hashed with the seed, so that their order is a random one.

    Example:
        >>> question_hash("What is 2 + 3?", seed=0) != question_hash("What is 2 + 3?", seed=1)
        True
    """
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{instruction}".encode(), digest_size=8).digest(), "big")


def held_out(questions: np.ndarray, fraction: float) -> np.ndarray:
    """Mark the rows of about `fraction` of the questions; all rows of one question stay on one side.

    Args:
        questions: `question_hash` of each row, shape (rows,).

    Returns:
        booleans of the same shape, True where a row is held out.

    Raises:
        InputError: no question would be held out, or all.

    Example:
        >>> held_out(np.array([7, 9, 7, 8]), 0.34)
        array([ True, False,  True, False])
    """
    if not fraction:
        return np.zeros(len(questions), dtype=bool)
    distinct = np.unique(questions)
    count = round(fraction * len(distinct))
    if not 0 < count < len(distinct):
        raise InputError(
            f"eval_fraction: {fraction:g} of {len(distinct)} questions leaves one side empty; give more rows or "
            "another fraction."
        )
    return np.isin(questions, distinct[:count])


def weighted_indices(origins: np.ndarray, left_out: np.ndarray, weights: list[float], seed: int) -> np.ndarray:
    """Indices of the training rows in file order; each source's rows taken `weight` times, fractions drawn.

    Args:
        origins: the source of each row by its index in `weights`, shape (rows,).
        left_out: as `held_out` gives it.

    Raises:
        InputError: the weights leave no row.

    Example:
        >>> weighted_indices(np.array([0, 0, 1]), np.array([False, True, False]), [2, 1], seed=0)
        array([0, 0, 2])
    """
    chosen = []
    for origin, weight in enumerate(weights):
        rows = np.flatnonzero((origins == origin) & ~left_out)
        whole, fraction = divmod(weight, 1)
        draw = np.random.default_rng([seed, origin]).permutation(len(rows))[: round(fraction * len(rows))]
        chosen.append(np.concatenate([np.tile(rows, int(whole)), rows[np.sort(draw)]]))
    indices = np.concatenate(chosen)
    if not len(indices):
        raise InputError("train_files: the weights leave no row to train on; raise them.")
    return indices
