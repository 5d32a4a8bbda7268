"""S4M's own settings; constants and their sources are in docs/methods/s4m.md.

The defaults are the papers' values, made scale-free: areas are shares of the canvas, the teacher's average a half-life
in steps, burn-in a share of the run.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import pydantic
from typing_extensions import override

from segray.config.base import config, refuse_without_effect
from segray.config.model_kinds import SamConfig
from segray.config.sam import OriginalSamConfig
from segray.config.schedule import BatchSizes, Ema, Schedule
from segray.config.students import InstanceStudentConfig
from segray.config.types import Count, Positive, Share
from segray.config.uris import StoreUri
from segray.config.views import StrongView
from segray.methods import Method


@config
class StructuralDistillation:
    """Distillation of SAM's structure into the teacher, in stage 1 (docs/methods/s4m.md#structural-distillation)."""

    weight: Positive = 1.0
    """Weight of the distillation loss. The default is the published code's."""
    num_points: Annotated[int, pydantic.Field(ge=2)] = 128
    """Number of query points per image, half from the labeled masks and half from the whole image
    (docs/methods/s4m.md#query-points)."""


@config
class PseudoLabels:
    """Filter that turns the teacher's queries into labels (docs/methods/guided-distillation.md#pseudo-labels)."""

    score_threshold: Share = 0.7
    """Smallest class probability of a pseudo-label."""
    min_soft_area: Share = 5 / (128 * 256)
    """Smallest sum of mask probabilities of a pseudo-label, as a share of the canvas. The default is 5 cells of
    Cityscapes' 128 x 256."""
    mask_threshold: Share = 0.5
    """Mask probability above which a pixel belongs to the mask."""
    max_overlap: Share = 1.0
    """Largest mask IoU with a pseudo-label of higher score, of any class; a label that overlaps more is dropped. 1
    keeps all, as the papers do."""


@config
class PointRefinement:
    """Masks by SAM from points inside the teacher's masks (docs/methods/s4m.md#refinement). Its gates are off by
    default.
    """

    kind: Literal["points"] = "points"
    num_points: Count = 3
    """Number of different points that prompt SAM together, the published code's K
    (docs/methods/s4m.md#prompt-points)."""
    distribution: Literal["probability", "softmax"] = "probability"
    """Distribution from which the points are drawn. probability: the paper's, by mask probability inside the mask.
    softmax: the published code's, over all logits."""
    box: bool = False
    """Prompt SAM with the mask's box as well (docs/methods/s4m.md#gates)."""
    min_teacher_iou: Share = 0.0
    """IoU with the teacher's mask below which SAM's mask is rejected (docs/methods/s4m.md#gates); 0 accepts every mask,
    as published."""
    min_predicted_iou: Share = 0.0
    """IoU predicted by SAM below which its mask is rejected (docs/methods/s4m.md#gates); 0 accepts every mask, as
    published."""


@config
class CachedRefinement:
    """Masks from the store of a label job: the automatic mask that overlaps the teacher's most replaces it, with no SAM
    in training (docs/methods/s4m.md#cached-refinement).
    """

    kind: Literal["cached"] = "cached"
    store: StoreUri
    """Store of a label job on the same unlabeled images."""
    min_iou: Share = 0.5
    """Smallest IoU of an automatic mask with the teacher's mask to replace it."""


Refinement = Annotated[PointRefinement | CachedRefinement, pydantic.Field(discriminator="kind")]


@config
class Arp:
    """Augmentation with refined pseudo-labels: instances move between pairs of images (docs/methods/s4m.md#arp)."""

    mode: Literal["static", "dynamic"] = "dynamic"
    """Placement of pasted instances. static: place and size stay (the paper's choice on Cityscapes). dynamic: both are
    drawn at random (its choice on COCO)."""
    min_area: Share = 3000 / 1024**2
    """Smallest area of a pasted instance, as a share of the canvas. The default is 3,000 pixels of COCO's 1024 x
    1024."""
    min_scale: Positive = 0.8
    """Smallest resize factor of an instance. It can only be given with mode = "dynamic"."""
    max_scale: Positive = 1.2
    """Largest resize factor of an instance. It can only be given with mode = "dynamic"."""
    group: Annotated[int, pydantic.Field(ge=3)] = 4
    """Number of images among which max(1, group // 4) pairs are drawn. The papers' groups are one GPU's batch (4 and
    3); a fixed number keeps the method independent of the number of workers."""

    @pydantic.model_validator(mode="after")
    def _scales_are_drawn(self) -> "Arp":
        if self.mode == "static":
            refuse_without_effect(self, ["min_scale", "max_scale"], 'mode = "static" keeps the size of instances')
        return self


@config
class TeacherRun:
    """Stage 1, in which the teacher learns from labels only (docs/methods/s4m.md#stages)."""

    schedule: Schedule = Schedule()
    """Steps, batches and optimizer of stage 1."""
    distillation: StructuralDistillation | None = StructuralDistillation()
    """Distillation of SAM's structure; "none" trains GuidedDistillation's plain teacher."""


@config
class StudentRun:
    """Stage 2, in which the student learns from labels and pseudo-labels (docs/methods/s4m.md#stages)."""

    schedule: Schedule = Schedule()
    """Steps, batches and optimizer of stage 2."""
    pseudo_labels: PseudoLabels = PseudoLabels()
    """Filter that turns the teacher's queries into pseudo-labels."""
    refinement: Refinement | None = PointRefinement()
    """Refinement of the pseudo-labels' masks by SAM; "none" keeps the teacher's masks, as in GuidedDistillation."""
    arp: Arp | None = Arp()
    """Augmentation that mixes unlabeled images; "none" does not mix them."""
    target_stride: Count = 4
    """Side in pixels of a cell of the target masks (docs/methods/s4m.md#target-grid). With the papers' 4, an object on
    a canvas of 128 pixels is only a few cells wide."""
    target_pixel: Literal["middle", "first"] = "middle"
    """Pixel of a cell whose mask is the cell's: the middle one, or the upper left one, as in the published code."""
    strong: StrongView = StrongView()
    """Colour changes of unlabeled images (docs/methods/guided-distillation.md#strong-view)."""
    unlabeled_weight: Positive = 2.0
    """Weight of the loss on pseudo-labels (docs/methods/guided-distillation.md#losses)."""
    ema: Ema = Ema()
    """Settings by which the teacher follows the student."""


@config
class S4M(Method):
    """S4M (arXiv 2504.05301); without distillation, refinement and ARP it is GuidedDistillation (arXiv 2308.02668)."""

    trains: ClassVar[tuple[type, ...]] = (InstanceStudentConfig,)
    """Kinds of students that the method trains."""
    kind: Literal["s4m"] = "s4m"
    sam: SamConfig = OriginalSamConfig()
    """Frozen SAM that refines and distills, stored in no checkpoint. The paper's is SAM 2 Hiera-Large."""
    teacher: TeacherRun = TeacherRun()
    """Stage 1: the teacher's training on labels."""
    student: StudentRun = StudentRun()
    """Stage 2: the student's training on labels and pseudo-labels."""

    @property
    @override
    def keeps_teacher(self) -> bool:
        return True

    def batches(self) -> Sequence[BatchSizes]:
        """Return the batches of both runs."""
        arp = self.student.arp
        return [
            BatchSizes(path="method.teacher", schedule=self.teacher.schedule),
            BatchSizes(path="method.student", schedule=self.student.schedule, group=arp.group if arp else 1),
        ]
