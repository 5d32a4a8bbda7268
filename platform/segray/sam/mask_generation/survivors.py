"""From low-resolution logits to masks at rest: full size, stability, run lengths, a few masks at a time.

Knows what the filters of automatic mask generation ask of one mask. Does not know prompts, crops or suppression.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from segray.config.sam import MaskGeneration
from segray.masks import rle
from segray.masks.instances import Instances
from segray.sam.mask_generation.asking import Answers
from segray.sam.mask_generation.grids import Points
from segray.sam.protocol import Sam

_PIXELS_AT_ONCE_CPU = 2**19
"""Pixels of masks at full size that are worked on at once; a few bytes each stay in the cache of one core."""
_PIXELS_AT_ONCE_CUDA = 2**28


def survivors(
    sam: Sam, answers: Answers, points_xy: Points, size_hw: tuple[int, int], settings: MaskGeneration
) -> tuple[npt.NDArray[np.int64], Instances]:
    """The stable ones among the answers to points (P, 2) of one image or crop of that size: their rows, the masks."""
    counts: list[rle.Counts] = []
    rows = [np.zeros(0, dtype=np.int64)]
    stabilities = [np.zeros(0, dtype=np.float32)]
    for start, columns in _full_size(sam, answers.logits, size_hw):
        stability = stabilities_of(columns, sam.mask_threshold, settings.stability_score_offset)
        stable = is_stable(stability, settings.stability_score_thresh)
        inside = columns > sam.mask_threshold
        counts += rle.encode(inside[stable.to(columns.device)].mT.cpu().numpy())
        rows.append(np.flatnonzero(stable.numpy()) + start)
        stabilities.append(stability[stable].numpy())
    kept = np.concatenate(rows)
    return kept, Instances.from_rle(
        counts,
        size_hw,
        provenance=f"sam:{sam.name}",
        scores=answers.scores[kept],
        stabilities=np.concatenate(stabilities),
        points_xy=points_xy[answers.points[kept]],
    )


def is_stable(stability: Tensor, threshold: float) -> Tensor:
    """Which masks pass; 0 switches the filter off, and only then masks whose stability is NaN pass."""
    return stability >= threshold if threshold > 0 else torch.ones_like(stability, dtype=torch.bool)


def stabilities_of(logits: Tensor, threshold: float, offset: float) -> Tensor:
    """How little masks (N, a, b) change with the threshold, (N,) on the CPU: the IoU of a higher one and a lower one.

    NaN where both are empty.
    """
    return count_above(logits, threshold + offset) / count_above(logits, threshold - offset)


def count_above(logits: Tensor, threshold: float) -> Tensor:
    """Pixels above the threshold of each mask (N, a, b): (N,) int64 on the CPU."""
    if logits.device.type == "cpu":
        # numpy counts a boolean array several times faster than torch.
        return torch.tensor([np.count_nonzero(one > threshold) for one in logits.numpy()], dtype=torch.int64)
    return torch.count_nonzero(logits > threshold, dim=(1, 2)).cpu()


def _full_size(sam: Sam, logits: Tensor, size_hw: tuple[int, int]) -> Iterator[tuple[int, Tensor]]:
    """Chunks of masks at full size as (first row, logits (n, W, H)), column by column as run lengths are."""
    pixels = _PIXELS_AT_ONCE_CPU if logits.device.type == "cpu" else _PIXELS_AT_ONCE_CUDA
    step = max(1, pixels // (size_hw[0] * size_hw[1]))
    for start in range(0, len(logits), step):
        yield start, sam.upscale(logits[start : start + step], size_hw).mT.contiguous()
