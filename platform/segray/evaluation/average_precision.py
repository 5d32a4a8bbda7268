"""COCO mask AP of one list of classes, gathered image by image on any number of workers.

The definition is in docs/methods/metrics.md#average-precision.

Knows instances and faster-coco-eval's matching; knows no models and no files.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from faster_coco_eval.core.coco import COCO
from faster_coco_eval.core.faster_eval_api import COCOeval_faster

from segray import metric_names
from segray.masks.instances import CROWD, UNLABELED, Instances


@dataclass(frozen=True, kw_only=True)
class ApResult:
    """Average precision in [0, 1]; NaN where there is nothing to be found."""

    ap: float
    """Mean over classes and IoU 0.50:0.05:0.95."""
    ap50: float
    """At IoU 0.5."""
    ap75: float
    """At IoU 0.75."""
    ap_small: float
    """Of objects up to 32 x 32 pixels of the image as it is."""
    ap_medium: float
    """Of those up to 96 x 96."""
    ap_large: float
    """Of larger ones."""
    per_class: dict[str, float]
    """AP by class name; NaN, and not in the mean, where the class has no object."""
    num_images: int
    """Images measured on."""

    def figures(self) -> dict[str, float]:
        """By name, classes as `ap/<class>`, for a run's metrics; without what there was nothing to measure on."""
        named = {name: getattr(self, name) for name in metric_names.AP_FIGURES}
        named |= {metric_names.part(metric_names.AP, name): value for name, value in self.per_class.items()}
        return {name: value for name, value in named.items() if not math.isnan(value)}


class AveragePrecision:
    """What was found and what is true, as run lengths, until the result is asked for. Pickles; merges in any order."""

    def __init__(self, classes: Sequence[str], max_dets: int = 100) -> None:
        """`classes` are names by class id; the best `max_dets` of an image and class take part."""
        self.classes = tuple(classes)
        self.max_dets = max_dets
        self._images: dict[str, tuple[Instances, Instances]] = {}

    def add(self, image_id: str, found: Instances, true: Instances) -> None:
        """One image. True instances of provenance "gt:crowd" are crowds; those without a class (void) do not count.

        Raises:
            ValueError: the image was added before, classes are not of the list, or the two are not of one size.
        """
        if image_id in self._images:
            raise ValueError(f"image {image_id!r} was added before")
        if found.size_hw != true.size_hw:
            raise ValueError(f"image {image_id!r}: found masks are of {found.size_hw}, the true ones of {true.size_hw}")
        true = true.filter((true.classes != UNLABELED) | (true.provenance != CROWD))
        for name, instances in (("found", found), ("true", true)):
            if len(instances) and not 0 <= instances.classes.min() <= instances.classes.max() < len(self.classes):
                raise ValueError(
                    f"image {image_id!r}: {name} class ids {sorted(set(instances.classes.tolist()))} are not all of "
                    f"the {len(self.classes)} classes"
                )
        self._images[image_id] = (found.filter(_best(found, self.max_dets)), true)

    def merge(self, other: "AveragePrecision") -> None:
        """Take in what another worker has.

        Raises:
            ValueError: it counts otherwise, or an image is in both.
        """
        if (other.classes, other.max_dets) != (self.classes, self.max_dets):
            raise ValueError(f"{other.classes}, {other.max_dets} cannot be merged into {self.classes}, {self.max_dets}")
        both = self._images.keys() & other._images.keys()
        if both:
            raise ValueError(f"images in both parts: {sorted(both)[:5]}")
        self._images |= other._images

    def __len__(self) -> int:
        return len(self._images)

    def result(self) -> ApResult:
        """AP over all images so far. Equal scores rank by image id, so workers do not show in it."""
        images = [self._images[image_id] for image_id in sorted(self._images)]
        # Class by class: COCO's tables of one class at a time are in memory, and classes do not meet anyway.
        precision = np.stack([_precision(images, index, self.max_dets) for index in range(len(self.classes))], axis=2)
        per_class = [_mean(precision[:, :, index, 0]) for index in range(len(self.classes))]
        return ApResult(
            ap=_mean(precision[:, :, :, 0]),
            ap50=_mean(precision[0, :, :, 0]),
            ap75=_mean(precision[5, :, :, 0]),
            ap_small=_mean(precision[:, :, :, 1]),
            ap_medium=_mean(precision[:, :, :, 2]),
            ap_large=_mean(precision[:, :, :, 3]),
            per_class=dict(zip(self.classes, per_class, strict=True)),
            num_images=len(images),
        )


def _precision(images: Sequence[tuple[Instances, Instances]], index: int, max_dets: int) -> npt.NDArray[np.float64]:
    """One class's (IoU 10, recall 101, area range 4); -1 where there is nothing to be found.

    Read from the array, since the library's summary gives some figures for 100 detections only.
    """
    own = [(np.flatnonzero(found.classes == index), np.flatnonzero(true.classes == index)) for found, true in images]
    if not any(len(there) for _, there in own):
        return np.full((10, 101, 4), -1.0)
    kept = [number for number, (said, there) in enumerate(own) if len(said) or len(there)]
    frame = {
        "images": [{"id": n, "height": images[n][1].size_hw[0], "width": images[n][1].size_hw[1]} for n in kept],
        "categories": [{"id": index, "name": ""}],
    }
    found = [one for n in kept for one in _annotations(n, images[n][0], own[n][0])]
    true = [one for n in kept for one in _annotations(n, images[n][1], own[n][1])]
    matching = COCOeval_faster(
        COCO(frame | {"annotations": _numbered(true)}),
        COCO(frame | {"annotations": _numbered(found)}),
        "segm",
        rle_iou_max_workers=1,
    )
    matching.params.maxDets = [max_dets]
    matching.evaluate()
    matching.accumulate()
    return np.asarray(matching.eval["precision"])[:, :, 0, :, 0]


def _best(found: Instances, most: int) -> npt.NDArray[np.int64]:
    """The rows of the best `most` of each class, best first; ties keep their order."""
    order = np.argsort(-found.scores, kind="stable")
    ranks = np.empty(len(order), dtype=np.int64)
    for index in np.unique(found.classes):
        own = found.classes[order] == index
        ranks[own] = np.arange(own.sum())
    return order[ranks < most]


def _annotations(image: int, instances: Instances, rows: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    size, areas = [int(side) for side in instances.size_hw], instances.coco_areas().tolist()
    return [
        {
            "image_id": image,
            "category_id": int(instances.classes[row]),
            "segmentation": {"size": size, "counts": instances.counts[row].decode("ascii")},
            "area": areas[row],
            "iscrowd": int(instances.provenance[row] == CROWD),
            "score": float(instances.scores[row]),
        }
        for row in rows.tolist()
    ]


def _numbered(annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    # From 1: an id of 0 means "matched by none" to COCO's code.
    return [{"id": number} | one for number, one in enumerate(annotations, 1)]


def _mean(precision: npt.NDArray[np.float64]) -> float:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else math.nan
