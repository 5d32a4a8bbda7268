import pytest
import torch

from segray.nets.batching import ShrinkingBatches


@pytest.mark.parametrize(
    ("error", "retried"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("shapes do not match"), False),
    ],
)
def test_only_lack_of_memory_shrinks_batches(error: RuntimeError, retried: bool) -> None:
    batches, parts = ShrinkingBatches(4), []

    def work(part: slice) -> int:
        if part.stop - part.start > 2:
            raise error
        parts.append((part.start, part.stop))
        return part.start

    if not retried:
        with pytest.raises(RuntimeError, match="shapes"):
            batches.map(5, work)
        return
    assert batches.map(5, work) == [0, 2, 4]
    assert parts == [(0, 2), (2, 4), (4, 5)]
    assert batches.size == 2
