"""What every refiner takes and gives, the rule by which a mask is replaced, and the refiner that replaces none.

Knows canvases and masks on them. Does not know where better masks come from.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from segray.masks.view import View
from segray.methods.s4m.pseudo_labels import Guesses
from segray.training.views.batch import Batch

PIXELS_AT_ONCE: Final = 2**24
"""Mask pixels that are ever held as floats: 64 MiB."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Refined:
    """N labels of one image; no mask is empty, and none holds padding."""

    classes: Tensor
    """(N,) int64."""
    scores: Tensor
    """(N,) the teacher's class probability."""
    masks: Tensor
    """(N, H, W) bool, pixels of the canvas."""
    replaced: Tensor
    """(N,) bool, whether the mask is not the teacher's."""
    iou_with_teacher: Tensor
    """(N,) between the mask and the teacher's; 1 where it is the teacher's."""
    predicted_iou: Tensor
    """(N,) SAM's score of the mask it offered, taken or not; NaN where it offered none."""

    def __len__(self) -> int:
        return len(self.classes)


class Refiner(Protocol):
    """Guesses to labels, image by image. What it gives for an image depends on that image and its key alone."""

    def refine(self, batch: Batch, guesses: Sequence[Guesses]) -> list[Refined]:
        """Return the labels of each image, on the guesses' device, without guesses that cover no pixel of the image.

        Args:
            batch: B weak views, as the teacher saw them; its keys are for draws.
            guesses: the teacher's, of each image.
        """
        ...


class NoRefiner(Refiner):
    """The teacher's masks as they are, up-scaled linearly and then cut at their threshold."""

    @override
    @torch.no_grad()
    def refine(self, batch: Batch, guesses: Sequence[Guesses]) -> list[Refined]:
        return [unrefined(*on_canvas(one, view)) for one, view in zip(guesses, batch.views, strict=True)]


@torch.no_grad()
def on_canvas(guesses: Guesses, view: View) -> tuple[Guesses, Tensor]:
    """The guesses that cover a pixel of the image, and the teacher's masks of them (N, H, W) bool."""
    height, width = view.canvas_hw
    masks = guesses.logits.new_empty((len(guesses), height, width), dtype=torch.bool)
    for part in parts(len(guesses), height * width):
        logits = F.interpolate(guesses.logits[part, None], view.canvas_hw, mode="bilinear", align_corners=False)
        masks[part] = logits[:, 0] > guesses.threshold
    clear_padding(masks, view)
    seen = masks.any(dim=2).any(dim=1)
    return guesses.filter(seen), masks[seen]


def unrefined(guesses: Guesses, teacher: Tensor) -> Refined:
    """Labels with the teacher's masks (N, H, W)."""
    return Refined(
        classes=guesses.classes,
        scores=guesses.scores,
        masks=teacher,
        replaced=torch.zeros_like(guesses.classes, dtype=torch.bool),
        iou_with_teacher=torch.ones_like(guesses.scores),
        predicted_iou=torch.full_like(guesses.scores, torch.nan),
    )


def replace_masks(
    guesses: Guesses, teacher: Tensor, offered: Tensor, *, predicted_iou: Tensor, accepted: Tensor, min_iou: float
) -> Refined:
    """Labels with the offered masks (N, H, W) that are accepted, not empty and near enough to the teacher's."""
    union = (teacher | offered).sum(dim=(1, 2))
    iou = (teacher & offered).sum(dim=(1, 2)) / union
    replaced = accepted & (iou >= min_iou) & offered.any(dim=2).any(dim=1)
    return Refined(
        classes=guesses.classes,
        scores=guesses.scores,
        masks=torch.where(replaced[:, None, None], offered, teacher),
        replaced=replaced,
        iou_with_teacher=torch.where(replaced, iou, 1.0).to(guesses.scores.dtype),
        predicted_iou=predicted_iou,
    )


def clear_padding(masks: Tensor, view: View) -> None:
    """Take out of masks (..., H, W), in place, what lies outside the image."""
    rows, columns = view.valid_hw
    masks[..., rows:, :] = False
    masks[..., columns:] = False


def parts(number: int, pixels: int) -> Iterator[slice]:
    """Slices of range(number) of masks, `pixels` each, that may be floats at once."""
    step = max(1, PIXELS_AT_ONCE // pixels)
    return (slice(start, min(start + step, number)) for start in range(0, number, step))
