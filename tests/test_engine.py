"""The engine of a stage: order, bounds, and what happens when an item fails."""

import asyncio
import random

import pytest

from lemma_train.collection.engine import Unfinished, run_items
from lemma_train.collection.stage_files import Line
from lemma_train.errors import InputError
from lemma_train.llm.protocol import Unanswered


def line(number):
    return Line(str(number), "p", number, True, None)


def run(items, work, window=8):
    lines = []
    asyncio.run(run_items(items, work, lines.append, window))
    return [int(entry.id) for entry in lines]


def test_lines_come_in_the_order_of_the_items_however_long_each_takes():
    wait = random.Random(0)

    async def work(number):
        await asyncio.sleep(wait.random() / 100)
        return line(number)

    assert run(range(200), work) == list(range(200))


def test_no_more_than_the_window_is_in_work_and_items_are_taken_lazily():
    running, most, taken = 0, 0, 0

    def items():
        nonlocal taken
        for number in range(100):
            taken += 1
            assert taken - len(done) <= 9
            yield number

    done = []

    async def work(number):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return line(number)

    asyncio.run(run_items(items(), work, done.append, 8))
    assert most == 8 and len(done) == 100


def test_the_first_item_is_not_held_up_by_the_others_beginnings():
    begun, at_the_first_end = [], []

    async def work(number):
        begun.append(number)
        await asyncio.sleep(0)  # as a request that is sent at once
        at_the_first_end.append(len(begun))
        return line(number)

    assert run(range(2000), work, window=1000) == list(range(2000))
    assert at_the_first_end[0] < 10


def test_an_item_without_an_answer_does_not_hold_up_the_others():
    async def work(number):
        if number in (3, 50):
            raise Unanswered(f"no answer for {number}")
        return line(number)

    lines = []
    with pytest.raises(Unfinished, match=r"2 requests got no answer; the last one: no answer for 50"):
        asyncio.run(run_items(range(60), work, lines.append, 8))
    assert len(lines) == 58


def test_after_a_failure_nothing_is_begun_and_what_is_in_flight_is_finished():
    begun, finished = [], []

    async def work(number):
        begun.append(number)
        if number == 5:
            raise InputError("the key is wrong")
        await asyncio.sleep(0.05)
        finished.append(number)
        return line(number)

    with pytest.raises(InputError, match="the key is wrong"):
        run(range(1000), work)
    assert len(begun) < 20 and sorted([*finished, 5]) == begun


def test_a_cancelled_stage_cancels_its_items():
    cancelled = []

    async def work(number):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(number)
            raise

    async def main():
        stage = asyncio.create_task(run_items(range(100), work, lambda _: None, 8))
        await asyncio.sleep(0.05)
        stage.cancel()
        await stage

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert len(cancelled) == 8
