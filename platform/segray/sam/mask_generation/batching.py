"""Work in batches that shrink when memory runs out, instead of dying. Knows no model."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_CPU_REFUSAL = "DefaultCPUAllocator: can't allocate memory"
"""How torch says on a CPU what torch.OutOfMemoryError says on CUDA."""


def is_full(error: RuntimeError) -> bool:
    """Whether this is torch saying that memory ran out."""
    return isinstance(error, torch.OutOfMemoryError) or _CPU_REFUSAL in str(error)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Torch's ways of saying that memory ran out, as the one Python has."""
    try:
        yield
    except RuntimeError as error:
        if not is_full(error):
            raise
        raise MemoryError(str(error)) from error


class ShrinkingBatches:
    """Cuts work into batches of `size`; a size at which memory ran out is not tried again."""

    def __init__(self, size: int) -> None:
        self.size = size

    def map(self, total: int, work: Callable[[slice], Result]) -> list[Result]:
        """Results of `work` over consecutive slices of range(total).

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
        if not is_full(error) or tried == 1:
            raise error
        self.size = tried // 2
        log.warning("out of memory with %d prompts at once: going on with %d", tried, self.size)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
