"""Settings of the predict job. Imports no torch."""

from typing import Literal

import pydantic

from segray.config.base import config, refuse_without_effect
from segray.config.label import SamWorkers, StageJob, require_gpus
from segray.config.model_kinds import SamConfig
from segray.config.sam import OriginalSamConfig
from segray.config.students import PackagedStudent
from segray.config.types import Precision, Share
from segray.formats.registry import SourceConfig


@config
class LabelingStudent(PackagedStudent):
    """A student that labels, and its settings for prediction."""

    precision: Precision = "float32"
    """Type in which the student computes; bfloat16 and float16 need CUDA."""
    compile: bool = False
    """Compile the student by `torch.compile`; needs CUDA."""


@config
class Sharpening:
    """Masks drawn again by SAM, from the box of each mask and the point farthest inside it. Where SAM's mask and the
    student's do not agree, the student's stays and is marked for review.
    """

    sam: SamConfig = OriginalSamConfig()
    """Segment Anything model that draws the masks."""
    min_agreement: Share = 0.7
    """Smallest IoU of both masks with which SAM's is taken."""
    multimask: bool = False
    """Decode three masks for each prompt and take the one with the best predicted IoU."""


@config
class PredictConfig(StageJob):
    """A job that labels images with a trained student: instances, or label maps."""

    job: Literal["predict"]
    """Kind of job that this file describes."""
    source: SourceConfig
    """Images to label."""
    student: LabelingStudent
    """Student that finds the masks. Large images go tile by tile where its `predict` table says so: `tiles` of
    instance students, `window` of semantic ones."""
    score_threshold: Share = 0.5
    """Score below which an instance is left out of the store; 0 keeps all, as measuring AP needs. Label maps are kept
    whole."""
    sharpen: Sharpening | None = None
    """Sharper masks by SAM, for instance students; "none" keeps the student's masks."""
    workers: SamWorkers = SamWorkers()
    """Workers that label, and the resources each reserves."""

    @property
    def images(self) -> SourceConfig:
        """Return the source."""
        return self.source

    @pydantic.model_validator(mode="after")
    def _workers_suit(self) -> "PredictConfig":
        require_gpus(self.student, self.workers, "student")
        if self.sharpen is None:
            refuse_without_effect(self.workers, ["points_per_batch"], "sharpen = none prompts no SAM", "workers")
        else:
            require_gpus(self.sharpen.sam, self.workers, "sharpen.sam")
        return self
