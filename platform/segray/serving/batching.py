"""Items of many callers, given to one function in batches: as many as fit when the function is free, first come first.

Ray Serve's own batching closes a batch while the one before still runs, and puts an item that does not fit behind all
others. This closes a batch only when it can be worked on, and keeps the order. Knows nothing of Ray or models.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class BatchBounds:
    """A batch ends at whichever comes first; an item larger than `size` goes alone."""

    items: int
    size: float
    wait_s: float
    """How long the first item of a batch waits for others, counted from when it came."""


@dataclass(eq=False)
class _Waiting(Generic[Item, Result]):
    item: Item
    size: float
    came: float
    answer: "asyncio.Future[Result]" = field(repr=False)


class Batcher(Generic[Item, Result]):
    """Calls `work` with one batch at a time, in `executor`. Belongs to the event loop that calls it first."""

    def __init__(
        self,
        work: Callable[[list[Item]], list[Result]],
        bounds: BatchBounds,
        size: Callable[[Item], float],
        executor: Executor,
    ) -> None:
        self._work = work
        self._bounds = bounds
        self._size = size
        self._executor = executor
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._changed = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Result:
        """The result for this item. What `work` raises, every caller of its batch gets."""
        loop = asyncio.get_running_loop()
        if self._loop is None or self._loop.done():
            self._loop = loop.create_task(self._run())
        waiting = _Waiting[Item, Result](item, self._size(item), loop.time(), loop.create_future())
        self._waiting.append(waiting)
        self._changed.set()
        return await waiting.answer

    async def _run(self) -> None:
        """Batch after batch, for as long as the loop lives."""
        while True:
            while not self._waiting:
                self._changed.clear()
                await self._changed.wait()
            await self._fill()
            if batch := self._take():
                await self._answer(batch)

    async def _fill(self) -> None:
        """Wait until a batch is full or its first item has waited long enough."""
        due = self._waiting[0].came + self._bounds.wait_s
        while not self._is_full():
            left = due - asyncio.get_running_loop().time()
            if left <= 0:
                return
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                return

    def _is_full(self) -> bool:
        return len(self._waiting) >= self._bounds.items or sum(one.size for one in self._waiting) >= self._bounds.size

    def _take(self) -> list[_Waiting[Item, Result]]:
        """The next batch, without those whose callers have gone."""
        batch: list[_Waiting[Item, Result]] = []
        size = 0.0
        while self._waiting and len(batch) < self._bounds.items:
            if self._waiting[0].answer.done():
                self._waiting.popleft()
                continue
            size += self._waiting[0].size
            if batch and size > self._bounds.size:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _answer(self, batch: list[_Waiting[Item, Result]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self._executor, self._work, [one.item for one in batch])
        except Exception as error:  # handed to the callers, who are waiting for it
            for one in batch:
                if not one.answer.done():
                    one.answer.set_exception(error)
            return
        for one, result in zip(batch, results, strict=True):
            if not one.answer.done():
                one.answer.set_result(result)
