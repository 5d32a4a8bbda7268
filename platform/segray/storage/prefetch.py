"""Working ahead in threads while staying in order: for streams of things that wait on a disk or a network."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_THREADS = 8


def map_in_order(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """The results for a stream of items, in its order; at most eight items are taken ahead of what was asked for."""
    with ThreadPoolExecutor(_THREADS) as threads:
        ahead: deque[Future[R]] = deque()
        for item in items:
            ahead.append(threads.submit(function, item))
            if len(ahead) == _THREADS:
                yield ahead.popleft().result()
        for one in ahead:
            yield one.result()
