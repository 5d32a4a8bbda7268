"""Average recall: how much of what is there was found, whatever else was found too."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segray import metric_names
from segray.masks import rle
from segray.masks.instances import Instances

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""IoU from which an object counts as found; COCO's."""


@dataclass(frozen=True, kw_only=True)
class RecallResult:
    """How much of what is there was found."""

    recall: float
    """AR@1000 in [0, 1]; NaN where nothing is there to be found."""
    num_images: int
    """Images measured on."""

    def figures(self) -> dict[str, float]:
        """By name."""
        return {} if math.isnan(self.recall) else {metric_names.RECALL: self.recall}


def average_recall(pairs: Iterable[tuple[Instances, Instances]], max_masks: int = 1000) -> float:
    """AR of (found, true) masks of each image, class-agnostic, over all images: COCO's AR@`max_masks` with useCats 0.

    The best `max_masks` of an image by score take part; each true mask is found by at most one of them. NaN where
    nothing is there to be found.
    """
    found_at, total = np.zeros(len(THRESHOLDS)), 0
    for found, true in pairs:
        # Masks of one score go by class, as pycocotools has them.
        order = np.lexsort((found.classes, -found.scores))[:max_masks]
        ious = rle.iou(list(found.counts[order]), list(true.counts), true.size_hw)
        found_at += [_matches(ious, threshold) for threshold in THRESHOLDS]
        total += len(true)
    return float(np.mean(found_at / total)) if total else float("nan")


def _matches(ious: npt.NDArray[np.float64], threshold: float) -> int:
    """True masks taken when each found one, best first, takes the free one it overlaps most, from the threshold on."""
    free = np.ones(ious.shape[1], dtype=bool)
    for row in ious:
        candidates = np.where(free, row, -1.0)
        if free.any() and candidates.max() >= min(threshold, 1 - 1e-10):
            free[candidates.argmax()] = False
    return int((~free).sum())
