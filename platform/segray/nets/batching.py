"""Work in batches that shrink when memory runs out, instead of dying. Knows no model."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_CPU_REFUSAL = "DefaultCPUAllocator: can't allocate memory"
"""Text of torch's error on a CPU where CUDA raises torch.OutOfMemoryError."""


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether torch ran out of memory."""
    return isinstance(error, torch.OutOfMemoryError) or _CPU_REFUSAL in str(error)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Raise Python's MemoryError for torch's out-of-memory errors."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryError(str(error)) from error


class ShrinkingBatches:
    """Batches of at most `size` items; a size at which memory ran out is not tried again."""

    def __init__(self, size: int) -> None:
        self.size = size

    def map(self, total: int, work: Callable[[slice], Result]) -> list[Result]:
        """Return the results of `work` over consecutive slices of range(total).

        Raises:
            torch.OutOfMemoryError: not even one at a time fits (RuntimeError on a CPU).
        """
        results: list[Result] = []
        start = 0
        while start < total:
            part = slice(start, min(start + self.size, total))
            try:
                results.append(work(part))
            except RuntimeError as error:
                self._shrink(part.stop - start, error)
                continue
            start = part.stop
        return results

    def _shrink(self, tried: int, error: RuntimeError) -> None:
        if not is_out_of_memory(error) or tried == 1:
            raise error
        self.size = tried // 2
        log.warning("out of memory with %d prompts at once, retrying with %d", tried, self.size)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
