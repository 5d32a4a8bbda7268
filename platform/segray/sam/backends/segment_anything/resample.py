"""Low-resolution mask logits to image size, exactly as segment-anything does it, in a fraction of the time.

The original interpolates twice, linearly: up to the model's square input, and, without its padding, to the image. Both
together are one matrix per axis with few entries in a row; here it is applied directly, so that the square in between
is never made. Knows no model.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Taps:
    """Resampling along an axis: output i is the sum of `weights[i] * input[index[i]]`; both (size, taps)."""

    index: Tensor
    weights: Tensor


@lru_cache(maxsize=64)
def padded_square(low: int, square: int, unpadded: int, size: int, device: torch.device) -> Taps:
    """From `low` cells over a square of `square` pixels, of which `unpadded` are image, to `size` pixels."""
    basis = torch.eye(low)[None]
    shown = F.interpolate(basis, size=square, mode="linear", align_corners=False)[..., :unpadded]
    matrix = F.interpolate(shown, size=size, mode="linear", align_corners=False)[0].T
    return _taps(matrix.to(device))


def resample(logits: Tensor, rows: Taps, columns: Taps) -> Tensor:
    """(N, h, w) to (N, H, W), laid out column by column in memory, as run lengths are."""
    return _weighed(_weighed(logits, rows).mT, columns).mT


def _weighed(lines: Tensor, taps: Taps) -> Tensor:
    """Of N stacks of lines (N, n, L), weighted sums of lines: (N, size, L)."""
    number, of_stack, length = lines.shape
    starts = torch.arange(number, device=lines.device)[:, None, None] * of_stack
    sums = F.embedding_bag(
        (taps.index + starts).flatten(0, 1),
        lines.reshape(number * of_stack, length),
        mode="sum",
        per_sample_weights=taps.weights.repeat(number, 1),
    )
    return sums.view(number, len(taps.index), length)


def _taps(matrix: Tensor) -> Taps:
    """The band of non-zero entries of each row of a matrix (size, low)."""
    cells = torch.arange(matrix.shape[1], device=matrix.device)
    inside = matrix != 0
    first = torch.where(inside, cells, matrix.shape[1]).amin(dim=1)
    last = torch.where(inside, cells, -1).amax(dim=1)
    count = int((last - first).max()) + 1
    index = first.clamp(max=matrix.shape[1] - count)[:, None] + torch.arange(count, device=matrix.device)
    return Taps(index, matrix.gather(1, index))
