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
from segray.methods.s4m.pseudo_labels import TeacherPredictions
from segray.training.augmentation.batch import Batch

PIXELS_AT_ONCE: Final = 2**24
"""Mask pixels that are ever held as floats: 64 MiB."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RefinedLabels:
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
    """Turns a teacher's predictions into labels. Those of an image depend on that image and its key alone."""

    def refine(self, batch: Batch, predictions: Sequence[TeacherPredictions]) -> list[RefinedLabels]:
        """Return the labels of each image, on the predictions' device; those that would cover no pixel are left out.

        Args:
            batch: B weak views, as the teacher saw them; its keys are for draws.
            predictions: the teacher's, of each image.
        """
        ...


class NoRefiner(Refiner):
    """The teacher's masks as they are, up-scaled linearly and then cut at their threshold."""

    @override
    @torch.no_grad()
    def refine(self, batch: Batch, predictions: Sequence[TeacherPredictions]) -> list[RefinedLabels]:
        return [unrefined(*on_canvas(one, view)) for one, view in zip(predictions, batch.views, strict=True)]


@torch.no_grad()
def on_canvas(predictions: TeacherPredictions, view: View) -> tuple[TeacherPredictions, Tensor]:
    """The predictions that cover a pixel of the image, and the teacher's masks of them (N, H, W) bool."""
    height, width = view.canvas_hw
    masks = predictions.logits.new_empty((len(predictions), height, width), dtype=torch.bool)
    for part in parts(len(predictions), height * width):
        logits = F.interpolate(predictions.logits[part, None], view.canvas_hw, mode="bilinear", align_corners=False)
        masks[part] = logits[:, 0] > predictions.threshold
    clear_padding(masks, view)
    seen = masks.any(dim=2).any(dim=1)
    return predictions.filter(seen), masks[seen]


def unrefined(predictions: TeacherPredictions, teacher: Tensor) -> RefinedLabels:
    """Labels with the teacher's masks (N, H, W)."""
    return RefinedLabels(
        classes=predictions.classes,
        scores=predictions.scores,
        masks=teacher,
        replaced=torch.zeros_like(predictions.classes, dtype=torch.bool),
        iou_with_teacher=torch.ones_like(predictions.scores),
        predicted_iou=torch.full_like(predictions.scores, torch.nan),
    )


def replace_masks(
    predictions: TeacherPredictions,
    teacher: Tensor,
    offered: Tensor,
    *,
    predicted_iou: Tensor,
    accepted: Tensor,
    min_iou: float,
) -> RefinedLabels:
    """Labels with the offered masks (N, H, W) that are accepted, not empty and near enough to the teacher's."""
    union = (teacher | offered).sum(dim=(1, 2))
    iou = (teacher & offered).sum(dim=(1, 2)) / union
    replaced = accepted & (iou >= min_iou) & offered.any(dim=2).any(dim=1)
    return RefinedLabels(
        classes=predictions.classes,
        scores=predictions.scores,
        masks=torch.where(replaced[:, None, None], offered, teacher),
        replaced=replaced,
        iou_with_teacher=torch.where(replaced, iou, 1.0).to(predictions.scores.dtype),
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
