"""Money: tokens and cost by stage, over every start of a collection, and a budget that is never exceeded.

Enters: the usage of each reply, whether it came now or stands in the journal. Leaves: sums; and permission for the next
request, which is held back while the requests in flight could still use up the budget.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from lemma_train.collection.settings import Prices
from lemma_train.errors import Stopped

ROLES = {"sampling": "student"}  # every other task is the teacher's


class BudgetSpent(Stopped):
    """The next request could exceed the budget. What was paid for is kept."""


@dataclass
class Usage:
    """Sums over the replies of one task."""

    replies: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0


class Meter:
    """Counts usage by task.

    Args:
        prices: of each role, `student` and `teacher`.
        budget: most money in all, or None. shards: how many share it; this meter has an equal part.

    Example:
        >>> meter = Meter({"student": Prices(), "teacher": Prices(input=2.5, output=10.0)}, budget=None)
        >>> meter.count("analysis", {"prompt_tokens": 1_000_000, "completion_tokens": 100_000, "cached_tokens": 0})
        >>> meter.spent
        3.5
    """

    def __init__(self, prices: Mapping[str, Prices], budget: float | None, shards: int = 1) -> None:
        self.usage: dict[str, Usage] = {}
        self.spent = 0.0
        self._prices = prices
        self._budget = None if budget is None else budget / shards
        self._share = "" if shards == 1 or budget is None else f", this shard's part of {budget:g},"
        self._reserved = 0.0
        self._released: asyncio.Condition | None = None

    def count(self, task: str, reply: Mapping[str, Any]) -> None:
        """Add one reply, with its prompt_tokens, completion_tokens and cached_tokens, and the cost that was noted."""
        if not isinstance(task, str):
            raise TypeError(f"a task is text, not {task!r}")
        usage = self.usage.setdefault(task, Usage())
        # Where no price was known yet, or an older version noted none, today's count.
        noted, sizes = reply.get("cost", 0), ("prompt_tokens", "completion_tokens", "cached_tokens")
        if type(noted) not in (int, float) or not 0 <= noted < math.inf:
            raise TypeError(f"a cost is a number, not {noted!r}")
        cost = noted or self.price(task, *(reply[key] for key in sizes))
        usage.replies += 1
        usage.prompt_tokens += reply["prompt_tokens"]
        usage.cached_tokens += reply["cached_tokens"]
        usage.completion_tokens += reply["completion_tokens"]
        usage.cost += cost
        self.spent += cost

    def price(self, task: str, prompt_tokens: float, completion_tokens: float, cached_tokens: float = 0) -> float:
        """What a request of this size costs, in the recipe's currency."""
        prices = self._prices[ROLES.get(task, "teacher")]
        cached = prices.input if prices.cached_input is None else prices.cached_input
        fresh = prompt_tokens - cached_tokens
        return (fresh * prices.input + cached_tokens * cached + completion_tokens * prices.output) / 1e6

    @asynccontextmanager
    async def reserved(self, task: str, prompt_tokens: int, max_tokens: int) -> AsyncIterator[None]:
        """Hold the most that a request can cost while it is in flight; waits where others may use up the rest.

        Raises:
            BudgetSpent: nothing else is in flight and the budget still does not reach.
        """
        if self._budget is None:
            yield
            return
        most = self.price(task, prompt_tokens, max_tokens)
        if self._released is None:
            self._released = asyncio.Condition()
        async with self._released:
            while self.spent + self._reserved + most > self._budget:
                if not self._reserved:
                    raise BudgetSpent(
                        f"{self.spent:.2f} of the budget of {self._budget:g}{self._share} is spent and the next "
                        f"request may cost {most:.4f}; raise the key budget to go on."
                    )
                await self._released.wait()
            self._reserved += most
        try:
            yield
        finally:
            # Not awaited under the condition's lock: a cancelled task must release as well.
            self._reserved = max(0.0, self._reserved - most) if self._reserved - most > 1e-12 else 0.0
            async with self._released:
                self._released.notify_all()
