"""One run of training: how long, how fast, on how much at once, and how a teacher follows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pydantic

from segray.config.base import config
from segray.config.types import Count, NonNegative, Positive, Share, ShareBelowOne, TrainingPrecision


@config
class Ema:
    """The way a teacher follows its student (docs/methods/guided-distillation.md#burn-in)."""

    burn_in: Share = 15_000 / 90_000
    """Share of the run in which the teacher stays as it came; then it becomes the student (Cityscapes; COCO 0.068)."""
    half_life: Positive = 1732.5
    """Steps after which half of the teacher's weights are new; 1732.5 is the papers' decay of 0.9996."""


@config
class Schedule:
    """Steps, batches and the optimizer, here AdamW. Defaults are those of docs/methods/mask2former.md#optimizer."""

    steps: Count = 90_000
    """Updates (Cityscapes; COCO up to 368,750)."""
    labeled_batch: Count = 16
    """Labeled images per step, over all workers."""
    unlabeled_batch: Count = 16
    """Unlabeled images per step, over all workers; unused by runs without them."""
    accumulate: Count = 1
    """Pieces into which a worker cuts its part of a step to save memory; the loss stays the same."""
    learning_rate: Positive = 1e-4
    """Peak rate."""
    backbone_factor: NonNegative = 0.1
    """The backbone's rate as a share of it."""
    weight_decay: NonNegative = 0.05
    """The optimizer's; none on norms, biases and embeddings."""
    clip_norm: Positive = 0.01
    """L2 norm to which the gradient of the whole student is clipped."""
    warmup: Share = 0.0
    """Share of the run in which the rate rises linearly."""
    decay: Literal["poly", "step", "constant"] = "poly"
    """poly: (1 - t) ** 0.9 (Cityscapes). step: tenths at 0.8889 and 0.9630 of the run (COCO). constant: none."""
    precision: TrainingPrecision = "auto"
    """Type in which the student's forward passes and losses are computed. auto: bfloat16 on CUDA, float32 on CPUs.
    bfloat16 is faster on CPUs that have instructions for it (AMX), and slower on others."""


@config
class SgdSchedule(Schedule):
    """The same with SGD: what a schedule is that gives a momentum."""

    momentum: ShareBelowOne
    """Momentum of the gradient; UniMatch V1 uses 0.9 (docs/methods/unimatch.md#v1-schedule)."""


def _optimizer(given: Any) -> str:
    names = given if isinstance(given, Mapping) else vars(given)
    return "sgd" if "momentum" in names else "adamw"


AnySchedule = Annotated[
    Annotated[Schedule, pydantic.Tag("adamw")] | Annotated[SgdSchedule, pydantic.Tag("sgd")],
    pydantic.Discriminator(_optimizer),
]
"""With a momentum SGD, else AdamW."""


@dataclass(frozen=True, kw_only=True)
class BatchSizes:
    """What of one of a method's runs must come out even on any number of workers."""

    path: str
    """Where its schedule stands in the config."""
    schedule: Schedule
    """Its batches."""
    group: int | None = None
    """Unlabeled images that stay together; none: it learns from labels only."""
