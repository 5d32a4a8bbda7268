"""Random draws by name: every one in a training is keyed by what it is for, never by what happened before it.

A key is (seed, step, stream, slot, ...): the slot is an image's place in the global batch, which does not depend on the
number of workers. So any worker can draw for its images what one worker would have drawn for all, and a resumed run
needs only the step. Knows nothing of torch.
"""

import hashlib

import numpy as np


def key(*parts: int | str) -> int:
    """63 bits that stand for `parts`: equal parts, equal key, on any machine."""
    text = "\x1f".join(f"{type(part).__name__}{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def rng(*parts: int | str) -> np.random.Generator:
    """A NumPy generator of a key; `torch.Generator(device).manual_seed(key(...))` is the way in torch."""
    return np.random.default_rng(key(*parts))
