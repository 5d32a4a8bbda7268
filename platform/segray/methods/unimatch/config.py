"""UniMatch's own settings (methods.md 5 and 6), and what zero-shot labels add to it (7.4, 7.5)."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import pydantic

from segray.config.base import config
from segray.config.sam import Unit
from segray.config.schedule import AnySchedule, BatchSizes, Schedule
from segray.config.sources import StoreUri
from segray.config.students import SemanticStudentConfig
from segray.config.views import StrongView
from segray.methods import Method

Amount = Annotated[float, pydantic.Field(ge=0)]
Positive = Annotated[float, pydantic.Field(gt=0)]


@config
class CutMix:
    """One rectangle of another image of the group in each strong view (5.2)."""

    share: Unit = 0.5
    """How often a view gets one."""
    min_area: Unit = 0.02
    """Smallest rectangle, as a share of the canvas."""
    max_area: Unit = 0.4
    """Largest."""
    min_aspect: Positive = 0.3
    """Least height over width, each as a share of its side of the canvas; the greatest is its inverse."""

    @pydantic.model_validator(mode="after")
    def _possible(self) -> "CutMix":
        if not 0 < self.min_area <= self.max_area:
            raise ValueError(f"min_area {self.min_area} must be above 0 and not above max_area {self.max_area}")
        if self.min_aspect > 1:
            raise ValueError(f"min_aspect {self.min_aspect} is above 1: its inverse is the greatest aspect")
        return self


@config
class ZeroShot:
    """Labels that a label job made of the unlabeled images, by SAM and CLIP (7.4)."""

    store: StoreUri
    """The store, of the same unlabeled images; its classes are matched to the student's by name."""
    use: Literal["fill", "guide", "only", "relabel"] = "fill"
    """fill: their class where the model is unsure (7.4 F, variant 1; the best on every seed, docs/benchmarks.md).
    guide: an extra loss on them, less and less (SemiVL's schedule, 7.5). only: they are the labels, the model's are not
    asked (variant 3). relabel: a first run with guidance, then a fresh student that learns its labels (variant 2)."""
    min_confidence: Unit = 0.0
    """Masks of a lower score are unknown (7.4 F, c0; SemiVL keeps from 0.9 of CLIP's softmax on)."""
    trust: Amount = 0.1
    """Weight of the extra loss at the start; falls linearly (guide and relabel)."""
    last_trust: Amount = 0.0
    """Weight at the end."""


@config
class UniMatch(Method):
    """UniMatch V1 (arXiv 2208.09910), V2 (arXiv 2410.10777) and FixMatch; with `zero_shot` the labels of SAM and CLIP.

    Where there are no labeled images at all, `data.labeled` may be the store of zero-shot labels itself.
    """

    trains: ClassVar[tuple[type, ...]] = (SemanticStudentConfig,)
    """Kinds of students."""
    kind: Literal["unimatch"] = "unimatch"
    schedule: AnySchedule = Schedule()
    """Of its run; with relabeling of each of the two."""
    streams: Literal["fixmatch", "dual", "v1", "v2"] = "v1"
    """What the student sees of an unlabeled image. fixmatch: one strong view. dual: two. v1: two, and the weak one with
    dropout on its features (5.3). v2: two, with complementary dropout on their features (6.2). None of them: `kind =
    "supervised"`."""
    threshold: Amount = 0.95
    """Confidence from which a pixel's pseudo-label counts (5.4; V1 on Cityscapes 0)."""
    unlabeled_weight: Amount = 1.0
    """Of the unlabeled streams together, against the labeled images' 1 (5.3, 6.4)."""
    ramp: Unit = 0.0
    """Share of the run in which that weight rises to its value in a line. The papers' is there from the start; theirs
    are long runs of pretrained encoders, in short ones the first pseudo-labels are wrong, and are learned."""
    label_smoothing: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.0
    """Share of a pseudo-label that is spread over all classes; 0.1 with zero-shot labels (7.4 G)."""
    feature_dropout: Annotated[float, pydantic.Field(gt=0, lt=1)] = 0.5
    """Share of the channels that v1 drops; v2's complementary masks are always halves."""
    ema_half_life: Amount | None = None
    """Steps after which half of the teacher's weights are new; 0: the student is its own teacher. None: the papers',
    172.9 with the streams v2, a ratio of 0.996 (6.2), which is long for short runs, and 0 with the others."""
    group: Annotated[int, pydantic.Field(ge=2)] = 4
    """Consecutive unlabeled images among which CutMix partners, and the half of them without complementary dropout, are
    drawn. The papers' groups are one GPU's batch; a number of its own keeps the method independent of the number of
    workers."""
    cutmix: CutMix | None = CutMix()
    """How views are mixed; none: not at all."""
    strong: StrongView = StrongView(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.25)
    """Colours of strong views (5.2)."""
    zero_shot: ZeroShot | None = None
    """Labels of SAM and CLIP; none: plain UniMatch."""

    @pydantic.model_validator(mode="after")
    def _fresh_labels(self) -> "UniMatch":
        if self._labels_stay and self.ema_half_life:
            raise ValueError('zero_shot.use "only" asks no teacher: leave out ema_half_life')
        return self

    def batches(self) -> Sequence[BatchSizes]:
        """Its run; with relabeling both."""
        return [BatchSizes(path="method", schedule=self.schedule, group=self.group)]

    @property
    def half_life(self) -> float | None:
        """Of the teacher's weights, in steps; none: there is no teacher."""
        if self.ema_half_life is None and self.streams == "v2" and not self._labels_stay:
            return 172.9
        return self.ema_half_life or None

    @property
    def _labels_stay(self) -> bool:
        return self.zero_shot is not None and self.zero_shot.use == "only"
