"""What the pixels of unlabeled images are taught, and the views in which they are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from segray.losses.cross_entropy import SemanticTargets
from segray.methods.unimatch.perturbation import Factors


@dataclass(frozen=True, kw_only=True, eq=False)
class Stream:
    """One view of the unlabeled images of a piece."""

    name: str
    weight: float
    images: Tensor
    """(B, 3, H, W)."""
    targets: Sequence[SemanticTargets]
    guides: Sequence[SemanticTargets]
    """Zero-shot labels for the further loss; none without it."""
    factors: Sequence[Factors | None]
    """What becomes of each image's feature channels."""
    is_strong: bool = True
    """Whether its images are a strong view."""


@dataclass(frozen=True, kw_only=True, eq=False)
class UnlabeledTargets:
    """What the pixels of B unlabeled canvases are taught; mixing treats all of it alike."""

    labels: Tensor
    """(B, H, W) uint8, 255 where the pixel is taught nothing."""
    guide: Tensor | None
    """(B, H, W) uint8, zero-shot labels for the further loss."""
    inside: Tensor
    """(B, H, W) bool: image, not padding; what losses divide by."""

    def mixed(self, mix: Callable[[Tensor], Tensor]) -> "UnlabeledTargets":
        """Every map through `mix`."""
        guide = None if self.guide is None else mix(self.guide)
        return UnlabeledTargets(labels=mix(self.labels), guide=guide, inside=mix(self.inside))

    def stream(
        self, name: str, weight: float, images: Tensor, factors: Sequence[Factors | None], *, is_strong: bool = True
    ) -> Stream:
        """A view that is taught this."""
        return Stream(
            name=name,
            weight=weight,
            images=images,
            targets=self._targets(self.labels),
            guides=() if self.guide is None else self._targets(self.guide),
            factors=factors,
            is_strong=is_strong,
        )

    def _targets(self, labels: Tensor) -> tuple[SemanticTargets, ...]:
        return tuple(SemanticTargets(labels=one, counted=own) for one, own in zip(labels, self.inside, strict=True))
