"""Working ahead in threads while staying in order: for streams of things that wait on a disk or a network."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

THREADS = 8


def map_in_order(
    function: Callable[[T], R], items: Iterable[T], *, threads: int = THREADS, ahead: int = THREADS
) -> Iterator[R]:
    """Yield the results for a stream of items, in its order. An item's exception is raised in its place.

    Args:
        function: called in threads.
        items: may be endless.
        threads: number of threads.
        ahead: number of items, that of the next result included, that are taken before a result is yielded.
    """
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="prefetch")
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) == ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
