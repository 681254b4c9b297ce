"""Decoding of one batch: each row draws for itself, stops for itself and leaves the batch when it is done.

Enters: a causal language model and rows of token ids. Leaves: the ids that each row was continued with. It tokenises
nothing, and knows neither requests nor memory limits.

A row draws by the Gumbel-max trick: the token with the largest `log p + noise` is a draw from p, and the noise comes
from a generator that is the row's own. So what a row becomes does not hang on which rows stand beside it, apart from
the last bits of floating-point sums.
"""

import hashlib
import inspect
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import DynamicCache

from lemma_train.llm.protocol import Unanswered


@dataclass
class Row:
    """One prompt to continue.

    prompt_ids: at least one. temperature: 0 takes the likeliest token. seed: with the prompt it settles every draw.
    is_over: looks at the ids so far and says whether a stop text stands in them.
    ids: what was drawn, an end token included.
    """

    prompt_ids: tuple[int, ...]
    max_tokens: int
    temperature: float
    top_p: float
    seed: int
    is_over: Callable[[list[int]], bool]
    ids: list[int] = field(default_factory=list)

    def generator(self, device: torch.device) -> torch.Generator:
        # The prompt is part of the seed: two questions asked with one seed must not share their luck.
        digest = hashlib.sha256(f"{self.seed} {self.prompt_ids}".encode()).digest()
        return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def decode(model: Any, rows: list[Row], end_ids: Collection[int], interrupted: threading.Event) -> None:
    """Continue all rows at once, until an end token, a stop text or the row's limit; fills `Row.ids`.

    Args:
        model: a causal language model of transformers, on its device and in evaluation mode.
        end_ids: tokens after which a row is done.
        interrupted: looked at after every token.

    Raises:
        Unanswered: it was interrupted. torch.OutOfMemoryError: the batch is too large.
    """
    device = model.device
    width = max(len(row.prompt_ids) for row in rows)
    input_ids = torch.tensor([[0] * (width - len(row.prompt_ids)) + list(row.prompt_ids) for row in rows])
    mask = torch.tensor([[0] * (width - len(row.prompt_ids)) + [1] * len(row.prompt_ids) for row in rows])
    input_ids, mask = input_ids.to(device), mask.to(device)
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    last_only = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
    active = rows
    generators = [row.generator(device) for row in rows]
    while True:
        output = model(
            input_ids=input_ids,
            attention_mask=mask,
            position_ids=positions,
            cache=cache,
            use_cache=True,
            **last_only,
        )
        drawn = draw(output.logits[:, -1].float(), active, generators)
        kept = []
        for place, (row, token) in enumerate(zip(active, drawn.tolist(), strict=True)):
            row.ids.append(token)
            if token not in end_ids and len(row.ids) < row.max_tokens and not row.is_over(row.ids):
                kept.append(place)
        if not kept:
            return
        if interrupted.is_set():
            raise Unanswered("the model was closed before it had answered")
        if len(kept) < len(active):
            places = torch.tensor(kept, device=device)
            cache.batch_select_indices(places)
            mask, positions, drawn = mask[places], positions[places], drawn[places]
            active, generators = [active[i] for i in kept], [generators[i] for i in kept]
        input_ids = drawn[:, None]
        mask = torch.cat([mask, mask.new_ones(len(active), 1)], dim=1)
        positions = positions[:, -1:] + 1


def draw(logits: torch.Tensor, rows: list[Row], generators: list[torch.Generator]) -> torch.Tensor:
    """One token a row.

    Args:
        logits: `[rows, vocabulary]`, float32.
        generators: one a row, on the device of the logits; advanced by one draw where the temperature is above 0.

    Returns:
        `[rows]` token ids.
    """
    likeliest = logits.argmax(dim=-1)
    sampled = [row.temperature > 0 for row in rows]
    if not any(sampled):
        return likeliest
    temperatures = torch.tensor([row.temperature or 1.0 for row in rows], device=logits.device)
    scores = logits / temperatures[:, None]
    if any(row.top_p < 1 for row in rows):
        scores = _nucleus(scores, torch.tensor([row.top_p for row in rows], device=logits.device))
    # Minus the logarithm of an exponential variate is Gumbel noise; so log p + noise is largest where p / variate is.
    variates = torch.ones_like(scores)
    for place, generator in enumerate(generators):
        if sampled[place]:
            variates[place].exponential_(generator=generator)
    races = scores.softmax(dim=-1).div_(variates.clamp_(min=1e-30))
    return torch.where(torch.tensor(sampled, device=logits.device), races.argmax(dim=-1), likeliest)


def _nucleus(scores: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """Leave out the tokens after the smallest set, likeliest first, that holds at least `top_p` of the probability."""
    ordered, order = scores.sort(dim=-1, descending=True, stable=True)
    shares = ordered.softmax(dim=-1)
    before = shares.cumsum(dim=-1) - shares
    out = (before >= top_p[:, None]) & (top_p < 1)[:, None]
    out[:, 0] = False
    return scores.masked_fill(out.scatter(-1, order, out), float("-inf"))
