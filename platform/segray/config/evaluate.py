"""The evaluate job: a student or a store, measured on images with known masks."""

from typing import Literal

import pydantic

from segray.config.base import config
from segray.config.students import PackagedStudent
from segray.config.types import ApProtocol, Bands, Count, Share
from segray.config.uris import StoreUri, Uri
from segray.formats.registry import SourceConfig
from segray.tally import MAX_DAMAGED


@config
class MeasuredStudent(PackagedStudent):
    """A student to measure, and its settings for prediction."""

    max_images: Count | None = None
    """Number of images to measure on, evenly spread over `data`; "none" measures on all."""
    images_per_batch: Count = 4
    """Number of images in a forward pass of the student."""


@config
class MeasuredStore:
    """A store to measure: label maps by mIoU, objects by AP, masks without classes by recall.

    All images count that are both in the store and in `data`.
    """

    uri: StoreUri
    """Folder of the store."""


@config
class EvaluateConfig:
    """A job that measures a student, or the labels in a store: `segray evaluate CONFIG`."""

    job: Literal["evaluate"]
    """Kind of job that this file describes."""
    student: MeasuredStudent | None = None
    """Student to measure; give either this or `store`."""
    store: MeasuredStore | None = None
    """Store to measure; give either this or `student`."""
    data: SourceConfig
    """Images with masks. Their classes are matched by name to those of the student or store."""
    bands: Bands | None = None
    """Bands, counted from 1, that are red, green and blue of images with more than four; "none" refuses images that do
    not say it."""
    protocol: ApProtocol = "coco"
    """Protocol of average precision. cityscapes: AP by cityscapesScripts is measured beside COCO's, as `ap_cityscapes`
    (docs/methods/metrics.md#cityscapes-average-precision). It can only be given for instances."""
    max_damaged: Share = MAX_DAMAGED
    """Largest share of damaged images, annotations or files (unreadable, unknown or invalid ones) with which the job
    works; beyond it the command stops with exit status 3. What is left out on purpose, such as crowds and images
    without a label, is never damage."""
    out: Uri
    """Folder for `figures.json` and, for a student, `predictions.json` (COCO results)."""

    @pydantic.model_validator(mode="after")
    def _one_is_measured(self) -> "EvaluateConfig":
        if (self.student is None) == (self.store is None):
            raise ValueError("give what is to be measured: a [student] table, or a [store] table")
        return self
