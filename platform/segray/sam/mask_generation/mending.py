"""Small holes filled and small islands removed, and the duplicates dropped that this makes."""

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from segray.masks import rle
from segray.masks.instances import Instances
from segray.sam.mask_generation.suppression import suppress


def mend(instances: Instances, min_area: int, iou_threshold: float) -> Instances:
    """Masks without holes and islands under `min_area` pixels; scores and stabilities stay those of the masks before.

    Masks that needed no mending come first and win over mended ones with overlapping boxes.
    """
    if len(instances) == 0:
        return instances
    counts = instances.counts.copy()
    untouched = np.ones(len(counts), dtype=np.float32)
    for index, before in enumerate(instances.counts):
        mask, changed = mended(rle.decode([before], instances.size_hw)[0], min_area)
        if changed:
            counts[index], untouched[index] = rle.encode(mask[None])[0], 0.0
    boxes = rle.boxes_xyxy(list(counts), instances.size_hw)
    areas = rle.areas(list(counts), instances.size_hw)
    after = replace(instances, counts=counts, boxes_xyxy=boxes, areas=areas)
    return after.filter(suppress(boxes, untouched, iou_threshold))


def mended(mask: npt.NDArray[np.bool_], min_area: int) -> tuple[npt.NDArray[np.bool_], bool]:
    """A mask (H, W) without small holes, then without small islands, and whether that changed it.

    Where all islands are small, the largest stays.
    """
    regions, areas = _regions(~mask)
    holes = np.flatnonzero(areas < min_area) + 1
    filled = mask | np.isin(regions, holes) if len(holes) else mask
    regions, areas = _regions(filled)
    islands = np.flatnonzero(areas < min_area) + 1
    if len(islands) == 0:
        return filled, len(holes) > 0
    if len(islands) == len(areas):
        islands = np.delete(islands, np.argmax(areas))
    return filled & ~np.isin(regions, islands), True


def _regions(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Connected regions (neighbours by side or corner): their number at each pixel, from 1, and their areas."""
    _, regions, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return np.asarray(regions, np.int32), np.asarray(statistics[1:, cv2.CC_STAT_AREA], np.int32)
