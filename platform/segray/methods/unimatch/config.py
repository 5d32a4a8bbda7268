"""UniMatch's own settings, and those of zero-shot labels in it.

Constants and their sources are in docs/methods/unimatch.md and docs/methods/zero-shot.md.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import pydantic
from typing_extensions import override

from segray.config.base import config, refuse_without_effect
from segray.config.schedule import AnySchedule, BatchSizes, Schedule
from segray.config.students import SemanticStudentConfig
from segray.config.types import NonNegative, Positive, Share, ShareBelowOne
from segray.config.uris import StoreUri
from segray.config.views import StrongView
from segray.methods import Method


@config
class CutMix:
    """CutMix between images of a group: a rectangle of one image replaces that of another in each strong view
    (docs/methods/unimatch.md#cutmix).
    """

    share: Share = 0.5
    """Probability that a strong view gets a rectangle."""
    min_area: Share = 0.02
    """Smallest area of the rectangle, as a share of the canvas."""
    max_area: Share = 0.4
    """Largest area of the rectangle, as a share of the canvas."""
    min_aspect: Positive = 0.3
    """Smallest ratio of height to width, at most 1, each as a share of the canvas's side; the largest ratio is its
    inverse."""

    @pydantic.model_validator(mode="after")
    def _possible(self) -> "CutMix":
        if not 0 < self.min_area <= self.max_area:
            raise ValueError(f"min_area {self.min_area} must be above 0 and not above max_area {self.max_area}")
        if self.min_aspect > 1:
            raise ValueError(f"min_aspect {self.min_aspect} is above 1: its inverse is the greatest aspect")
        return self


@config
class ZeroShot:
    """Labels that a label job made by SAM and CLIP (docs/methods/zero-shot.md#enhanced-labels)."""

    store: StoreUri
    """Store of a classify job on the same unlabeled images. Its classes are matched by name to the student's."""
    use: Literal["fill", "guide", "only", "relabel"] = "fill"
    """Use of the zero-shot labels. fill: replace pseudo-labels where the model is unsure (best on every seed,
    docs/benchmarks.md). guide: an extra loss that fades (SemiVL's schedule). only: replace all pseudo-labels. relabel:
    guide a first run, then train a fresh student on the labels of its model."""
    min_confidence: Share = 0.0
    """Score below which a mask counts as unknown; SemiVL uses 0.9 of CLIP's softmax."""
    trust: NonNegative = 0.1
    """Weight of the extra loss at the start of the run, from which it falls linearly
    (docs/methods/zero-shot.md#guidance). It can only be given with use = "guide" or "relabel"."""
    last_trust: NonNegative = 0.0
    """Weight of the extra loss at the end of the run. It can only be given with use = "guide" or "relabel"."""

    @pydantic.model_validator(mode="after")
    def _trust_is_used(self) -> "ZeroShot":
        if self.use not in ("guide", "relabel"):
            refuse_without_effect(self, ["trust", "last_trust"], f'use = "{self.use}" has no extra loss')
        return self


@config
class UniMatch(Method):
    """UniMatch V1 (arXiv 2208.09910), V2 (arXiv 2410.10777) and FixMatch; with `zero_shot` the labels of SAM and CLIP.

    Where there are no labeled images at all, `data.labeled` may be the store of zero-shot labels itself.
    """

    trains: ClassVar[tuple[type, ...]] = (SemanticStudentConfig,)
    """Kinds of students that the method trains."""
    kind: Literal["unimatch"] = "unimatch"
    schedule: AnySchedule = Schedule()
    """Steps, batches and optimizer of the run; with zero_shot.use = "relabel", of each of the two runs."""
    streams: Literal["fixmatch", "dual", "v1", "v2"] = "v1"
    """Views of an unlabeled image. fixmatch: one strong view. dual: two strong views. v1: two strong views, and the
    weak one with channel dropout (docs/methods/unimatch.md#v1). v2: two strong views with complementary dropout
    (docs/methods/unimatch.md#v2). To train without unlabeled images use `kind = "supervised"`."""
    threshold: NonNegative = 0.95
    """Smallest confidence at which a pixel's pseudo-label counts; V1 uses 0 on Cityscapes
    (docs/methods/unimatch.md#pseudo-labels)."""
    unlabeled_weight: NonNegative = 1.0
    """Weight of the loss on all unlabeled streams together, relative to the loss on labeled images
    (docs/methods/unimatch.md#losses)."""
    ramp: Share = 0.0
    """Share of the run in which `unlabeled_weight` rises linearly to its value. The papers use full weight from the
    start, in long runs of pretrained encoders; in short runs the student would learn the first, wrong pseudo-labels."""
    label_smoothing: ShareBelowOne = 0.0
    """Share of a pseudo-label that is spread over all classes; presets with zero-shot labels use 0.1
    (docs/methods/zero-shot.md#label-smoothing)."""
    feature_dropout: Annotated[float, pydantic.Field(gt=0, lt=1)] = 0.5
    """Share of channels that the stream v1 drops (docs/methods/unimatch.md#channel-dropout); v2 always drops
    complementary halves."""
    ema_half_life: NonNegative | None = None
    """Number of steps after which half of the teacher's weights come from newer students; with 0 the student is its own
    teacher. The default is the papers': 172.9 steps with streams = "v2", a decay of 0.996 that is long for short runs,
    and 0 with the others (docs/methods/unimatch.md#ema-teacher)."""
    group: Annotated[int, pydantic.Field(ge=2)] = 4
    """Number of consecutive unlabeled images among which CutMix partners, and the half of them without complementary
    dropout, are drawn. The papers' groups are one GPU's batch; a fixed number keeps the method independent of the
    number of workers."""
    cutmix: CutMix | None = CutMix()
    """CutMix of strong views; "none" does not mix them."""
    strong: StrongView = StrongView(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.25)
    """Colour changes of strong views (docs/methods/unimatch.md#strong-views)."""
    zero_shot: ZeroShot | None = None
    """Labels of SAM and CLIP; "none" trains plain UniMatch."""

    @pydantic.model_validator(mode="after")
    def _fresh_labels(self) -> "UniMatch":
        if self._labels_stay and self.ema_half_life:
            raise ValueError('zero_shot.use "only" asks no teacher: leave out ema_half_life')
        return self

    def batches(self) -> Sequence[BatchSizes]:
        """Return the batches of the run; with relabeling, both runs share them."""
        return [BatchSizes(path="method", schedule=self.schedule, group=self.group)]

    @property
    @override
    def keeps_teacher(self) -> bool:
        # The relabeled student learns from a model that no longer moves.
        return self.half_life is not None and (self.zero_shot is None or self.zero_shot.use != "relabel")

    @property
    def half_life(self) -> float | None:
        """Half-life of the teacher's weights, in steps; None where there is no teacher."""
        if self.ema_half_life is None and self.streams == "v2" and not self._labels_stay:
            return 172.9
        return self.ema_half_life or None

    @property
    def _labels_stay(self) -> bool:
        return self.zero_shot is not None and self.zero_shot.use == "only"
