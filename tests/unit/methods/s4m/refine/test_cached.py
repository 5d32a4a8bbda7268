from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from segray.masks.instances import Instances
from segray.masks.view import View
from segray.methods.s4m.config import CachedRefinement
from segray.methods.s4m.pseudo_labels import TeacherPredictions
from segray.methods.s4m.refine import refiner
from segray.methods.s4m.refine.cached import CachedRefiner, pairwise_iou
from segray.methods.s4m.refine.refiner import RefinedLabels
from segray.training.augmentation.batch import Batch

SIZE = (32, 32)
AUTOMATIC = [(0, 0, 8, 8), (8, 8, 24, 20), (8, 8, 24, 28), (24, 24, 32, 32)]
SCORES = [0.9, 0.8, 0.7, 0.6]


@pytest.fixture
def refine(
    box_mask: Callable[..., Tensor], predictions_of: Callable[[Tensor], TeacherPredictions], weak: Callable[..., Batch]
) -> Callable[[View, str, float], RefinedLabels]:
    """Refinement of (8, 8, 24, 24) on a canvas by the automatic masks of image `known`."""
    masks = np.stack([box_mask(SIZE, box).numpy() for box in AUTOMATIC])
    stored = {
        "known": Instances.from_masks(masks, provenance="sam", scores=SCORES),
        "bare": Instances.empty(SIZE),
        "other size": Instances.from_masks(np.ones((1, 8, 8), dtype=bool), provenance="sam", scores=[0.9]),
    }

    def run(view: View, image_id: str, min_iou: float) -> RefinedLabels:
        refiner = CachedRefiner(stored.get, CachedRefinement(store="unused", min_iou=min_iou))
        predictions = predictions_of(box_mask(SIZE, (8, 8, 24, 24))[None])
        return refiner.refine(weak([view], ids=[image_id]), [predictions])[0]

    return run


def test_the_automatic_mask_of_most_overlap_replaces_the_teacher_s(
    refine: Callable[..., RefinedLabels], whole: Callable[..., View], box_mask: Callable[..., Tensor]
) -> None:
    found = refine(whole(SIZE), "known", 0.5)
    assert torch.equal(found.masks[0], box_mask(SIZE, AUTOMATIC[2]))
    assert found.replaced.tolist() == [True]
    assert found.iou_with_teacher.item() == pytest.approx(0.8, abs=0.02)
    assert found.predicted_iou.item() == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("image_id", "min_iou"),
    [("known", 0.9), ("bare", 0.0), ("unknown", 0.0), ("other size", 0.0)],
    ids=["gate", "no masks", "no image", "another version"],
)
def test_otherwise_the_teacher_s_stays(
    refine: Callable[..., RefinedLabels],
    whole: Callable[..., View],
    box_mask: Callable[..., Tensor],
    image_id: str,
    min_iou: float,
) -> None:
    found = refine(whole(SIZE), image_id, min_iou)
    assert found.replaced.tolist() == [False]
    assert (found.masks[0] ^ box_mask(SIZE, (8, 8, 24, 24))).sum() < 16


def test_masks_are_seen_through_the_view(refine: Callable[..., RefinedLabels], box_mask: Callable[..., Tensor]) -> None:
    """The window starts 8 right and 4 down; the mask at the lower right is what then overlaps most."""
    view = View(image_hw=SIZE, resized_hw=SIZE, origin_yx=(4, 8), flipped=True, canvas_hw=SIZE)
    found = refine(view, "known", 0.0)
    # Mirrored, (8, 8, 24, 28) of the image stays in place; the window moves it by (-8, -4).
    assert torch.equal(found.masks[0], box_mask(SIZE, (0, 4, 16, 24)))


def test_a_mask_that_overlaps_none_stays_whatever_the_gate(
    whole: Callable[..., View],
    weak: Callable[..., Batch],
    box_mask: Callable[..., Tensor],
    predictions_of: Callable[[Tensor], TeacherPredictions],
) -> None:
    far = Instances.from_masks(box_mask(SIZE, (0, 0, 4, 4))[None].numpy(), provenance="sam")
    refiner = CachedRefiner(lambda _: far, CachedRefinement(store="unused", min_iou=0.0))
    predictions = predictions_of(box_mask(SIZE, (16, 16, 28, 28))[None])
    (found,) = refiner.refine(weak([whole(SIZE)]), [predictions])
    assert found.replaced.tolist() == [False]


def test_pairwise_iou(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refiner, "PIXELS_AT_ONCE", 200)
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.rand((number, 9, 7), generator=generator) > 0.5 for number in (3, 5))
    second[4] = False
    expected = [[float((a & b).sum()) / max(1, float((a | b).sum())) for b in second] for a in first]
    assert torch.allclose(pairwise_iou(first, second), torch.tensor(expected))
