import logging

import numpy as np
import pytest
import torch
from segment_anything.utils import amg
from torchvision.ops.boxes import batched_nms

from segray.config.sam import MaskGeneration
from segray.masks import rle
from segray.masks.instances import Instances
from segray.sam.mask_generation.batching import ShrinkingBatches
from segray.sam.mask_generation.generator import MaskGenerator
from segray.sam.mask_generation.grids import Crop, crops_of, layer_points
from segray.sam.mask_generation.mending import mend, mended
from segray.sam.mask_generation.suppression import suppress, touches_cut
from segray.sam.mask_generation.survivors import is_stable, stabilities_of
from segray.sam.testing import PaintedSam


def painted(size_hw: tuple[int, int] = (64, 96)) -> np.ndarray:
    """Two objects, one with a part."""
    image = np.zeros((*size_hw, 3), dtype=np.uint8)
    image[8:40, 8:48, 0] = 1
    image[16:32, 16:32, 1] = 1
    image[44:60, 60:90, 0] = 2
    return image


def settings(**changes) -> MaskGeneration:
    return MaskGeneration(**{"points_per_side": 12, "stability_score_thresh": 0.8, **changes})


def best_ious(masks: Instances, truths: list[np.ndarray]) -> np.ndarray:
    return rle.iou(list(masks.counts), rle.encode(np.stack(truths)), masks.size_hw).max(axis=0)


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_finds_objects_and_parts_once(mode: str) -> None:
    image = painted()
    found, nothing = MaskGenerator(PaintedSam(), settings(mode=mode)).generate([image, np.zeros_like(image)])
    assert len(found) == 3
    assert len(nothing) == 0
    assert nothing.size_hw == found.size_hw == (64, 96)
    truths = [image[..., 0] == 1, image[..., 1] == 1, image[..., 0] == 2]
    assert best_ious(found, truths).min() > 0.85
    assert set(found.provenance) == {"sam:painted"}
    assert (found.scores == np.float32(0.9)).all()
    assert ((found.stabilities >= 0.8) & (found.stabilities <= 1)).all()
    for mask, (x, y) in zip(found.masks(), found.points_xy, strict=True):
        assert mask[int(y), int(x)]


@pytest.mark.parametrize(
    ("mode", "room", "steps"),
    [("exact", 5, [(32, 16), (16, 8), (8, 4)]), ("fast", 3, [(4, 2)])],
)
def test_out_of_memory_halves_the_batch_and_goes_on(
    mode: str, room: int, steps: list[tuple[int, int]], caplog: pytest.LogCaptureFixture
) -> None:
    image = painted()
    whole = MaskGenerator(PaintedSam(), settings(mode=mode), 32).generate([image])[0]
    sam = PaintedSam(most_prompts=room)
    with caplog.at_level(logging.WARNING):
        tight = MaskGenerator(sam, settings(mode=mode), 32).generate([image])[0]
    told = [f"out of memory with {tried} prompts at once: going on with {next_}" for tried, next_ in steps]
    assert [record.message for record in caplog.records] == told
    assert max(sam.asked) <= room
    assert tight.counts.tolist() == whole.counts.tolist()
    assert len(tight) == len(whole) == 3


def test_out_of_memory_with_one_prompt_is_an_error() -> None:
    with pytest.raises(MemoryError):
        MaskGenerator(PaintedSam(most_prompts=0), settings()).generate([painted()])


@pytest.mark.parametrize(
    ("error", "going_on"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("shapes do not match"), False),
    ],
)
def test_only_lack_of_memory_shrinks_batches(error: RuntimeError, going_on: bool) -> None:
    batches, parts = ShrinkingBatches(4), []

    def work(part: slice) -> int:
        if part.stop - part.start > 2:
            raise error
        parts.append((part.start, part.stop))
        return part.start

    if not going_on:
        with pytest.raises(RuntimeError, match="shapes"):
            batches.map(5, work)
        return
    assert batches.map(5, work) == [0, 2, 4]
    assert parts == [(0, 2), (2, 4), (4, 5)]
    assert batches.size == 2


