"""S4M's own settings; sections are those of methods.md.

The defaults are the papers' values, made scale-free: areas are shares of the canvas, the teacher's average a half-life
in steps, burn-in a share of the run.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import pydantic

from segray.config.base import config
from segray.config.registry import SamConfig
from segray.config.sam import OriginalSamConfig, Unit
from segray.config.schedule import BatchSizes, Ema, Schedule
from segray.config.sources import StoreUri
from segray.config.students import InstanceStudentConfig
from segray.config.views import StrongView
from segray.methods import Method

Count = Annotated[int, pydantic.Field(ge=1)]
Positive = Annotated[float, pydantic.Field(gt=0)]


@config
class StructuralDistillation:
    """Stage 1: SAM's structure for the teacher (4.1)."""

    weight: Positive = 1.0
    """Of the distillation loss (4.1)."""
    num_points: Annotated[int, pydantic.Field(ge=2)] = 128
    """Query points per image; half from the labeled masks, half from the whole image (4.1 item 1)."""


@config
class PseudoLabels:
    """Which of the teacher's queries become labels (3.2)."""

    score_threshold: Unit = 0.7
    """Least class probability (3.2)."""
    min_soft_area: Unit = 5 / (128 * 256)
    """Least sum of mask probabilities as a share of the canvas; 5 cells of Cityscapes' 128 x 256 (3.2)."""
    mask_threshold: Unit = 0.5
    """Mask probability above which a pixel is inside (3.2)."""
    max_overlap: Unit = 1.0
    """A label goes whose mask has a greater IoU with a surer one's, of any class; 1 keeps all, as the papers do."""


@config
class PointRefinement:
    """Masks by SAM from points drawn inside the teacher's masks (4.3); options of 4.8 are off."""

    kind: Literal["points"] = "points"
    num_points: Count = 3
    """Points that prompt together, different ones (4.3 item 1, K)."""
    distribution: Literal["probability", "softmax"] = "probability"
    """probability: the paper's, mask probability inside the mask; softmax: the code's, over all logits (4.7.7)."""
    box: bool = False
    """Prompt with the mask's box too (4.8)."""
    min_teacher_iou: Unit = 0.0
    """Keep the teacher's mask where SAM's overlaps it less; 0 always takes SAM's (4.3, 4.8)."""
    min_predicted_iou: Unit = 0.0
    """Keep the teacher's mask where SAM itself predicts less; 0 always takes SAM's (4.3, 4.8)."""


@config
class CachedRefinement:
    """Masks from a label job's store: the automatic mask that overlaps the teacher's most. No SAM in training."""

    kind: Literal["cached"] = "cached"
    store: StoreUri
    """The store, of the same unlabeled images."""
    min_iou: Unit = 0.5
    """Keep the teacher's mask where no automatic mask overlaps it this much."""


Refinement = Annotated[PointRefinement | CachedRefinement, pydantic.Field(discriminator="kind")]


@config
class Arp:
    """Augmentation with refined pseudo-labels: instances pasted between pairs of images (4.4)."""

    mode: Literal["static", "dynamic"] = "dynamic"
    """static keeps place and size (the paper's choice on Cityscapes); dynamic draws both anew (COCO)."""
    min_area: Unit = 3000 / 1024**2
    """Least area of what is pasted, as a share of the canvas: 3,000 px of COCO's 1024 x 1024 (4.4 item 2)."""
    min_scale: Positive = 0.8
    """Smallest resize of an instance, dynamic (4.4 item 3)."""
    max_scale: Positive = 1.2
    """Largest resize, dynamic (4.4 item 3)."""
    group: Annotated[int, pydantic.Field(ge=3)] = 4
    """Images among which pairs are drawn: max(1, group // 4) of them. The papers' groups are one GPU's batch (4 and 3,
    4.2); a number of its own keeps the method independent of the number of workers."""


@config
class TeacherRun:
    """Stage 1: labels only (4.1)."""

    schedule: Schedule = Schedule()
    """Its run."""
    distillation: StructuralDistillation | None = StructuralDistillation()
    """SAM's structure; none: GuidedDistillation's plain teacher (3.1)."""


@config
class StudentRun:
    """Stage 2: labels and pseudo-labels (4.2)."""

    schedule: Schedule = Schedule()
    """Its run."""
    pseudo_labels: PseudoLabels = PseudoLabels()
    """Which labels the teacher gives."""
    refinement: Refinement | None = PointRefinement()
    """How their masks are made better; none: GuidedDistillation."""
    arp: Arp | None = Arp()
    """How images are mixed; none: not at all."""
    target_stride: Count = 4
    """Pixels per cell of the masks that become targets (4.3 item 5). On the papers' canvases an object is many cells
    of 4; on one of 128 px it would be a few."""
    strong: StrongView = StrongView()
    """What the student sees of unlabeled images (3.4)."""
    unlabeled_weight: Positive = 2.0
    """Of the loss on pseudo-labels (3.3)."""
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
