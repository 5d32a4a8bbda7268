"""S4M's own settings; constants and their sources are in docs/methods/s4m.md.

The defaults are the papers' values, made scale-free: areas are shares of the canvas, the teacher's average a half-life
in steps, burn-in a share of the run.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import pydantic

from segray.config.base import config
from segray.config.registry import SamConfig
from segray.config.sam import OriginalSamConfig
from segray.config.schedule import BatchSizes, Ema, Schedule
from segray.config.students import InstanceStudentConfig
from segray.config.types import Count, Positive, Share
from segray.config.uris import StoreUri
from segray.config.views import StrongView
from segray.methods import Method


@config
class StructuralDistillation:
    """Stage 1: SAM's structure for the teacher (docs/methods/s4m.md#structural-distillation)."""

    weight: Positive = 1.0
    """Weight of the distillation loss; the code's value."""
    num_points: Annotated[int, pydantic.Field(ge=2)] = 128
    """Query points per image: half from the labeled masks, half from the whole image
    (docs/methods/s4m.md#query-points)."""


@config
class PseudoLabels:
    """The filter that turns the teacher's queries into labels (docs/methods/guided-distillation.md#pseudo-labels)."""

    score_threshold: Share = 0.7
    """Smallest class probability of a label."""
    min_soft_area: Share = 5 / (128 * 256)
    """Smallest sum of mask probabilities as a share of the canvas; the default is 5 cells of Cityscapes' 128 x 256."""
    mask_threshold: Share = 0.5
    """Mask probability above which a pixel is inside."""
    max_overlap: Share = 1.0
    """A label goes whose mask has a greater IoU with a surer one's, of any class; 1 keeps all, as the papers do."""


@config
class PointRefinement:
    """Masks by SAM from points inside the teacher's masks (docs/methods/s4m.md#refinement); gates are off."""

    kind: Literal["points"] = "points"
    num_points: Count = 3
    """Number of different points that prompt SAM together, the code's K (docs/methods/s4m.md#prompt-points)."""
    distribution: Literal["probability", "softmax"] = "probability"
    """Distribution of the points. probability: the paper's, mask probability inside the mask. softmax: the code's, over
    all logits."""
    box: bool = False
    """Prompt with the mask's box as well (docs/methods/s4m.md#gates)."""
    min_teacher_iou: Share = 0.0
    """IoU with the teacher's mask below which SAM's is rejected; 0, as published, always takes SAM's."""
    min_predicted_iou: Share = 0.0
    """IoU predicted by SAM below which its mask is rejected; 0, as published, always takes SAM's."""


@config
class CachedRefinement:
    """Masks from a label job's store: the automatic mask that overlaps the teacher's most. No SAM in training."""

    kind: Literal["cached"] = "cached"
    store: StoreUri
    """The store, of the same unlabeled images."""
    min_iou: Share = 0.5
    """Keep the teacher's mask where no automatic mask overlaps it this much."""


Refinement = Annotated[PointRefinement | CachedRefinement, pydantic.Field(discriminator="kind")]


@config
class Arp:
    """Augmentation with refined pseudo-labels: instances move between pairs of images (docs/methods/s4m.md#arp)."""

    mode: Literal["static", "dynamic"] = "dynamic"
    """static keeps place and size (the paper's choice on Cityscapes); dynamic draws both anew (COCO)."""
    min_area: Share = 3000 / 1024**2
    """Smallest area of a pasted instance as a share of the canvas; the default is 3,000 px of COCO's 1024 x 1024."""
    min_scale: Positive = 0.8
    """Smallest resize factor of an instance in dynamic mode."""
    max_scale: Positive = 1.2
    """Largest resize factor of an instance in dynamic mode."""
    group: Annotated[int, pydantic.Field(ge=3)] = 4
    """Images among which pairs are drawn: max(1, group // 4) of them. The papers' groups are one GPU's batch (4 and 3);
    a setting keeps the method independent of the number of workers."""


@config
class TeacherRun:
    """Stage 1, which learns from labels only (docs/methods/s4m.md#stages)."""

    schedule: Schedule = Schedule()
    """Its run."""
    distillation: StructuralDistillation | None = StructuralDistillation()
    """Distillation of SAM's structure; without it, GuidedDistillation's plain teacher."""


@config
class StudentRun:
    """Stage 2, which learns from labels and pseudo-labels (docs/methods/s4m.md#stages)."""

    schedule: Schedule = Schedule()
    """Its run."""
    pseudo_labels: PseudoLabels = PseudoLabels()
    """Which labels the teacher gives."""
    refinement: Refinement | None = PointRefinement()
    """How their masks are made better; none: GuidedDistillation."""
    arp: Arp | None = Arp()
    """How images are mixed; none: not at all."""
    target_stride: Count = 4
    """Pixels per cell of the target masks (docs/methods/s4m.md#target-grid). With the papers' 4, an object on a canvas
    of 128 px is only a few cells."""
    strong: StrongView = StrongView()
    """Colour changes of unlabeled images (docs/methods/guided-distillation.md#strong-view)."""
    unlabeled_weight: Positive = 2.0
    """Weight of the loss on pseudo-labels (docs/methods/guided-distillation.md#losses)."""
    ema: Ema = Ema()
    """How the teacher follows."""


@config
class S4M(Method):
    """S4M (arXiv 2504.05301); without distillation, refinement and ARP it is GuidedDistillation (arXiv 2308.02668)."""

    trains: ClassVar[tuple[type, ...]] = (InstanceStudentConfig,)
    """Kinds of students."""
    kind: Literal["s4m"] = "s4m"
    sam: SamConfig = OriginalSamConfig()
    """The model that refines and distills; frozen, in no checkpoint. The paper's is SAM 2 Hiera-Large."""
    teacher: TeacherRun = TeacherRun()
    """Stage 1."""
    student: StudentRun = StudentRun()
    """Stage 2."""

    def batches(self) -> Sequence[BatchSizes]:
        """Both runs."""
        arp = self.student.arp
        return [
            BatchSizes(path="method.teacher", schedule=self.teacher.schedule),
            BatchSizes(path="method.student", schedule=self.student.schedule, group=arp.group if arp else 1),
        ]
