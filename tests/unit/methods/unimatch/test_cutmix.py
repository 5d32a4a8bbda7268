"""CutMix: who gets what from whom, the same in every map."""

import numpy as np
import pytest
import torch

from segray import keyed_random
from segray.config.base import build
from segray.errors import ConfigError
from segray.methods.unimatch.config import CutMix
from segray.methods.unimatch.cutmix import boxes, partners, paste

KEYS = [keyed_random.key("test", index) for index in range(12)]


@pytest.mark.parametrize("group", [2, 3, 4])
def test_partners_are_others_of_the_group_each_once(group):
    found = partners(KEYS, group)
    assert sorted(found) == list(range(12))
    assert all(one != image and one // group == image // group for image, one in enumerate(found))


def test_partners_depend_on_the_group_alone():
    assert partners(KEYS[4:8], 4) == [one - 4 for one in partners(KEYS, 4)[4:8]]
    assert len({tuple(partners(KEYS[start:], 4)[:4]) for start in range(8)}) > 1
    assert partners(KEYS[:1], 4) == [0]


@pytest.mark.parametrize("canvas_hw", [(64, 64), (48, 96)], ids=str)
def test_rectangles_are_as_large_and_as_long_as_asked_for(canvas_hw):
    settings = CutMix(share=0.5)
    keys = [keyed_random.key("box", index) for index in range(400)]
    found = boxes(canvas_hw, settings, keys)
    assert 150 < sum(one is not None for one in found) < 250
    starts = set()
    for rows, columns in (one for one in found if one is not None):
        height, width = (rows.stop - rows.start) / canvas_hw[0], (columns.stop - columns.start) / canvas_hw[1]
        assert 0 <= rows.start < rows.stop <= canvas_hw[0]
        assert 0 <= columns.start < columns.stop <= canvas_hw[1]
        assert 0.015 < height * width < 0.42
        assert 0.24 < height / width < 4
        starts.add((rows.start, columns.start))
    assert len(starts) > 100


@pytest.mark.parametrize(("share", "number"), [(0.0, 0), (1.0, 12)])
def test_a_share_is_how_often(share, number):
    found = boxes((32, 32), CutMix(share=share), KEYS)
    assert sum(one is not None for one in found) == number


def test_an_image_alone_gets_its_own_draw():
    whole = boxes((32, 32), CutMix(), KEYS)
    assert [boxes((32, 32), CutMix(), [key])[0] for key in KEYS] == whole


def test_one_rectangle_is_applied_to_image_label_confidence_and_ignore_alike():
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 255, (4, 3, 16, 16), dtype=torch.uint8, generator=generator)
    label = torch.randint(0, 9, (4, 16, 16), generator=generator).to(torch.uint8)
    confidence, inside = torch.rand(4, 16, 16, generator=generator), torch.rand(4, 16, 16, generator=generator) > 0.5
    where = [(slice(2, 9), slice(0, 5)), None, (slice(0, 16), slice(8, 16)), (slice(3, 4), slice(3, 4))]
    partner = [2, 0, 1, 0]
    for maps in (image, label, confidence, inside):
        before = maps.clone()
        mixed = paste(maps, partner, where)
        assert torch.equal(maps, before)
        for index, box in enumerate(where):
            expected = maps[index].clone()
            if box is not None:
                expected[..., box[0], box[1]] = maps[partner[index]][..., box[0], box[1]]
            assert torch.equal(mixed[index], expected)


@pytest.mark.parametrize("wrong", [{"min_area": 0.0}, {"min_area": 0.5}, {"min_aspect": 1.5}], ids=str)
def test_rectangles_that_cannot_be_are_a_config_error(wrong):
    with pytest.raises(ConfigError, match="min_a"):
        build(CutMix, wrong, "cutmix")


def test_shares_are_of_the_canvas():
    keys = [keyed_random.key("box", index) for index in range(300)]
    small, large = (boxes((side, side), CutMix(share=1.0), keys) for side in (50, 500))
    ratios = [
        (big[0].stop - big[0].start) / (one[0].stop - one[0].start)
        for one, big in zip(small, large, strict=True)
        if one[0].stop - one[0].start > 15
    ]
    assert np.median(ratios) == pytest.approx(10, rel=0.1)
