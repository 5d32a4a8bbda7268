from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from segray.masks.view import View
from segray.methods.s4m.pseudo_labels import TeacherPredictions
from segray.methods.s4m.refine import refiner
from segray.methods.s4m.refine.refiner import NoRefiner, on_canvas, replace_masks
from segray.training.augmentation.batch import Batch

SIZE = (32, 32)
Masks = Callable[..., Tensor]


def smooth(number: int) -> TeacherPredictions:
    coarse = torch.randn((number, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    logits = F.interpolate(coarse, (16, 16), mode="bilinear")[:, 0]
    return TeacherPredictions(classes=torch.arange(number), scores=torch.ones(number), logits=logits)


@pytest.mark.parametrize("threshold", [-0.5, 0.0, 0.7])
def test_unrefined_masks_are_the_upscaled_logits_cut(
    whole: Callable[..., View], weak: Callable[..., Batch], threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refiner, "PIXELS_AT_ONCE", 2 * 64 * 64)
    predictions = replace(smooth(5), threshold=threshold)
    (found,) = NoRefiner().refine(weak([whole((64, 64))]), [predictions])
    full = F.interpolate(predictions.logits[None], (64, 64), mode="bilinear", align_corners=False)[0]
    assert torch.equal(found.masks, full > threshold)
    assert not found.replaced.any()
    assert found.iou_with_teacher.tolist() == [1.0] * 5
    assert found.predicted_iou.isnan().all()


def test_padding_belongs_to_no_mask_and_guesses_in_it_alone_are_left_out(
    whole: Callable[..., View], box_mask: Masks, predictions_of: Callable[[Tensor], TeacherPredictions]
) -> None:
    boxes = [(0, 0, 32, 32), (20, 0, 32, 32), (4, 4, 12, 12), (0, 16, 32, 32)]
    predictions = predictions_of(torch.stack([box_mask(SIZE, box) for box in boxes]))
    kept, masks = on_canvas(predictions, whole((14, 18), SIZE))
    assert kept.classes.tolist() == [0, 2]
    assert torch.equal(masks[0], box_mask(SIZE, (0, 0, 18, 14)))
    # Up-scaling rounds the corners.
    assert (masks[1] ^ box_mask(SIZE, (4, 4, 12, 12))).sum() == 4


@pytest.mark.parametrize(
    ("offered", "accepted", "min_iou", "iou"),
    [
        ((0, 0, 8, 8), True, 0.0, 0.5),
        ((0, 0, 8, 8), True, 0.5, 0.5),
        ((0, 0, 8, 8), True, 0.51, None),
        ((0, 0, 8, 8), False, 0.0, None),
        ((0, 0, 0, 0), True, 0.0, None),
        ((16, 16, 20, 20), True, 0.0, 0.0),
    ],
    ids=["taken", "at the gate", "under the gate", "refused", "empty", "elsewhere, no gate"],
)
def test_a_mask_is_replaced_by_an_accepted_one_near_enough(
    box_mask: Masks, offered: tuple[int, int, int, int], accepted: bool, min_iou: float, iou: float | None
) -> None:
    """`iou` is None where the teacher's mask stays."""
    teacher, other = (box_mask(SIZE, box)[None] for box in ((0, 0, 16, 8), offered))
    found = replace_masks(
        smooth(1),
        teacher,
        other,
        predicted_iou=torch.tensor([0.3]),
        accepted=torch.tensor([accepted]),
        min_iou=min_iou,
    )
    assert found.replaced.item() is (iou is not None)
    assert torch.equal(found.masks, teacher if iou is None else other)
    assert found.iou_with_teacher.item() == (1.0 if iou is None else iou)
    assert found.predicted_iou.item() == pytest.approx(0.3)
