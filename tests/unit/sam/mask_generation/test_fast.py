import numpy as np
import pytest
import torch

from segray.config.sam import MaskGeneration
from segray.demo import world
from segray.masks import rle
from segray.sam.backends.segment_anything.model import OriginalSam
from segray.sam.backends.segment_anything.nano import load_sam_nano
from segray.sam.mask_generation.fast import SAME_IOU, STRIDES, PromptPlanner, levels_of
from segray.sam.mask_generation.generator import MaskGenerator
from segray.sam.mask_generation.grids import grid_points
from segray.sam.testing import PaintedSam


@pytest.mark.parametrize("per_side", [1, 2, 3, 4, 8, 31, 32])
def test_every_point_has_one_level_and_coarse_ones_are_spread(per_side: int) -> None:
    levels = levels_of(per_side**2).reshape(per_side, per_side)
    assert levels.min() >= 0
    assert levels.max() < len(STRIDES)
    if per_side % STRIDES[0] == 0:
        assert (levels == 0).sum() == (per_side // STRIDES[0]) ** 2
        assert (levels <= 1).sum() == (per_side // STRIDES[1]) ** 2


def drained(planner: PromptPlanner, level: int) -> list[int]:
    taken: list[int] = []
    while len(points := planner.take(level, 5)):
        taken += points.tolist()
    return taken


def test_points_are_given_once() -> None:
    planner = PromptPlanner(grid_points(8, (100, 50)), (100, 50))
    taken = [point for level in range(len(STRIDES)) for point in drained(planner, level)]
    assert sorted(taken) == list(range(64))


def square(planner: PromptPlanner, side: int, start: int = 32) -> np.ndarray:
    mask = np.zeros((1, *planner.thumbnail_hw), dtype=bool)
    mask[0, start : start + side, start : start + side] = True
    return mask


def test_a_mask_that_brings_no_more_news_is_left_alone_the_larger_the_later() -> None:
    asked = {}
    for side in (12, 48):
        planner = PromptPlanner(grid_points(32, (128, 128)), (128, 128))
        mask = square(planner, side)
        inside = np.flatnonzero(mask[0][tuple(planner.points_xy.T[::-1].astype(int))])
        planner.update(inside[:1], inside[:1], mask)
        asked[side] = 0
        for level in range(len(STRIDES)):
            while len(points := planner.take(level, 1)):
                asked[side] += points[0] in inside
                planner.update(points, points[:0], mask[:0])
    assert 0 < asked[12] < asked[48] < 48**2 / 16 / 2


def test_a_mask_much_like_a_known_one_is_no_news() -> None:
    planner = PromptPlanner(grid_points(32, (128, 128)), (128, 128))
    mask, alike, other = square(planner, 40), square(planner, 41), square(planner, 20)
    assert (20 / 40) ** 2 < SAME_IOU < (40 / 41) ** 2
    inside = np.flatnonzero(other[0][tuple(planner.points_xy.T[::-1].astype(int))])[:1]
    known = [len(planner._masks)]
    for thumbnail in (mask, mask, alike, other):
        planner.update(inside, inside, thumbnail)
        known.append(len(planner._masks))
    assert np.diff(known).tolist() == [1, 0, 0, 1]


def scene(seed: int, size: int = 160) -> np.ndarray:
    """Overlapping boxes of many sizes, some with a part, on a background that is an object too."""
    rng = np.random.default_rng(seed)
    image = np.zeros((size, size, 3), dtype=np.uint8)
    image[..., 0] = 13
    for number in range(1, 13):
        height, width = (rng.integers(12, 70, 2)).tolist()
        y, x = rng.integers(0, size - height), rng.integers(0, size - width)
        image[y : y + height, x : x + width] = (number, 0, 0)
        if number % 2:
            image[y + height // 4 : y + height // 2, x + width // 4 : x + width // 2, 1] = number
    return image


def test_finds_nearly_what_exact_finds_with_far_fewer_prompts() -> None:
    images = [scene(seed) for seed in range(3)]
    asked, found = {}, {}
    for mode in ("exact", "fast"):
        sam = PaintedSam(low=160)
        found[mode] = MaskGenerator(
            sam, MaskGeneration(mode=mode, points_per_side=24, stability_score_thresh=0.8)
        ).generate(images)
        asked[mode] = sum(sam.asked)
    assert asked["exact"] == 3 * 24 * 24
    assert asked["fast"] < 0.65 * asked["exact"]
    matched = [
        rle.iou(list(exact.counts), list(fast.counts), exact.size_hw).max(axis=1) > 0.9
        for exact, fast in zip(found["exact"], found["fast"], strict=True)
    ]
    assert len(np.concatenate(matched)) > 40
    assert np.concatenate(matched).mean() > 0.9


@pytest.mark.parametrize("batch", [3, 7, 64])
def test_masks_depend_on_no_batch_and_no_neighbour(batch: int) -> None:
    sam = OriginalSam(load_sam_nano(), name="nano", weights_hash="", device=torch.device("cpu"))
    images = [world.scene("b", seed, 160).image for seed in (1, 2, 3)]
    chosen = MaskGeneration(mode="fast", points_per_side=10, pred_iou_thresh=0.1, stability_score_thresh=0.2)
    alone = [MaskGenerator(sam, chosen, 16).generate([image])[0] for image in images]
    together = MaskGenerator(sam, chosen, batch).generate(images)
    assert all(len(one) > 3 for one in alone)
    for one, other in zip(together, alone, strict=True):
        # Rounding of another batch size may flip a pixel of a mask, but never which masks there are.
        assert len(one) == len(other)
        assert np.diag(rle.iou(list(one.counts), list(other.counts), one.size_hw)).min() > 0.995
