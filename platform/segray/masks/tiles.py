"""Large images piece by piece: tiles that cover one, and their masks joined in run lengths, no dense canvas ever made.

Knows nothing of what finds the masks of a tile.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from segray.masks import rle
from segray.masks.instances import Instances


class Tiling(Protocol):
    """How an image is cut into tiles, and how their masks are joined (`config.sam.Tiles`)."""

    @property
    def size(self) -> int:
        """Side of a tile in pixels."""

    @property
    def overlap(self) -> int:
        """Pixels that neighbouring tiles share."""

    @property
    def merge(self) -> Literal["nms", "union"]:
        """Fate of masks that a tile's border cuts: dropped (nms), or joined with their other part (union)."""

    @property
    def merge_iou(self) -> float:
        """Agreement within the overlap from which two parts are one object."""


@dataclass(frozen=True)
class Tile:
    """A rectangle of the image, in pixels, lower right exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width."""
        return self.y1 - self.y0, self.x1 - self.x0

    def overlap(self, other: "Tile") -> "Tile | None":
        """What both cover."""
        both = Tile(max(self.x0, other.x0), max(self.y0, other.y0), min(self.x1, other.x1), min(self.y1, other.y1))
        return both if both.x1 > both.x0 and both.y1 > both.y0 else None


def cut(size_hw: tuple[int, int], tiles: Tiling) -> list[Tile]:
    """Tiles that cover an image, row by row; the last ones are moved inward, so that all but small images' are full."""

    def starts(length: int) -> list[int]:
        if length <= tiles.size:
            return [0]
        step = tiles.size - tiles.overlap
        return [*range(0, length - tiles.size, step), length - tiles.size]

    height, width = size_hw
    corners = product(starts(height), starts(width))
    return [Tile(x, y, min(x + tiles.size, width), min(y + tiles.size, height)) for y, x in corners]


def join(parts: Sequence[Instances], tiles: Sequence[Tile], size_hw: tuple[int, int], settings: Tiling) -> Instances:
    """The tiles' masks in the frame of the whole image of this size, those that tiles cut mended as `settings` say.

    What two tiles both saw whole comes once with merge "union", twice with "nms", which is for the caller to do.
    """
    if settings.merge == "nms":
        parts = [_drop_cut(part, tile, size_hw) for part, tile in zip(parts, tiles, strict=True)]
    placed = Instances.cat([place(p, t, size_hw) for p, t in zip(parts, tiles, strict=True)])
    return placed if settings.merge == "nms" else _joined(placed, _same_objects(parts, tiles, settings.merge_iou))


def place(part: Instances, tile: Tile, canvas_hw: tuple[int, int]) -> Instances:
    """Return a tile's masks in the frame of the whole image of this size."""
    counts = np.empty(len(part), dtype=object)
    counts[:] = [rle.place(one, tile.size_hw, (tile.x0, tile.y0), canvas_hw) for one in part.counts]
    corner = np.array([tile.x0, tile.y0], dtype=np.float32)
    return replace(
        part,
        size_hw=canvas_hw,
        counts=counts,
        boxes_xyxy=part.boxes_xyxy + np.tile(corner, 2),
        points_xy=part.points_xy + corner,
    )


def _drop_cut(part: Instances, tile: Tile, canvas_hw: tuple[int, int]) -> Instances:
    """Without masks that touch a border of the tile which is not the image's own."""
    (height, width), (canvas_height, canvas_width) = tile.size_hw, canvas_hw
    boxes = part.boxes_xyxy
    cut_off = (
        ((boxes[:, 0] <= 0) & (tile.x0 > 0))
        | ((boxes[:, 1] <= 0) & (tile.y0 > 0))
        | ((boxes[:, 2] >= width) & (tile.x1 < canvas_width))
        | ((boxes[:, 3] >= height) & (tile.y1 < canvas_height))
    )
    return part.filter(~cut_off)


def _same_objects(parts: Sequence[Instances], tiles: Sequence[Tile], threshold: float) -> npt.NDArray[np.int64]:
    """A group number for each mask: masks of two tiles that agree where the tiles overlap are one object."""
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    groups = np.arange(offsets[-1], dtype=np.int64)
    for first, second in _neighbours(tiles):
        both = tiles[first].overlap(tiles[second])
        if both is None:
            continue
        one, one_index = _within(parts[first], tiles[first], both)
        other, other_index = _within(parts[second], tiles[second], both)
        for i, j in zip(*np.nonzero(_agreement(one, other) >= threshold), strict=True):
            joined = {groups[offsets[first] + one_index[i]], groups[offsets[second] + other_index[j]]}
            groups[np.isin(groups, list(joined))] = min(joined)
    return groups


def _neighbours(tiles: Sequence[Tile]) -> Iterator[tuple[int, int]]:
    """Pairs of tiles that overlap, found among those that start less than a tile apart."""
    at = {(tile.x0, tile.y0): index for index, tile in enumerate(tiles)}
    columns, rows = sorted({x for x, _ in at}), sorted({y for _, y in at})
    for first, tile in enumerate(tiles):
        near_columns = columns[bisect_right(columns, 2 * tile.x0 - tile.x1) : bisect_left(columns, tile.x1)]
        near_rows = rows[bisect_left(rows, tile.y0) : bisect_left(rows, tile.y1)]
        for corner in product(near_columns, near_rows):
            second = at[corner]
            if second > first:
                yield first, second


def _within(part: Instances, tile: Tile, area: Tile) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """The masks that reach into `area`, flattened there (N, pixels), and their indices. Only these are decoded."""
    x0, y0, x1, y1 = area.x0 - tile.x0, area.y0 - tile.y0, area.x1 - tile.x0, area.y1 - tile.y0
    boxes = part.boxes_xyxy
    reach = (boxes[:, 0] < x1) & (boxes[:, 2] > x0) & (boxes[:, 1] < y1) & (boxes[:, 3] > y0)
    index = np.flatnonzero(reach)
    crops = [rle.decode([part.counts[i]], part.size_hw)[0, y0:y1, x0:x1].reshape(-1) for i in index]
    inside = [i for i, crop in enumerate(crops) if crop.any()]
    if not inside:
        return np.zeros((0, (y1 - y0) * (x1 - x0)), dtype=np.float32), np.zeros(0, dtype=np.int64)
    return np.stack([crops[i] for i in inside]).astype(np.float32), index[inside]


def _agreement(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Pairwise intersection over union of flattened masks."""
    intersection = first @ second.T
    total = first.sum(1)[:, None] + second.sum(1)[None, :] - intersection
    return np.asarray(intersection / np.maximum(total, 1), dtype=np.float32)


def _joined(placed: Instances, groups: npt.NDArray[np.int64]) -> Instances:
    """One mask per group: the union, with the columns of the group's largest part and its best score."""
    rows = []
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        largest = members[np.argmax(placed.areas[members])]
        one = placed.filter(np.array([largest]))
        if len(members) > 1:
            united = rle.union(list(placed.counts[members]), placed.size_hw)
            one = Instances.from_rle(
                [united],
                placed.size_hw,
                provenance=list(one.provenance),
                scores=[placed.scores[members].max()],
                classes=one.classes,
                stabilities=one.stabilities,
                points_xy=one.points_xy,
            )
        rows.append(one)
    return Instances.cat(rows) if rows else Instances.empty(placed.size_hw)
