"""COCO's segmentations as run lengths, after the checks without which pycocotools reads or writes past its memory.

What cannot be decoded says why: by a reason to count it by, and a detail for people. Knows no files.
"""

from typing import Any

import numpy as np

from segray.masks import rle
from segray.tally import Reason

NO_SEGMENTATION = Reason("no-segmentation", "have no segmentation", is_damage=True)
INVALID = Reason("invalid", "have a segmentation that cannot be read", is_damage=True)
TOO_FEW_POINTS = Reason("too-few-points", "have only polygons with fewer than three points", is_damage=True)
NO_PIXEL = Reason("no-pixel", "have a segmentation that covers no pixel", is_damage=True)
SOME_TOO_SHORT = Reason(
    "short-polygons", "have polygons with fewer than three points beside others, which are left out"
)


class BrokenSegmentationError(Exception):
    """A segmentation that gives no mask; `reason` is what it is counted by."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def decode(segmentation: object, size_hw: tuple[int, int]) -> rle.Counts:
    """Return one mask of an image of `size_hw`, which may cover no pixel.

    Raises:
        BrokenSegmentationError: there is none, or it cannot be read.
    """
    if segmentation in (None, [], {}, ""):
        raise BrokenSegmentationError(NO_SEGMENTATION)
    try:
        found = (
            _of_polygons(segmentation, size_hw) if isinstance(segmentation, list) else _of_runs(segmentation, size_hw)
        )
    except (ValueError, TypeError, OverflowError) as error:
        raise BrokenSegmentationError(INVALID, str(error)) from error
    return found


def has_short_polygon(segmentation: object) -> bool:
    """Return whether a segmentation that decodes holds polygons with fewer than three points."""
    return isinstance(segmentation, list) and any(len(polygon) < 6 for polygon in segmentation)


def _of_polygons(polygons: list[Any], size_hw: tuple[int, int]) -> rle.Counts:
    for polygon in polygons:
        values = np.asarray(polygon, dtype=np.float64)
        if values.ndim != 1 or values.size % 2 or not np.isfinite(values).all():
            raise ValueError(f"a polygon must be x, y, x, y, ..., got {str(polygon)[:60]}")
        if values.size and np.abs(values).max() > 4 * max(size_hw) + 1000:
            raise ValueError(f"a polygon lies far outside its image of size {size_hw}: {str(polygon)[:60]}")
    if all(len(polygon) < 6 for polygon in polygons):
        raise BrokenSegmentationError(TOO_FEW_POINTS)
    return rle.from_polygons(polygons, size_hw)


def _of_runs(segmentation: object, size_hw: tuple[int, int]) -> rle.Counts:
    counts = segmentation.get("counts") if isinstance(segmentation, dict) else None
    if isinstance(counts, list) and not all(isinstance(run, int) and run >= 0 for run in counts):
        raise ValueError(f"run lengths must be whole numbers from 0, got {str(counts)[:60]}")
    found = rle.from_coco(segmentation, size_hw)
    try:
        runs = rle.to_runs(found)
    except (ValueError, IndexError) as error:
        raise ValueError(f"its compressed run lengths cannot be read ({error})") from error
    if runs.min() < 0 or runs.sum() != size_hw[0] * size_hw[1]:
        raise ValueError(f"its run lengths add up to {runs.sum()}, an image of size {size_hw} has other than that")
    return found
