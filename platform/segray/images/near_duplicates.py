"""Which images look alike: 64-bit perceptual hashes, compared by the number of bits in which they differ.

The hash is of the kind known as pHash: signs of the lowest 8 x 8 cosine frequencies of the grey image at 32 x 32,
against their median. It stands resizing, recompression and slight changes of brightness; not cropping or mirroring.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.fft import dctn

from segray.images import decoding
from segray.storage.prefetch import map_in_order

Hashes = npt.NDArray[np.uint64]

_SIDE = 32
_KEPT = 8
_BLOCK = 1 << 24
"""Comparisons held in memory at once."""


def hashes(uris: Sequence[str]) -> Hashes:
    """Perceptual hashes of images, (N,).

    Raises:
        ImageError: one that cannot be read.
    """
    found = map_in_order(lambda uri: perceptual_hash(decoding.load(uri, decoding.MOST_PIXELS)[0]), uris)
    return np.fromiter(found, dtype=np.uint64, count=len(uris))


def perceptual_hash(pixels: decoding.Pixels) -> int:
    """The hash of an image (H, W, 3)."""
    grey = Image.fromarray(pixels).convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    low = dctn(np.asarray(grey, dtype=np.float64))[:_KEPT, :_KEPT]
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes())


def similar_pairs(found: Hashes, most_bits: int) -> npt.NDArray[np.int64]:
    """Pairs (P, 2) of indices, the smaller first, whose hashes differ in `most_bits` bits at most."""
    rows = max(1, _BLOCK // max(1, len(found)))
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    for start in range(0, len(found), rows):
        block = found[start : start + rows, None] ^ found[None, start:]
        near = np.argwhere(np.bitwise_count(block) <= most_bits) + start
        pairs.append(near[near[:, 0] < near[:, 1]])
    return np.concatenate(pairs)
