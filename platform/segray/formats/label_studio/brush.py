"""Label Studio's brush masks: the bit-packed run lengths of its `rle` lists, to and from COCO counts.

Written from the documented layout (the rle-pack format): 32 bits number of values, 5 bits word size - 1, four times
4 bits of run-size widths - 1; then chunks of 1 bit "repeated", 2 bits index of the width, width bits length - 1, and
one word if repeated, else length words. The values are an image's R, G, B, A bytes, row by row; A > 0 is inside.
Knows nothing of tasks or results.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from segray.masks import rle

_WIDTHS = np.array([3, 4, 8, 16])
_WORD = 8
_CHANNELS = 4
_LONGEST = 1 << 16


def encode(counts: rle.Counts, size_hw: tuple[int, int]) -> list[int]:
    """One mask as Label Studio's list of bytes: 255 in all four channels inside, 0 outside."""
    flat = rle.decode([counts], size_hw)[0].reshape(-1)
    edges = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
    lengths, inside = _split(np.diff(edges) * _CHANNELS, flat[edges[:-1]])
    width_index = np.searchsorted(1 << _WIDTHS, lengths)
    widths = _WIDTHS[width_index]
    codes = (((0b100 | width_index) << widths | (lengths - 1)) << _WORD) | np.where(inside, 255, 0)
    header = [(flat.size * _CHANNELS, 32), (_WORD - 1, 5), *((int(width) - 1, 4) for width in _WIDTHS)]
    values = np.concatenate([[value for value, _ in header], codes])
    bits = np.concatenate([[size for _, size in header], widths + 3 + _WORD])
    return [int(byte) for byte in np.packbits(_bits(values, bits))]


def decode(brush: Sequence[int], size_hw: tuple[int, int]) -> rle.Counts:
    """One mask from Label Studio's list of bytes.

    Raises:
        ValueError: cut short, not of this size, or not in this format at all.
    """
    data = np.asarray(brush)
    if data.ndim != 1 or data.dtype.kind not in "iu" or (data.size and (data.min() < 0 or data.max() > 255)):
        raise ValueError(f"a brush mask is a list of bytes, got {str(brush)[:60]}")
    reader = _Reader(data.astype(np.uint8).tobytes())
    number, word = reader.take(32), reader.take(5) + 1
    widths = [reader.take(4) + 1 for _ in range(4)]
    expected = size_hw[0] * size_hw[1] * _CHANNELS
    if number != expected or word != _WORD:
        raise ValueError(
            f"a brush mask of {number} words of {word} bits, an image of size {size_hw} has {expected} of 8"
        )
    values = np.empty(number, dtype=np.uint8)
    at = 0
    while at < number:
        repeated = reader.take(1)
        end = at + 1 + reader.take(widths[reader.take(2)])
        if end > number:
            raise ValueError(f"a brush mask's run ends at value {end} of {number}")
        values[at:end] = reader.take(word) if repeated else reader.take_bytes(end - at)
        at = end
    return rle.encode(values[_CHANNELS - 1 :: _CHANNELS].reshape(1, *size_hw) > 0)[0]


def _split(
    lengths: npt.NDArray[np.int64], inside: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Runs longer than a chunk can say, cut into several."""
    parts = -(-lengths // _LONGEST)
    pieces = np.full(int(parts.sum()), _LONGEST, dtype=np.int64)
    pieces[np.cumsum(parts) - 1] = lengths - (parts - 1) * _LONGEST
    return pieces, np.repeat(inside, parts)


def _bits(values: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Each value in as many bits as its size says, highest first, end to end."""
    ends = np.cumsum(sizes)
    owner = np.repeat(np.arange(len(values)), sizes)
    place = ends[owner] - 1 - np.arange(int(ends[-1]))
    return ((values[owner] >> place) & 1).astype(np.uint8)


class _Reader:
    """Bits of a byte string, highest first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> int:
        """The next `size` bits, at most 32, as a number."""
        first, end = self._at >> 3, self._at + size
        self._claim(end)
        window = int.from_bytes(self._data[first : first + 5].ljust(5, b"\0"), "big")
        return window >> (40 - (end - 8 * first)) & ((1 << size) - 1)

    def take_bytes(self, number: int) -> npt.NDArray[np.uint8]:
        """The next `number` words of 8 bits, from any bit on."""
        first, shift = self._at >> 3, self._at & 7
        self._claim(self._at + 8 * number)
        span = np.frombuffer(self._data[first : first + number + 1].ljust(number + 1, b"\0"), dtype=np.uint8)
        pairs = (span[:-1].astype(np.uint16) << 8) | span[1:]
        return ((pairs >> (8 - shift)) & 0xFF).astype(np.uint8)

    def _claim(self, end: int) -> None:
        if end > 8 * len(self._data):
            raise ValueError(f"a brush mask is cut short: bit {end} of {8 * len(self._data)}")
        self._at = end
