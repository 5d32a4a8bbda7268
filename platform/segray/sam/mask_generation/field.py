"""What is known of a crop while its points are asked: the masks so far, and where asking on is worth it.

A mask that several points in a row asked inside of it told nothing new about is exhausted: its other points are left
out. The larger a mask, the more may lie on it, the more points it gets. Places without any mask are always asked.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from segray.sam.mask_generation.grids import Points

THUMBNAIL: Final = 128
"""Pixels of the longer side at which masks are compared."""
SAME: Final = 0.8
"""IoU of thumbnails from which two masks are one."""
STRIDES: Final = (4, 2, 1)
"""The grid points of each level: every fourth of a row and column, every second, all."""
PATIENCE: Final = 2.0
"""Points without news until a mask is exhausted, times the square root of the number of grid points inside it."""
NOBODY: Final = 0
"""Stands for the mask at places without one."""

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


class Field:
    """One crop's points still to be asked, and thumbnails of the masks found."""

    def __init__(self, points_xy: Points, size_hw: tuple[int, int]) -> None:
        self.points_xy = points_xy
        scale = THUMBNAIL / max(size_hw)
        height, width = (max(1, round(side * scale)) for side in size_hw)
        self.thumbnail_hw = (height, width)
        self._x, self._y = (points_xy * [width / size_hw[1], height / size_hw[0]]).astype(np.int64).T
        self._levels = levels_of(len(points_xy))
        # Neighbours would be asked together, before the first answer could spare the second.
        self._pending = np.random.default_rng(0).permutation(len(points_xy))
        self._masks = np.zeros((1, height, width), dtype=np.bool_)
        self._patience = np.full(1, np.inf)
        self._smallest = np.full((height, width), NOBODY)
        self._smallest_area = np.full((height, width), np.inf)

    def take(self, level: int, at_most: int) -> Ints:
        """Points of this level that are worth asking; none is given twice, and those not worth it are dropped."""
        due = self._levels[self._pending] == level
        worth = due & (self._patience[self._owners(self._pending)] > 0)
        chosen = np.flatnonzero(worth)[:at_most]
        seen = np.arange(len(self._pending)) <= (chosen[-1] if len(chosen) else len(self._pending))
        taken: Ints = self._pending[chosen]
        self._pending = self._pending[~(due & seen)]
        return taken

    def learn(self, asked: Ints, points: Ints, thumbnails: Bools) -> None:
        """Take note of points asked and of the masks (N, *thumbnail_hw) that came back, answers to `points` (N,)."""
        owners = self._owners(asked)
        told: set[int] = set()
        for point, thumbnail in zip(points.tolist(), thumbnails, strict=True):
            if not self._knows(point, thumbnail):
                self._add(thumbnail)
                told.add(point)
        for point, owner in zip(asked.tolist(), owners, strict=True):
            if point not in told:
                self._patience[owner] -= 1

    def _owners(self, points: Ints) -> Ints:
        """The smallest mask at each point."""
        owners: Ints = self._smallest[self._y[points], self._x[points]]
        return owners

    def _knows(self, point: int, thumbnail: Bools) -> bool:
        """Whether a mask at this point is the same."""
        there = self._masks[self._masks[:, self._y[point], self._x[point]]]
        shared, either = (there & thumbnail).sum((1, 2)), (there | thumbnail).sum((1, 2))
        return bool((shared >= SAME * either).any())

    def _add(self, thumbnail: Bools) -> None:
        area = int(thumbnail.sum())
        inside = area / thumbnail.size * len(self.points_xy)
        self._masks = np.concatenate([self._masks, thumbnail[None]])
        self._patience = np.append(self._patience, max(1.0, round(PATIENCE * inside**0.5)))
        smaller = thumbnail & (area < self._smallest_area)
        self._smallest[smaller] = len(self._masks) - 1
        self._smallest_area[smaller] = area


def levels_of(num_points: int) -> Ints:
    """The level of each point of a square grid given row by row, (P,) index into STRIDES."""
    place = np.arange(round(num_points**0.5))
    levels = np.full((len(place), len(place)), len(STRIDES) - 1, dtype=np.int64)
    for level in reversed(range(len(STRIDES))):
        of_level = place[place % STRIDES[level] == min(1, STRIDES[level] - 1)]
        levels[np.ix_(of_level, of_level)] = level
    return levels.reshape(-1)
