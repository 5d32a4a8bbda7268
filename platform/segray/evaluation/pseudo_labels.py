"""How good pseudo-labels are, before and after their refinement, against truth that training did not see.

Knows instances only. Labels are measured by what a student learns from them: are they there, of the right class, and
how well do their outlines fit.
"""

import math
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from segray import metric_names
from segray.masks import matching, rle
from segray.masks.instances import CROWD, Instances
from segray.masks.matching import LEAST_IOU


@dataclass(frozen=True, kw_only=True)
class LabelQuality:
    """One set of labels over all images. Shares and IoUs in [0, 1], NaN where there is nothing to count."""

    labels: int
    """Labels, those inside crowds not counted."""
    true: int
    """True objects, without crowds."""
    precision: float
    """Share of the labels that are an object's: right class, IoU from 0.5 on, one label per object."""
    recall: float
    """Share of the objects that have such a label."""
    matched_iou: float
    """Mean IoU of labels with the objects of their class they are paired with (greatest sum of IoUs; any overlap, so
    that labels which become better than 0.5 do not lower it)."""
    best_iou: float
    """Mean over labels of the IoU with the object, of any class, that each overlaps most."""
    class_accuracy: float
    """Share of the right class among pairs of labels and objects with IoU from 0.5 on, paired whatever their class."""


@dataclass(kw_only=True)
class _Sums:
    """What one set's figures are made of; sums, so parts add up."""

    labels: int = 0
    true: int = 0
    right: int = 0
    matched: int = 0
    matched_iou: float = 0.0
    best_iou: float = 0.0
    paired: int = 0
    paired_right: int = 0

    def add(self, labels: Instances, true: Instances) -> None:
        objects = true.filter(true.provenance != CROWD)
        labels = labels.filter(~_in_crowd(labels, objects, true.filter(true.provenance == CROWD)))
        self.labels += len(labels)
        self.true += len(objects)
        if not len(labels) or not len(objects):
            return
        values = matching.ious(labels, objects)
        same = labels.classes[:, None] == objects.classes[None, :]
        rows, columns = matching.best_pairs(np.where(same, values, 0.0))
        self.matched += len(rows)
        self.matched_iou += float(values[rows, columns].sum())
        self.best_iou += float(values.max(axis=1).sum())
        self.right += len(matching.correct_pairs(labels, objects)[0])
        rows, columns = matching.best_pairs(np.where(values >= LEAST_IOU, values, 0.0))
        self.paired += len(rows)
        self.paired_right += int(same[rows, columns].sum())

    def merge(self, other: "_Sums") -> None:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    def result(self) -> LabelQuality:
        return LabelQuality(
            labels=self.labels,
            true=self.true,
            precision=_ratio(self.right, self.labels),
            recall=_ratio(self.right, self.true),
            matched_iou=_ratio(self.matched_iou, self.matched),
            best_iou=_ratio(self.best_iou, self.labels),
            class_accuracy=_ratio(self.paired_right, self.paired),
        )


@dataclass(kw_only=True)
class PseudoLabelQuality:
    """Both sets, gathered image by image; pickles, and parts of several workers merge."""

    images: int = 0
    _before: _Sums = field(default_factory=_Sums)
    _after: _Sums = field(default_factory=_Sums)

    def add(self, before: Instances, after: Instances, true: Instances) -> None:
        """One image's labels as the teacher gave them, as refined, and the truth; all of one size."""
        self.images += 1
        self._before.add(before, true)
        self._after.add(after, true)

    def merge(self, other: "PseudoLabelQuality") -> None:
        """Take in what another worker has."""
        self.images += other.images
        self._before.merge(other._before)
        self._after.merge(other._after)

    def before(self) -> LabelQuality:
        """Of the teacher's labels."""
        return self._before.result()

    def after(self) -> LabelQuality:
        """Of the refined labels."""
        return self._after.result()

    def figures(self) -> dict[str, float]:
        """By name, as `labels_before/precision`, for a run's metrics; without what there was nothing to measure on."""
        sets = ((metric_names.TEACHER_LABELS, self.before()), (metric_names.REFINED_LABELS, self.after()))
        named = {
            metric_names.part(group, one.name): float(getattr(labels, one.name))
            for group, labels in sets
            for one in fields(labels)
        }
        return {name: value for name, value in named.items() if not math.isnan(value)}


def _in_crowd(labels: Instances, objects: Instances, crowds: Instances) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(N,) labels that lie mostly in a crowd and are no object's: neither right nor wrong."""
    size_hw, counts = labels.size_hw, list(labels.counts)
    inside = rle.iou(counts, list(crowds.counts), size_hw, crowd=[True] * len(crowds)).max(axis=1, initial=0.0)
    own = matching.ious(labels, objects).max(axis=1, initial=0.0)
    return np.asarray((inside >= LEAST_IOU) & (own < LEAST_IOU))


def _ratio(part: float, whole: int) -> float:
    return part / whole if whole else math.nan
