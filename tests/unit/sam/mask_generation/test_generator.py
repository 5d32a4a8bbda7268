import logging

import numpy as np
import pytest

from segray.config.sam import MaskGeneration
from segray.masks import rle
from segray.masks.instances import Instances
from segray.sam.mask_generation.generator import MaskGenerator
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
    for mask, (x, y) in zip(found.to_masks(), found.points_xy, strict=True):
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
    told = [f"out of memory with {tried} prompts at once, retrying with {next_}" for tried, next_ in steps]
    assert [record.message for record in caplog.records] == told
    assert max(sam.asked) <= room
    assert tight.counts.tolist() == whole.counts.tolist()
    assert len(tight) == len(whole) == 3


def test_out_of_memory_with_one_prompt_is_an_error() -> None:
    with pytest.raises(MemoryError):
        MaskGenerator(PaintedSam(most_prompts=0), settings()).generate([painted()])


def test_crops_give_masks_where_they_are() -> None:
    image = painted((128, 192))
    found = MaskGenerator(PaintedSam(), settings(crop_n_layers=1, points_per_side=8)).generate([image])[0]
    assert found.size_hw == (128, 192)
    truths = [image[..., 0] == 1, image[..., 0] == 2]
    assert best_ious(found, truths).min() > 0.9
    for mask, (x, y), box in zip(found.to_masks(), found.points_xy, found.boxes_xyxy, strict=True):
        assert mask[int(y), int(x)]
        rows, columns = np.nonzero(mask)
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
