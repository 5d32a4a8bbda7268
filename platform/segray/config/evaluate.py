"""The evaluate job: which student, on which images."""

from typing import Annotated, Any, Literal

import pydantic

from segray.config.base import config
from segray.config.sam import Device
from segray.config.sources import Source, Uri


@config
class EvaluateConfig:
    """Measure a student: `segray evaluate CONFIG`."""

    job: Literal["evaluate"]
    """What kind of job this file describes."""
    student: Uri
    """A student's folder, as a run leaves it (`best`, `last`), or the `promoted/NAME.json` of a folder of runs: what
    `segray promote` made of that name."""
    data: Source
    """Images with masks; their classes are matched to the student's by name."""
    predict: dict[str, Any] | None = None
    """Its `predict` table, in place of the one it was trained with; checked when it is known what student it is."""
    out: Uri
    """The folder for `figures.json` and `predictions.json` (COCO results)."""
    max_images: Annotated[int, pydantic.Field(ge=1)] | None = None
    """Evenly spread images to measure on; none: all."""
    images_per_batch: Annotated[int, pydantic.Field(ge=1)] = 4
    """Images through the student at once."""
    device: Device = "auto"
    """Where it runs; auto takes CUDA where present."""
