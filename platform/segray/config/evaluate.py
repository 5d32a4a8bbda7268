"""The evaluate job: which student, or which store of a label job, on which images."""

from typing import Annotated, Any, Literal

import pydantic

from segray.config.base import config
from segray.config.sam import Device
from segray.config.uris import StoreUri, Uri
from segray.formats.registry import SourceConfig


@config
class EvaluateConfig:
    """Measure a student, or what a label job left: `segray evaluate CONFIG`."""

    job: Literal["evaluate"]
    """What kind of job this file describes."""
    student: Uri | None = None
    """A student's folder, as a run leaves it (`best`, `last`), or the `promoted/NAME.json` of a folder of runs: what
    `segray promote` made of that name."""
    store: StoreUri | None = None
    """In place of a student, a label job's store: maps are measured by mIoU, objects by AP, masks by recall; on all
    images that are in the store and in `data`. `predict`, `max_images`, `images_per_batch`, `device` play no part."""
    data: SourceConfig
    """Images with masks; their classes are matched by name to the student's, or the store's."""
    predict: dict[str, Any] | None = None
    """Its `predict` table, in place of the one it was trained with; checked when it is known what student it is."""
    out: Uri
    """The folder for `figures.json` and, of a student, `predictions.json` (COCO results)."""
    max_images: Annotated[int, pydantic.Field(ge=1)] | None = None
    """Evenly spread images to measure on; none: all."""
    images_per_batch: Annotated[int, pydantic.Field(ge=1)] = 4
    """Images through the student at once."""
    device: Device = "auto"
    """Where it runs; auto takes CUDA where present."""

    @pydantic.model_validator(mode="after")
    def _one_is_measured(self) -> "EvaluateConfig":
        if (self.student is None) == (self.store is None):
            raise ValueError("give what is to be measured: a student, or a store")
        return self
