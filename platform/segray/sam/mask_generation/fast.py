"""Fast mode: the points of a grid from coarse to fine, as long as they find new masks; nearly the masks of exact mode.

A mask inside which several points in a row found nothing new is exhausted: its other points are skipped. The larger a
mask, the more may lie on it, so the more points it gets. Places without any mask are always asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt

from segray.config.sam import MaskGeneration
from segray.masks.instances import Instances
from segray.nets.batching import ShrinkingBatches
from segray.sam.mask_generation.filters import Candidates, decode_confident_masks, encode_stable_masks
from segray.sam.mask_generation.grids import Crop, Points, layer_points
from segray.sam.protocol import Embedding, Sam

POINTS_PER_ROUND: Final = 4
"""Prompts a crop gets before it learns from their masks. Fixed: masks depend on no batch size and no neighbour."""
STRIDES: Final = (4, 2, 1)
"""Grid points of each level: every fourth of a row and column, every second, all."""
PATIENCE: Final = 2.0
"""Prompts allowed inside a mask without finding a new one, times the square root of its number of grid points."""
THUMBNAIL_SIDE: Final = 128
"""Longer side in pixels at which masks are compared."""
SAME_IOU: Final = 0.8
"""IoU of thumbnails from which two masks are the same."""
_NO_MASK: Final = 0
"""Index that stands for the places without a mask."""

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


class FastFinder:
    """Mask generation in crops with few prompts; the points of several crops share a batch."""

    def __init__(self, sam: Sam, settings: MaskGeneration, points_per_batch: int) -> None:
        self.sam = sam
        self.settings = settings
        self.batches = ShrinkingBatches(points_per_batch)

    def find(self, embedding: Embedding, crops: Sequence[Crop]) -> list[Instances]:
        """Return the stable masks of each crop, in its pixels; duplicates included."""
        planners = [PromptPlanner(layer_points(self.settings, crop), crop.size_hw) for crop in crops]
        found = [[Instances.empty(crop.size_hw)] for crop in crops]
        for level in range(len(STRIDES)):
            while len(batch := _next_batch(planners, level)):
                work = partial(self._decode, embedding, planners, batch)
                results = list(chain.from_iterable(self.batches.map(len(batch), work)))
                for index, planner in enumerate(planners):
                    of_crop = [one for one in results if one.crop == index]
                    found[index] += [one.masks for one in of_crop]
                    _update(planner, of_crop)
        return [Instances.cat(of_crop) for of_crop in found]

    def _decode(
        self, embedding: Embedding, planners: Sequence["PromptPlanner"], batch: Ints, part: slice
    ) -> list["_Result"]:
        """Decode some rows of a batch of crops and points (P, 2); return the masks by crop."""
        crops, points = batch[part].T
        points_xy = np.stack([planners[crop].points_xy[point] for crop, point in batch[part]])
        candidates = decode_confident_masks(self.sam, embedding, crops, points_xy, self.settings.pred_iou_thresh)
        results = []
        for crop in np.unique(crops).tolist():
            own = candidates.filter(crops[candidates.points] == crop)
            rows, masks = encode_stable_masks(self.sam, own, points_xy, embedding.sizes_hw[crop], self.settings)
            stable = own.filter(rows)
            results.append(
                _Result(
                    crop=crop,
                    prompted=points[crops == crop],
                    origins=points[stable.points],
                    thumbnails=self._thumbnails(planners[crop], stable),
                    masks=masks,
                )
            )
        return results

    def _thumbnails(self, planner: "PromptPlanner", candidates: Candidates) -> Bools:
        if len(candidates) == 0:
            return np.zeros((0, *planner.thumbnail_hw), dtype=np.bool_)
        logits = self.sam.upscale(candidates.logits, planner.thumbnail_hw)
        return np.asarray((logits > self.sam.mask_threshold).cpu().numpy())


class PromptPlanner:
    """The points of one crop that are still to be prompted, and thumbnails of the masks found so far."""

    def __init__(self, points_xy: Points, size_hw: tuple[int, int]) -> None:
        self.points_xy = points_xy
        scale = THUMBNAIL_SIDE / max(size_hw)
        height, width = (max(1, round(side * scale)) for side in size_hw)
        self.thumbnail_hw = (height, width)
        self._x, self._y = (points_xy * [width / size_hw[1], height / size_hw[0]]).astype(np.int64).T
        self._levels = levels_of(len(points_xy))
        # Neighbours would be prompted together, before the first mask could spare the second.
        self._pending = np.random.default_rng(0).permutation(len(points_xy))
        self._masks = np.zeros((1, height, width), dtype=np.bool_)
        self._patience = np.full(1, np.inf)
        self._smallest = np.full((height, width), _NO_MASK)
        self._smallest_area = np.full((height, width), np.inf)

    def take(self, level: int, at_most: int) -> Ints:
        """Take points of this level that may find a new mask; none is given twice, and the others are dropped."""
        due = self._levels[self._pending] == level
        worth = due & (self._patience[self._owners(self._pending)] > 0)
        chosen = np.flatnonzero(worth)[:at_most]
        seen = np.arange(len(self._pending)) <= (chosen[-1] if len(chosen) else len(self._pending))
        taken: Ints = self._pending[chosen]
        self._pending = self._pending[~(due & seen)]
        return taken

    def update(self, prompted: Ints, origins: Ints, thumbnails: Bools) -> None:
        """Record prompted points and the masks (N, *thumbnail_hw) that came from the points `origins` (N,)."""
        owners = self._owners(prompted)
        successful: set[int] = set()
        for point, thumbnail in zip(origins.tolist(), thumbnails, strict=True):
            if not self._is_known(point, thumbnail):
                self._add(thumbnail)
                successful.add(point)
        for point, owner in zip(prompted.tolist(), owners, strict=True):
            if point not in successful:
                self._patience[owner] -= 1

    def _owners(self, points: Ints) -> Ints:
        """Return the smallest mask at each point."""
        owners: Ints = self._smallest[self._y[points], self._x[points]]
        return owners

    def _is_known(self, point: int, thumbnail: Bools) -> bool:
        """Return whether a mask found at this point is the same."""
        there = self._masks[self._masks[:, self._y[point], self._x[point]]]
        shared, either = (there & thumbnail).sum((1, 2)), (there | thumbnail).sum((1, 2))
        return bool((shared >= SAME_IOU * either).any())

    def _add(self, thumbnail: Bools) -> None:
        area = int(thumbnail.sum())
        inside = area / thumbnail.size * len(self.points_xy)
        self._masks = np.concatenate([self._masks, thumbnail[None]])
        self._patience = np.append(self._patience, max(1.0, round(PATIENCE * inside**0.5)))
        smaller = thumbnail & (area < self._smallest_area)
        self._smallest[smaller] = len(self._masks) - 1
        self._smallest_area[smaller] = area


@dataclass(frozen=True, kw_only=True)
class _Result:
    """What prompting some points of one crop gave."""

    crop: int
    prompted: Ints
    origins: Ints
    """(N,) point of each mask."""
    thumbnails: Bools
    masks: Instances


def levels_of(num_points: int) -> Ints:
    """Return the level of each point of a square grid given row by row, (P,) index into STRIDES."""
    place = np.arange(round(num_points**0.5))
    levels = np.full((len(place), len(place)), len(STRIDES) - 1, dtype=np.int64)
    for level in reversed(range(len(STRIDES))):
        of_level = place[place % STRIDES[level] == min(1, STRIDES[level] - 1)]
        levels[np.ix_(of_level, of_level)] = level
    return levels.reshape(-1)


def _next_batch(planners: Sequence[PromptPlanner], level: int) -> Ints:
    """Return crop and point of the next prompts, (P, 2), those of a crop together."""
    rounds = [planner.take(level, POINTS_PER_ROUND) for planner in planners]
    return np.concatenate(
        [np.stack([np.full(len(points), crop), points], axis=1) for crop, points in enumerate(rounds)]
    )


def _update(planner: PromptPlanner, results: Sequence[_Result]) -> None:
    """Update with a whole round at once, however it was cut into batches."""
    if results:
        planner.update(
            np.concatenate([one.prompted for one in results]),
            np.concatenate([one.origins for one in results]),
            np.concatenate([one.thumbnails for one in results]),
        )
