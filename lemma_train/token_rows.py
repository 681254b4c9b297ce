"""Rows on their way from text to what the trainer sees: token ids, labels and loss weights.

Enters: texts, and what `template` decides about each token. Leaves: `Tokenized`, what the tokenizer found; `Encoded`,
one row in lists; and `EncodedRows`, many rows in flat arrays, which take a ninth of the lists' memory and go to Arrow
as they are. It decides about no token itself.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Tokenized:
    """What the tokenizer found in n prompts and n completions; offsets: the latter tell where each token stands."""

    prompts: "list[Encoding]"
    completions: "list[Encoding]"
    offsets: bool


def tokenize(
    tokenizer: "PreTrainedTokenizerBase", texts: list[str], special_stay_text: bool, offsets: bool = False
) -> "list[Encoding]":
    """Texts as they stand: no token added, none cut off, none for padding.

    It is what calling the tokenizer comes to, less its lists of each row's every property, which take Python longer to
    make than the rest of a row. The threads of the call need no interpreter; TOKENIZERS_PARALLELISM=false ends them.

    special_stay_text: what spells a special token is tokenised as any other text. offsets: each token's place is
    wanted, which takes longer; else only the ids may be read.
    """
    backend = tokenizer.backend_tokenizer
    if backend.truncation is not None:
        backend.no_truncation()
    if backend.padding is not None:
        backend.no_padding()
    if backend.encode_special_tokens != special_stay_text:
        backend.encode_special_tokens = special_stay_text
    encode = backend.encode_batch if offsets else backend.encode_batch_fast
    return encode(texts, add_special_tokens=False)


@dataclass(frozen=True)
class Encoded:
    """One row; the three lists have the same length.

    labels: the token id where the token is supervised, -100 elsewhere.
    loss_weights: the factor on each token's loss, or None where every supervised token counts 1.
    """

    input_ids: list[int]
    labels: list[int]
    loss_weights: list[float] | None = None


@dataclass(frozen=True)
class EncodedRows:
    """n rows end to end; row i lies at [starts[i], starts[i + 1]) of each array.

    input_ids, labels: int32, shape (tokens,). loss_weights: float64, shape (tokens,), or None. starts: int32, (n + 1,).
    """

    input_ids: np.ndarray
    labels: np.ndarray
    loss_weights: np.ndarray | None
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, int32, shape (n,)."""
        return np.diff(self.starts)

    def row(self, i: int) -> Encoded:
        """Row i in lists."""
        own = slice(self.starts[i], self.starts[i + 1])
        weights = None if self.loss_weights is None else self.loss_weights[own].tolist()
        return Encoded(self.input_ids[own].tolist(), self.labels[own].tolist(), weights)

    def only(self, kept: np.ndarray) -> "EncodedRows":
        """The rows that `kept`, of booleans, shape (n,), marks.

        Example:
            >>> rows = EncodedRows(np.array([5, 6, 7]), np.array([-100, 6, 7]), None, np.array([0, 2, 3]))
            >>> rows.only(np.array([False, True])).row(0)
            Encoded(input_ids=[7], labels=[7], loss_weights=None)
        """
        if kept.all():
            return self
        tokens = np.repeat(kept, self.lengths)
        starts = np.concatenate([[0], np.cumsum(self.lengths[kept])]).astype(self.starts.dtype)
        weights = None if self.loss_weights is None else self.loss_weights[tokens]
        return EncodedRows(self.input_ids[tokens], self.labels[tokens], weights, starts)
