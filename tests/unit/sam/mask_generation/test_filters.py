import numpy as np
import pytest
import torch
from segment_anything.utils import amg
from torchvision.ops.boxes import batched_nms

from segray.masks.instances import Instances
from segray.sam.mask_generation.filters import (
    is_stable,
    near_crop_edge,
    postprocess_small_regions,
    remove_small_regions,
    stability_scores,
    suppress_duplicates,
)
from segray.sam.mask_generation.grids import Crop


def random_masks(number: int, size_hw: tuple[int, int], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    masks = np.zeros((number, *size_hw), dtype=bool)
    for mask in masks[1:]:
        (y0, y1), (x0, x1) = (np.sort(rng.integers(0, side, 2)) for side in size_hw)
        mask[y0 : y1 + 1, x0 : x1 + 1] = rng.random((y1 - y0 + 1, x1 - x0 + 1)) < 0.9
    return masks


@pytest.mark.parametrize("threshold", [0.3, 0.7, 1.0])
def test_suppression_and_cut_borders_are_the_reference_s(threshold: float) -> None:
    masks = random_masks(1200, (60, 80))
    scores = np.random.default_rng(1).choice(np.linspace(0, 1, 50, dtype=np.float32), len(masks))
    ours = Instances.from_masks(masks, provenance="sam:x", scores=scores)
    boxes = amg.batched_mask_to_box(torch.from_numpy(masks))
    wanted = batched_nms(boxes.float(), torch.from_numpy(scores), torch.zeros(len(boxes)), threshold)
    np.testing.assert_array_equal(suppress_duplicates(ours.boxes_xyxy, scores, threshold), wanted.numpy())
    crop = Crop(30, 0, 110, 60, 1)
    near = amg.is_box_near_crop_edge(boxes, [30, 0, 110, 60], [0, 0, 200, 100])
    np.testing.assert_array_equal(near_crop_edge(ours.boxes_xyxy, crop, (100, 200)), near.numpy())
    assert 0 < near.sum() < len(masks)


def test_stability_is_the_reference_s_and_nan_where_there_is_nothing() -> None:
    logits = torch.randn(20, 30, 40) * torch.linspace(0, 4, 20)[:, None, None] - 2
    ours = stability_scores(logits, 0.1, 0.5)
    torch.testing.assert_close(ours, amg.calculate_stability_score(logits, 0.1, 0.5), rtol=0, atol=0, equal_nan=True)
    assert ours[0].isnan()
    assert is_stable(ours, 0.0).all()
    assert not is_stable(ours, 0.01)[0]


SMALL_REGIONS = {
    "nothing to do": (["####", "####"], ["####", "####"], False),
    "a small hole": (["####", "#..#", "####"], ["####", "####", "####"], True),
    "a small island": (["###.#", "###..", "###.."], ["###..", "###..", "###.."], True),
    "all islands small: the largest stays": (["##..#", "....."], ["##...", "....."], True),
    "a corner joins": (["###..", "###..", "...#."], ["###..", "###..", "...#."], False),
}


@pytest.mark.parametrize(("before", "after", "changed"), SMALL_REGIONS.values(), ids=SMALL_REGIONS)
def test_small_regions(before: list[str], after: list[str], changed: bool) -> None:
    def padded(rows: list[str]) -> np.ndarray:
        return np.pad(np.array([[char == "#" for char in row] for row in rows]), 4)

    mask, was_changed = remove_small_regions(padded(before), 4)
    np.testing.assert_array_equal(mask, padded(after))
    assert was_changed == changed


def test_small_regions_are_the_reference_s() -> None:
    rng = np.random.default_rng(3)
    masks = np.kron(rng.random((40, 8, 8)) < rng.uniform(0.1, 0.9, (40, 1, 1)), np.ones((1, 4, 4))).astype(bool)
    before = Instances.from_masks(masks, provenance="sam:x", scores=np.linspace(1, 0, 40))
    for index, mask in enumerate(masks):
        filled, hole = amg.remove_small_regions(mask, 40, "holes")
        wanted, island = amg.remove_small_regions(filled, 40, "islands")
        ours, changed = remove_small_regions(mask, 40)
        np.testing.assert_array_equal(ours, wanted, err_msg=str(index))
        assert changed == (hole or island)
    after = postprocess_small_regions(before, 40, 0.9)
    assert 0 < len(after) < 40
    assert after.areas.tolist() == after.to_masks().sum((1, 2)).tolist()
