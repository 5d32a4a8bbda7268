"""Settings of one run of training: steps, batches, optimizer, and the teacher's moving average."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pydantic

from segray.config.base import config
from segray.config.types import Count, NonNegative, Positive, Share, ShareBelowOne, TrainingPrecision


@config
class Ema:
    """Settings by which a teacher follows its student (docs/methods/guided-distillation.md#burn-in)."""

    burn_in: Share = 15_000 / 90_000
    """Share of the run in which the teacher stays as it was loaded; at its end the teacher becomes a copy of the
    student. The default is the paper's on Cityscapes; on COCO it is 0.068."""
    half_life: Positive = 1732.5
    """Number of steps after which half of the teacher's weights come from newer students. The default is the papers'
    decay of 0.9996 per step."""


@config
class Schedule:
    """Steps, batches and the AdamW optimizer of a training run (docs/methods/mask2former.md#optimizer)."""

    steps: Count = 90_000
    """Number of training steps. The default is the paper's on Cityscapes; on COCO it is up to 368,750."""
    labeled_batch: Count = 16
    """Number of labeled images in a step, summed over all workers."""
    unlabeled_batch: Count = 16
    """Number of unlabeled images in a step, summed over all workers. It can only be given for runs that learn from
    unlabeled images."""
    repeat_threshold: NonNegative = 0.0
    """Share of the labeled images below which a class is rare: images with it are shown more often, by LVIS' repeat
    factors (docs/methods/guided-distillation.md#repeat-factors). 0 shows every image once in each epoch;
    GuidedDistillation's second stage has 10."""
    accumulate: Count = 1
    """Number of pieces into which a worker divides its part of a step, to save memory. The loss stays the same."""
    learning_rate: Positive = 1e-4
    """Peak learning rate."""
    backbone_factor: NonNegative = 0.1
    """Factor by which the backbone's learning rate differs from `learning_rate`."""
    weight_decay: NonNegative = 0.05
    """Weight decay of the optimizer."""
    decayed: Literal["matrices", "no-norms", "all"] = "matrices"
    """Parameters on which `weight_decay` acts. matrices: none of one dimension (norms, biases), no embeddings.
    no-norms: all but norms and embeddings, as in the code of Mask2Former. all: every one, as in UniMatch."""
    clip_norm: Positive = 0.01
    """Largest L2 norm of the gradient of the whole student; a larger gradient is scaled down to it."""
    warmup: Share = 0.0
    """Share of the run in which the learning rate rises linearly from 0."""
    decay: Literal["poly", "step", "constant"] = "poly"
    """Decay of the learning rate over the share t of the run. poly: by (1 - t) ** 0.9 (Cityscapes). step: to a tenth at
    0.8889 and again at 0.9630 of the run (COCO). constant: no decay."""
    precision: TrainingPrecision = "auto"
    """Type in which the student's forward passes and losses are computed. auto: bfloat16 on CUDA, float32 on CPUs. On
    CPUs bfloat16 is faster only with instructions for it (AMX), and slower elsewhere."""


@config
class SgdSchedule(Schedule):
    """Steps, batches and the SGD optimizer of a training run; a schedule with a momentum is of this kind."""

    momentum: ShareBelowOne
    """Momentum of SGD; UniMatch V1 uses 0.9 (docs/methods/unimatch.md#v1-schedule)."""


def _optimizer(given: Any) -> str:
    names = given if isinstance(given, Mapping) else getattr(given, "__dict__", {})
    return "sgd" if "momentum" in names else "adamw"


AnySchedule = Annotated[
    Annotated[Schedule, pydantic.Tag("adamw")] | Annotated[SgdSchedule, pydantic.Tag("sgd")],
    pydantic.Discriminator(_optimizer),
]
"""A schedule with SGD where a momentum is given, else with AdamW."""


@dataclass(frozen=True, kw_only=True)
class BatchSizes:
    """Batches of one of a method's runs, which must divide evenly among any number of workers."""

    path: str
    """Dotted path in the config of the table that holds the schedule."""
    schedule: Schedule
    """Schedule of the run, with its batch sizes."""
    group: int | None = None
    """Number of unlabeled images that stay together; None for a run that learns from labels only."""
