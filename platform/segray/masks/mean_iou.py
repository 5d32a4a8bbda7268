"""mIoU of label maps over the whole data set, without the pixels whose truth is unknown.

The definition is in docs/methods/metrics.md#mean-iou.

Knows maps, no models and no files. Adds up over images and workers, as sums of one confusion matrix.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segray import metric_names
from segray.masks.semantic import UNKNOWN, Map

_SMALLEST = 1e-10


@dataclass(frozen=True, kw_only=True)
class IouResult:
    """Intersection over union in [0, 1]."""

    miou: float
    """Mean over all classes, background included; a class that is neither true nor found counts as 0."""
    miou_seen: float
    """Mean over the classes that are there or found: finding one that is nowhere costs. Thresholds are chosen by it."""
    accuracy: float
    """Share of the known pixels with the right class."""
    coverage: float
    """Share of the known pixels with any class: 1 for a student's maps, less for pseudo-labels with unknown pixels."""
    per_class: dict[str, float]
    """IoU by class name."""
    num_images: int
    """Images measured on."""
    num_pixels: int
    """Of which the truth is known."""

    def figures(self) -> dict[str, float]:
        """By name, classes as `iou/<class>`, for a run's metrics."""
        named = {
            metric_names.MIOU: self.miou,
            metric_names.PIXEL_ACCURACY: self.accuracy,
            metric_names.COVERAGE: self.coverage,
        }
        return named | {metric_names.part(metric_names.IOU, name): value for name, value in self.per_class.items()}


class MeanIou:
    """A confusion matrix over all images so far. Pickles; merges in any order."""

    def __init__(self, classes: Sequence[str]) -> None:
        """`classes` are names by class id."""
        self.classes = tuple(classes)
        self._number = len(self.classes)
        # True classes by found ones; the last column is pixels without a found class.
        self._pixels = np.zeros((self._number, self._number + 1), dtype=np.int64)
        self._images = 0

    def add(self, found: Map, true: Map) -> None:
        """One image's maps (H, W) of class ids. 255 in the truth: not counted; in what is found: no class.

        Raises:
            ValueError: maps of two sizes, or classes that are not of the list.
        """
        if found.shape != true.shape:
            raise ValueError(f"a found map of size {found.shape} for a true one of size {true.shape}")
        known = true != UNKNOWN
        rows, columns = true[known].astype(np.int64), found[known].astype(np.int64)
        largest = max(rows.max(initial=0), columns[columns != UNKNOWN].max(initial=0))
        if largest >= self._number:
            raise ValueError(f"class ids up to {largest}, there are {self._number} classes")
        columns[columns == UNKNOWN] = self._number
        flat = np.bincount(rows * (self._number + 1) + columns, minlength=self._pixels.size)
        self._pixels += flat.reshape(self._pixels.shape)
        self._images += 1

    def merge(self, other: "MeanIou") -> None:
        """Take in what another worker has.

        Raises:
            ValueError: it counts other classes.
        """
        if other.classes != self.classes:
            raise ValueError(f"{other.classes} cannot be merged into {self.classes}")
        self._pixels += other._pixels
        self._images += other._images

    def result(self) -> IouResult:
        """Over all images so far."""
        right = self._pixels.diagonal()
        union = self._pixels.sum(1) + self._pixels[:, :-1].sum(0) - right
        ious: npt.NDArray[np.float64] = right / (union + _SMALLEST)
        seen, known = ious[union > 0], int(self._pixels.sum())
        whole = max(known, 1)
        return IouResult(
            miou=float(ious.mean()),
            miou_seen=float(seen.mean()) if len(seen) else 0.0,
            accuracy=float(right.sum() / whole),
            coverage=float(self._pixels[:, :-1].sum() / whole),
            per_class=dict(zip(self.classes, ious.tolist(), strict=True)),
            num_images=self._images,
            num_pixels=known,
        )
