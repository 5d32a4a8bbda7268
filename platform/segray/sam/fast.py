"""Fewer prompts for nearly the same masks: coarse to fine, and not where a mask already tells what is there.

Knows points and what masks explain; not what crops and images become. A point is asked when its level's turn comes,
unless a mask found before explains it: a small mask explains all points inside it, a large one, which may have others
on it, only the finer levels of the grid.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from segray.config.sam import MaskGeneration
from segray.masks.instances import Instances
from segray.sam.asking import Answers, ask
from segray.sam.batches import Batches
from segray.sam.grids import Crop, Points, layer_points
from segray.sam.protocol import Embedding, Sam
from segray.sam.survivors import survivors

THUMBNAIL: Final = 128
"""Pixels of the longer side at which is noted where masks lie."""
STRIDES: Final = (4, 2, 1)
"""The grid points of each level: every fourth of a row and column, every second, all."""
EXPLAINED: Final = (0.01, 0.1, 1.1)
"""At each level, the share of the crop under which a mask explains the points it covers."""


class Field:
    """One crop's points still to be asked, and the smallest mask found so far at each place."""

    def __init__(self, points_xy: Points, size_hw: tuple[int, int]) -> None:
        self.points_xy = points_xy
        self.size_hw = size_hw
        scale = THUMBNAIL / max(size_hw)
        height, width = (max(1, round(side * scale)) for side in size_hw)
        self.thumbnail_hw = (height, width)
        self._smallest = np.full((height, width), np.inf, dtype=np.float32)
        cells = (points_xy * [width / size_hw[1], height / size_hw[0]]).astype(np.int64)
        self._x, self._y = cells.T
        self._levels = levels_of(len(points_xy))
        self._pending = np.arange(len(points_xy))

    def take(self, level: int, at_most: int) -> npt.NDArray[np.int64]:
        """Points of this level that nothing explains yet; they are not given again, and explained ones are dropped."""
        explained = self._smallest[self._y[self._pending], self._x[self._pending]] < EXPLAINED[level]
        due = self._levels[self._pending] == level
        taken = self._pending[due & ~explained][:at_most]
        self._pending = np.setdiff1d(self._pending[~(due & explained)], taken, assume_unique=True)
        return taken

    def note(self, masks: npt.NDArray[np.bool_]) -> None:
        """Remember where masks (N, *thumbnail_hw) lie."""
        for mask in masks:
            self._smallest[mask] = np.minimum(self._smallest[mask], mask.mean())


class FastFinder:
    """Finds masks in crops, the points of several crops in one batch."""

    def __init__(self, sam: Sam, settings: MaskGeneration, points_per_batch: int) -> None:
        self.sam = sam
        self.settings = settings
        self.batches = Batches(points_per_batch)

    def find(self, embedding: Embedding, crops: Sequence[Crop]) -> list[Instances]:
        """Stable masks of each crop, in its pixels; duplicates included."""
        fields = [Field(layer_points(self.settings, crop), crop.size_hw) for crop in crops]
        found = [[Instances.empty(crop.size_hw)] for crop in crops]
        for level in range(len(STRIDES)):
            while len(batch := self._next(fields, level)):
                for part in self.batches.map(len(batch), lambda which: self._ask(embedding, fields, batch[which])):  # noqa: B023
                    for number, masks in part:
                        found[number].append(masks)
        return [Instances.cat(of_crop) for of_crop in found]

    def _next(self, fields: Sequence[Field], level: int) -> npt.NDArray[np.int64]:
        """Which crop and point to ask next, (P, 2), those of a crop together."""
        batch: list[npt.NDArray[np.int64]] = [np.zeros((0, 2), dtype=np.int64)]
        room = self.batches.size
        for number, field in enumerate(fields):
            points = field.take(level, room)
            batch.append(np.stack([np.full(len(points), number), points], axis=1))
            room -= len(points)
            if room == 0:
                break
        return np.concatenate(batch)

    def _ask(
        self, embedding: Embedding, fields: Sequence[Field], batch: npt.NDArray[np.int64]
    ) -> list[tuple[int, Instances]]:
        """Masks of each crop's points in a batch (P, 2), noted in its field."""
        numbers, points = batch.T
        points_xy = np.stack([fields[number].points_xy[point] for number, point in batch])
        answers = ask(self.sam, embedding, numbers, points_xy, self.settings.pred_iou_thresh)
        if answers is None:
            return []
        found = []
        for number in np.unique(numbers[answers.points]):
            field = fields[number]
            own = answers.filter(numbers[answers.points] == number)
            rows, masks = survivors(self.sam, own, points_xy, field.size_hw, self.settings)
            thumbnails = self.sam.upscale(own.logits[rows], field.thumbnail_hw) > self.sam.mask_threshold
            field.note(thumbnails.cpu().numpy())
            found.append((int(number), masks))
        return found


def levels_of(num_points: int) -> npt.NDArray[np.int64]:
    """The level of each point of a square grid given row by row, (P,) index into STRIDES."""
    place = np.arange(round(num_points**0.5))
    levels = np.full((len(place), len(place)), len(STRIDES) - 1, dtype=np.int64)
    for level in reversed(range(len(STRIDES))):
        of_level = place[place % STRIDES[level] == STRIDES[level] // 2]
        levels[np.ix_(of_level, of_level)] = level
    return levels.reshape(-1)
