"""The loss of semantic students: cross-entropy per pixel, divided by the number of known pixels.

255 is no class: it teaches nothing and is not counted. Smoothing and hard-pixel mining (OHEM) stay outside of it. Knows
logits and label maps. Computes in float32 whatever autocast says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from segray.losses.criterion import Targets
from segray.masks.semantic import UNKNOWN


class HardPixels(Protocol):
    """Which pixels teach, where only hard ones do (`config.students.Ohem`)."""

    @property
    def threshold(self) -> float:
        """Probability of the true class up to which a pixel is hard."""

    @property
    def min_kept(self) -> int:
        """Number of a group's known pixels, the hardest, that teach however easy they are."""

    @property
    def group(self) -> int:
        """Number of consecutive images among which the hardest pixels are chosen."""


class CrossEntropySettings(Protocol):
    """Settings of the loss (`config.students.CrossEntropy`)."""

    @property
    def label_smoothing(self) -> float:
        """Share of a label that is spread over all classes."""

    @property
    def ohem(self) -> HardPixels | None:
        """Which pixels are hard; None lets all pixels teach."""


class SemanticLogits(Protocol):
    """What B images' pixels say."""

    @property
    def logits(self) -> Tensor:
        """(B, K, h, w), over the canvas."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class SemanticTargets:
    """What one image's pixels are taught, and which of them the loss divides by."""

    labels: Tensor
    """(H, W) uint8: class ids; 255 teaches nothing."""
    counted: Tensor | None = None
    """(H, W) bool; None counts the pixels with a label. A pixel without a confident pseudo-label counts too, or the
    loss would grow as confidence falls (docs/methods/unimatch.md#losses)."""


AnyTargets = Targets | SemanticTargets
"""Masks that do not overlap are a label map too: what none of them covers is 255."""


@dataclass(frozen=True, kw_only=True)
class SemanticCriterion:
    """A `Criterion` over label maps. The loss: "ce"."""

    settings: CrossEntropySettings
    align_corners: bool = False
    """Whether logits are resized with aligned corners."""

    def count(self, targets: Sequence[AnyTargets]) -> Tensor:
        """(1,): number of counted pixels."""
        return torch.stack([_counted(one).sum() for one in targets]).sum().float()[None]

    def full_size(self, logits: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """(B, K, H, W) float32: logits (B, K, h, w) at the size of the labels."""
        return F.interpolate(logits.float(), size=size_hw, mode="bilinear", align_corners=self.align_corners)

    def __call__(
        self, output: SemanticLogits, targets: Sequence[AnyTargets], *, keys: Sequence[int], count: Tensor
    ) -> dict[str, Tensor]:
        """See `Criterion`. Nothing is drawn."""
        del keys
        labels = torch.stack([label_map(one) for one in targets]).long()
        with torch.autocast(count.device.type, enabled=False):
            logits = self.full_size(output.logits, (labels.shape[1], labels.shape[2]))
            losses = F.cross_entropy(
                logits,
                labels,
                ignore_index=UNKNOWN,
                reduction="none",
                label_smoothing=self.settings.label_smoothing,
            )
            if self.settings.ohem is not None:
                losses = losses * _hard_shares(logits.detach(), labels, self.settings.ohem)
            return {"ce": losses.sum() / count[0].clamp(min=1)}


def label_map(targets: AnyTargets) -> Tensor:
    """(H, W) uint8, 255 where nothing is taught."""
    if isinstance(targets, SemanticTargets):
        return targets.labels
    labels = torch.full(targets.masks.shape[1:], UNKNOWN, dtype=torch.uint8, device=targets.masks.device)
    for mask, class_id in zip(targets.masks, targets.classes.tolist(), strict=True):
        labels[mask] = class_id
    return labels


def _counted(targets: AnyTargets) -> Tensor:
    if isinstance(targets, SemanticTargets) and targets.counted is not None:
        return targets.counted
    return label_map(targets) != UNKNOWN


@torch.no_grad()
def _hard_shares(logits: Tensor, labels: Tensor, settings: HardPixels) -> Tensor:
    """(B, H, W): 0 for easy pixels, number of known over number of hard ones of their group for hard ones.

    A group's sum over hard pixels so becomes their mean times its known pixels: the mean over hard pixels of the
    published code, where a group is the batch of a GPU.
    """
    known = labels != UNKNOWN
    chance = logits.softmax(1).gather(1, labels.where(known, 0)[:, None])[:, 0]
    weights = torch.zeros_like(chance)
    groups = (torch.split(one, settings.group) for one in (weights, chance, known))
    for weight, own, inside in zip(*groups, strict=True):
        number = int(inside.sum())
        kept = min(settings.min_kept, number)
        bound = own[inside].kthvalue(kept).values.clamp(min=settings.threshold) if kept else settings.threshold
        hard = inside & (own <= bound)
        weight[hard] = number / hard.sum().clamp(min=1)
    return weights
