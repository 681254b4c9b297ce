"""Tokens and money: sums, prices, and a budget that is never exceeded."""

import asyncio

import pytest

from lemma_train.collection.meter import BudgetSpent, Meter
from lemma_train.collection.settings import Prices

PRICES = {"student": Prices(input=1.0, output=2.0), "teacher": Prices(input=10.0, output=20.0, cached_input=5.0)}


def usage(prompt, completion, cached=0):
    return {"prompt_tokens": prompt, "completion_tokens": completion, "cached_tokens": cached}


def test_each_role_has_its_prices_and_cached_tokens_theirs():
    meter = Meter(PRICES, None)
    meter.count("sampling", usage(1_000_000, 500_000))
    assert meter.spent == 2.0
    meter.count("analysis", usage(1_000_000, 100_000, cached=600_000))
    assert meter.spent == pytest.approx(2.0 + 4.0 + 3.0 + 2.0)
    assert meter.usage["analysis"].replies == 1 and meter.usage["analysis"].cached_tokens == 600_000


def test_what_was_paid_stays_paid_when_prices_change():
    meter = Meter(PRICES, None)
    meter.count("analysis", {**usage(1_000_000, 0), "cost": 75.0})
    meter.count("analysis", {**usage(1_000_000, 0), "cost": 0.0})  # no price was known then
    assert meter.spent == 75.0 + 10.0
    for damaged in ("75", None, -1.0, float("nan"), True):
        with pytest.raises(TypeError):
            meter.count("analysis", {**usage(1, 1), "cost": damaged})


def test_without_a_price_for_cached_tokens_they_cost_as_others():
    assert Meter(PRICES, None).price("sampling", 1_000_000, 0, 400_000) == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_the_budget_is_never_exceeded_and_is_used_as_far_as_it_goes(seed):
    meter = Meter(PRICES, budget=1.0)
    refused = 0

    async def request(number):
        nonlocal refused
        try:
            async with meter.reserved("analysis", 1000, 1000):  # at most 0.03
                await asyncio.sleep(((number * 7 + seed) % 5) / 1000)
                meter.count("analysis", usage(1000, (number * 37) % 1000))
                assert meter.spent <= 1.0
        except BudgetSpent:
            refused += 1

    async def main():
        await asyncio.gather(*(request(number) for number in range(100)))

    asyncio.run(main())
    assert refused > 0
    assert 1.0 - 0.03 - 1e-9 <= meter.spent <= 1.0


def test_without_a_budget_nothing_waits():
    meter = Meter(PRICES, None)

    async def main():
        async with meter.reserved("analysis", 10**9, 10**9):
            pass

    asyncio.run(main())
