"""Batches: as full as the bounds allow, in order, one at a time."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from segray.serving.batching import BatchBounds, Batcher


class Device:
    """Work that waits until it is released, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.began, self.free = Event(), Event()

    def __call__(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        self.began.set()
        assert self.free.wait(10)
        return [-item for item in items]


def run(given: list[int], *, held: int = 1, **bounds) -> tuple[list[list[int]], list[int]]:
    """Batches and results where the first `held` items are at work when the others come; an item is its own size."""

    async def all_of_them() -> list[int]:
        device, limits = Device(), {"items": 8, "size": 1e9, "wait_s": 0.0} | bounds
        with ThreadPoolExecutor(1) as pool:
            batches = Batcher[int, int](device, BatchBounds(**limits), float, pool)
            first = [asyncio.create_task(batches(item)) for item in given[:held]]
            if first:
                await asyncio.to_thread(device.began.wait, 10)
            rest = [asyncio.create_task(batches(item)) for item in given[held:]]
            await asyncio.sleep(0)
            device.free.set()
            results = await asyncio.gather(*first, *rest)
        seen.extend(device.batches)
        return results

    seen: list[list[int]] = []
    return seen, asyncio.run(all_of_them())


@pytest.mark.parametrize(
    ("items", "bounds", "batches"),
    [
        ([1, 2, 3, 4], {}, [[1], [2, 3, 4]]),
        ([1, 2, 3, 4, 5, 6], {"items": 2}, [[1], [2, 3], [4, 5], [6]]),
        ([1, 2, 3, 4, 5], {"size": 6}, [[1], [2, 3], [4], [5]]),
        ([1, 2, 9, 3, 4], {"size": 8}, [[1], [2], [9], [3, 4]]),
    ],
    ids=["what comes meanwhile", "most items", "most size", "a large one alone, and none before it"],
)
def test_a_batch_is_what_waits_up_to_its_bounds(items, bounds, batches):
    seen, results = run(items, **bounds)
    assert seen == batches
    assert results == [-item for item in items]


def test_the_first_waits_for_others_until_the_batch_is_full():
    seen, _ = run([1, 2, 3], held=0, items=3, wait_s=60.0)
    assert seen == [[1, 2, 3]]


def test_the_first_waits_no_longer_than_it_has_to():
    seen, _ = run([1, 2], held=0, items=3, wait_s=0.05)
    assert seen == [[1, 2]]


def test_what_fails_fails_for_its_batch_and_no_other():
    def work(items: list[int]) -> list[int]:
        if 0 in items:
            raise ZeroDivisionError
        return items

    async def both() -> list[object]:
        with ThreadPoolExecutor(1) as pool:
            batches = Batcher[int, int](work, BatchBounds(items=2, size=9, wait_s=60), float, pool)
            return await asyncio.gather(*map(batches, (0, 1, 2, 3)), return_exceptions=True)

    first, second, *others = asyncio.run(both())
    assert isinstance(first, ZeroDivisionError)
    assert isinstance(second, ZeroDivisionError)
    assert others == [2, 3]


def test_an_item_whose_caller_has_gone_is_not_worked_on():
    async def one_goes() -> list[list[int]]:
        device = Device()
        with ThreadPoolExecutor(1) as pool:
            batches = Batcher[int, int](device, BatchBounds(items=8, size=99, wait_s=0), float, pool)
            first = asyncio.create_task(batches(1))
            await asyncio.to_thread(device.began.wait, 10)
            gone, stays = asyncio.create_task(batches(2)), asyncio.create_task(batches(3))
            await asyncio.sleep(0)
            gone.cancel()
            await asyncio.sleep(0)
            device.free.set()
            await asyncio.gather(first, stays)
        return device.batches

    assert asyncio.run(one_goes()) == [[1], [3]]