@pytest.mark.parametrize("size_hw", [(480, 640), (333, 101), (7, 5)])
@pytest.mark.parametrize(("layers", "factor"), [(0, 1), (1, 1), (2, 2)])
def test_crops_and_points_are_the_reference_s(size_hw: tuple[int, int], layers: int, factor: int) -> None:
    chosen = settings(crop_n_layers=layers, crop_n_points_downscale_factor=factor)
    boxes, of_layer = amg.generate_crop_boxes(size_hw, layers, chosen.crop_overlap_ratio)
    grids = amg.build_all_layer_point_grids(12, layers, factor)
    wanted = [(*box, layer) for box, layer in zip(boxes, of_layer, strict=True) if box[2] > box[0] and box[3] > box[1]]
    found = crops_of(size_hw, chosen)
    assert [(crop.x0, crop.y0, crop.x1, crop.y1, crop.layer) for crop in found] == wanted
    for crop in found:
        scale = np.array(crop.size_hw)[None, ::-1]
        np.testing.assert_array_equal(layer_points(chosen, crop), grids[crop.layer] * scale)


def test_crops_give_masks_where_they_are() -> None:
    image = painted((128, 192))
    found = MaskGenerator(PaintedSam(), settings(crop_n_layers=1, points_per_side=8)).generate([image])[0]
    assert found.size_hw == (128, 192)
    truths = [image[..., 0] == 1, image[..., 0] == 2]
    assert best_ious(found, truths).min() > 0.9
    for mask, (x, y), box in zip(found.masks(), found.points_xy, found.boxes_xyxy, strict=True):
        assert mask[int(y), int(x)]
        rows, columns = np.nonzero(mask)
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


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
    np.testing.assert_array_equal(suppress(ours.boxes_xyxy, scores, threshold), wanted.numpy())
    crop = Crop(30, 0, 110, 60, 1)
    near = amg.is_box_near_crop_edge(boxes, [30, 0, 110, 60], [0, 0, 200, 100])
    np.testing.assert_array_equal(touches_cut(ours.boxes_xyxy, crop, (100, 200)), near.numpy())
    assert 0 < near.sum() < len(masks)


def test_stability_is_the_reference_s_and_nan_where_there_is_nothing() -> None:
    logits = torch.randn(20, 30, 40) * torch.linspace(0, 4, 20)[:, None, None] - 2
    ours = stabilities_of(logits, 0.1, 0.5)
    torch.testing.assert_close(ours, amg.calculate_stability_score(logits, 0.1, 0.5), rtol=0, atol=0, equal_nan=True)
    assert ours[0].isnan()
    assert is_stable(ours, 0.0).all()
    assert not is_stable(ours, 0.01)[0]


MENDED = {
    "nothing to do": (["####", "####"], ["####", "####"], False),
    "a small hole": (["####", "#..#", "####"], ["####", "####", "####"], True),
    "a small island": (["###.#", "###..", "###.."], ["###..", "###..", "###.."], True),
    "all islands small: the largest stays": (["##..#", "....."], ["##...", "....."], True),
    "a corner joins": (["###..", "###..", "...#."], ["###..", "###..", "...#."], False),
}


@pytest.mark.parametrize(("before", "after", "changed"), MENDED.values(), ids=MENDED)
def test_mending(before: list[str], after: list[str], changed: bool) -> None:
    def padded(rows: list[str]) -> np.ndarray:
        return np.pad(np.array([[char == "#" for char in row] for row in rows]), 4)

    mask, was_changed = mended(padded(before), 4)
    np.testing.assert_array_equal(mask, padded(after))
    assert was_changed == changed


def test_mending_is_the_reference_s() -> None:
    rng = np.random.default_rng(3)
    masks = np.kron(rng.random((40, 8, 8)) < rng.uniform(0.1, 0.9, (40, 1, 1)), np.ones((1, 4, 4))).astype(bool)
    before = Instances.from_masks(masks, provenance="sam:x", scores=np.linspace(1, 0, 40))
    for index, mask in enumerate(masks):
        filled, hole = amg.remove_small_regions(mask, 40, "holes")
        wanted, island = amg.remove_small_regions(filled, 40, "islands")
        ours, changed = mended(mask, 40)
        np.testing.assert_array_equal(ours, wanted, err_msg=str(index))
        assert changed == (hole or island)
    after = mend(before, 40, 0.9)
    assert 0 < len(after) < 40
    assert after.areas.tolist() == after.masks().sum((1, 2)).tolist()
