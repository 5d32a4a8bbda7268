"""Average precision by the protocol of cityscapesScripts, gathered image by image on any number of workers.

The definition is in docs/methods/metrics.md#cityscapes-average-precision. Unlike COCO's, it passes over objects of
fewer than 100 pixels, and over detections that lie mostly in void, in regions of several objects of their class or in
such small objects. Of two detections of one object the worse is wrong. The precision is not interpolated.

Knows instances; knows no models and no files.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from segray import metric_names
from segray.masks import rle
from segray.masks.instances import CROWD, UNLABELED, Instances

OVERLAPS: Final = np.arange(0.5, 1.0, 0.05)
"""IoU thresholds, to the last bit as cityscapesScripts has them."""
LEAST_PIXELS: Final = 100
"""Pixels of the smallest object that counts."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class CityscapesApResult:
    """Average precision in [0, 1]; NaN where there is nothing to be found."""

    ap: float
    """Mean over classes and IoU 0.50:0.05:0.95."""
    ap50: float
    """At IoU 0.5."""
    per_class: dict[str, float]
    """AP by class name; NaN, and not in the mean, where the class has no object."""
    num_images: int
    """Images measured on."""

    def figures(self) -> dict[str, float]:
        """Return the figures by name, without what there was nothing to measure on."""
        named = {metric_names.CITYSCAPES_AP: self.ap, metric_names.CITYSCAPES_AP50: self.ap50}
        named |= {metric_names.part(metric_names.CITYSCAPES_AP, name): value for name, value in self.per_class.items()}
        return {name: value for name, value in named.items() if not math.isnan(value)}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Matches:
    """An image's D detections of one class and the T objects of it that count."""

    scores: npt.NDArray[np.float32]
    """(D,) of the detections."""
    ious: Floats
    """(D, T) with the objects that count."""
    passed_over: Floats
    """(D,) IoU with the object that does not count and that each detection overlaps most."""
    ignored: Floats
    """(D,) share of each detection that lies where what is found does not count."""


class CityscapesPrecision:
    """What was found and what is true, as overlaps, until the result is asked for. Pickles; merges in any order."""

    def __init__(self, classes: Sequence[str]) -> None:
        """`classes` are names by class id."""
        self.classes = tuple(classes)
        self._images: dict[str, tuple[_Matches, ...]] = {}

    def add(self, image_id: str, found: Instances, true: Instances) -> None:
        """Add an image. True instances of provenance "gt:crowd" are regions of several objects; without a class, void.

        Raises:
            ValueError: the image was added before.
        """
        if image_id in self._images:
            raise ValueError(f"image {image_id!r} was added before")
        found = found.filter(found.areas > 0)
        void = true.filter((true.provenance == CROWD) & (true.classes == UNLABELED))
        self._images[image_id] = tuple(
            _matches(found.filter(found.classes == index), true.filter(true.classes == index), void)
            for index in range(len(self.classes))
        )

    def merge(self, other: "CityscapesPrecision") -> None:
        """Take in what another worker has.

        Raises:
            ValueError: it has other classes, or an image is in both.
        """
        if other.classes != self.classes:
            raise ValueError(f"{other.classes} cannot be merged into {self.classes}")
        if both := self._images.keys() & other._images.keys():
            raise ValueError(f"images in both parts: {sorted(both)[:5]}")
        self._images |= other._images

    def result(self) -> CityscapesApResult:
        """Return AP over all images so far."""
        images = list(self._images.values())
        values = np.array(
            [[_precision([one[index] for one in images], at) for at in OVERLAPS] for index in range(len(self.classes))]
        )
        return CityscapesApResult(
            ap=_mean(values),
            ap50=_mean(values[:, :1]),
            per_class=dict(zip(self.classes, values.mean(axis=1).tolist(), strict=True)),
            num_images=len(images),
        )


def _matches(found: Instances, true: Instances, void: Instances) -> _Matches:
    """Measure the detections of one class in one image."""
    shared, groups = _shared(found, true), true.provenance == CROWD
    small = true.areas < LEAST_PIXELS
    ious = shared / np.maximum(found.areas[:, None] + true.areas[None, :] - shared, 1)
    # A small region of several objects counts twice, as in cityscapesScripts.
    ignored = _shared(found, void).sum(1) + shared[:, groups].sum(1) + shared[:, small].sum(1)
    return _Matches(
        scores=found.scores,
        ious=ious[:, ~groups & ~small],
        passed_over=ious[:, groups | small].max(axis=1, initial=0.0),
        ignored=ignored / found.areas,
    )


def _shared(found: Instances, true: Instances) -> Ints:
    """Return the pixels that each of D masks shares with each of T others: (D, T)."""
    # The IoU with a crowd is the share of the first mask that lies in it.
    shares = rle.iou(list(found.counts), list(true.counts), found.size_hw, [True] * len(true))
    pixels: npt.NDArray[np.int64] = np.rint(shares * found.areas[:, None]).astype(np.int64)
    return pixels


def _precision(images: Iterable[_Matches], least_iou: float) -> float:
    """Return the average precision of one class at one threshold; NaN where there is no object of it."""
    right, wrong, objects, detections = [], [], 0, 0
    for one in images:
        objects, detections = objects + one.ious.shape[1], detections + len(one.scores)
        matched = one.ious > least_iou
        for object_index in range(one.ious.shape[1]):
            scores = np.sort(one.scores[matched[:, object_index]])
            right += scores[-1:].tolist()
            wrong += scores[:-1].tolist()
        free = ~matched.any(1) & (one.passed_over <= least_iou)
        wrong += one.scores[free & (one.ignored <= least_iou)].tolist()
    if not objects:
        return math.nan
    return _area(np.array(right), np.array(wrong), objects) if detections else 0.0


def _area(right: Floats, wrong: Floats, objects: int) -> float:
    """Return the area below the curve of precision over recall, step by step over the distinct scores.

    Args:
        right: scores of right detections.
        wrong: scores of wrong ones.
        objects: number of true objects.
    """
    # Points of the curve
    thresholds = np.unique(np.concatenate([right, wrong]))
    hits, misses = (len(one) - np.searchsorted(np.sort(one), thresholds) for one in (right, wrong))
    precision = np.append(hits / np.maximum(hits + misses, 1), 1.0)
    recall = np.append(hits / objects, 0.0)

    # Half of the recall between the neighbours of each point
    padded = np.concatenate([recall[:1], recall, [0.0]])
    return float(precision @ ((padded[:-2] - padded[2:]) / 2))


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan
