"""Prompts of a person against a `Sam` that reads the answers off the image."""

import numpy as np
import pytest

from segray.sam.predictor import SamPredictor
from segray.sam.testing import PaintedSam


@pytest.fixture
def image():
    """Object 1 on the left with a part at its top, object 2 on the right."""
    paint = np.zeros((64, 64, 3), np.uint8)
    paint[8:56, 4:28, 0], paint[8:56, 36:60, 0] = 1, 2
    paint[8:24, 4:28, 1] = 1
    return paint


def test_points_give_one_mask_each_in_their_order(image):
    found = SamPredictor(PaintedSam()).predict(image, points=[(40, 40), (10, 40)])
    assert found.boxes_xyxy.tolist() == [[36, 8, 60, 56], [4, 8, 28, 56]]
    assert found.points_xy.tolist() == [[40, 40], [10, 40]]
    assert set(found.provenance) == {"sam"}


def test_no_boxes_are_no_masks(image):
    found = SamPredictor(PaintedSam()).predict(image, boxes=np.empty((0, 4)))
    assert (len(found), found.size_hw) == (0, (64, 64))


def test_an_image_is_embedded_once_for_all_prompts_on_it(image):
    embedded = []

    class Counting(PaintedSam):
        def embed(self, images):
            embedded.append(len(images))
            return super().embed(images)

    sam = SamPredictor(Counting())
    for _ in range(2):
        sam.predict(image, points=[(40, 40)])
    assert embedded == [1]
    sam.predict(image[:, ::-1], points=[(40, 40)])
    assert embedded == [1, 1]


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({}, "give points, boxes or both"),
        ({"points": [1, 2]}, r"points must have shape \(P, 2\) or \(P, K, 2\), got \(2,\)"),
        ({"points": [(1, 2)], "labels": [1, 0]}, "labels must be 0 or 1, one for each point"),
        ({"points": [(1, 2)], "labels": [2]}, "labels must be 0 or 1"),
        ({"labels": [1], "boxes": [(0, 0, 1, 1)]}, "labels are of points"),
        ({"boxes": [(1, 2)]}, r"boxes must have shape \(P, 4\), got \(1, 2\)"),
        ({"points": [(1, 2)] * 2, "boxes": [(0, 0, 9, 9)]}, "points are of 2 objects, boxes of 1"),
    ],
)
def test_prompts_that_do_not_fit_are_named(prompts, message, image):
    with pytest.raises(ValueError, match=message):
        SamPredictor(PaintedSam()).predict(image, **prompts)
