"""How much of each cell of a coarse grid a mask covers: masks against feature maps, from run lengths alone.

A grid of h x w cells spans the whole image, whatever its sides: cells need be neither square nor whole pixels.
"""

import numpy as np
import numpy.typing as npt

from segray.masks import rle
from segray.masks.instances import Instances

Floats = npt.NDArray[np.float32]


def cell_coverage(instances: Instances, grid_hw: tuple[int, int]) -> Floats:
    """The share of each cell that lies in each mask (N, h, w), by area: exact, no mask is decoded."""
    (height, width), (rows, columns) = instances.size_hw, grid_hw
    across = _areas(np.arange(width), np.arange(1, width + 1), columns, width)
    shares = np.zeros((len(instances), rows, columns), dtype=np.float32)
    for share, counts in zip(shares, instances.counts, strict=True):
        starts, ends = rle.column_segments(rle.to_runs(counts), height)
        first = starts % height
        down = _areas(first, first + (ends - starts), rows, height)
        share[:] = down.T @ across[starts // height]
    return shares


def interpolation_weights(counts: rle.Counts, size_hw: tuple[int, int], grid_hw: tuple[int, int]) -> Floats:
    """The weights (h, w), summing to 1, by which a mask's mean of a bilinearly up-sampled map is made of its cells.

    For masks so small that the cells they lie in are mostly something else.
    """
    inside = rle.decode([counts], size_hw)[0].astype(np.float32)
    down, across = (_bilinear(side, cells) for side, cells in zip(size_hw, grid_hw, strict=True))
    weights = down.T @ inside @ across
    return np.asarray(weights / max(weights.sum(), 1e-9), dtype=np.float32)


def _areas(
    starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], cells: int, side: int
) -> npt.NDArray[np.float32]:
    """How much of each cell of a side each stretch [start, end) of pixels covers: (S, cells)."""
    lower, upper = (edge[:, None] * (cells / side) - np.arange(cells) for edge in (starts, ends))
    return np.asarray(np.clip(upper, 0, 1) - np.clip(lower, 0, 1), dtype=np.float32)


def _bilinear(side: int, cells: int) -> npt.NDArray[np.float32]:
    """The matrix (side, cells) of linear interpolation between the centres of cells, the first and last held."""
    place = np.clip((np.arange(side) + 0.5) * cells / side - 0.5, 0, cells - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(place[:, None] - np.arange(cells))), dtype=np.float32)
