import dataclasses

import numpy as np
import pytest

from segray.masks.instances import UNLABELED, Instances


def squares(*boxes, size_hw=(20, 20), **columns):
    masks = np.zeros((len(boxes), *size_hw), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    return Instances.from_masks(masks, provenance="gt", **columns)


def test_boxes_and_areas_are_measured():
    found = squares((1, 2, 5, 4), (0, 0, 20, 20))
    assert found.boxes_xyxy.tolist() == [[1, 2, 5, 4], [0, 0, 20, 20]]
    assert found.areas.tolist() == [8, 400]
    assert found.classes.tolist() == [UNLABELED, UNLABELED]
    assert found.scores.tolist() == [1, 1]


@pytest.mark.parametrize("keep", [np.array([True, False, True]), np.array([0, 2])])
def test_filter_takes_truth_values_and_indices(keep):
    found = squares((0, 0, 2, 2), (2, 2, 4, 4), (4, 4, 8, 8)).filter(keep)
    assert found.areas.tolist() == [4, 16]
    assert found.masks().sum((1, 2)).tolist() == [4, 16]


def test_cat_keeps_order_and_refuses_other_sizes():
    both = Instances.cat([squares((0, 0, 2, 2)), squares((0, 0, 3, 3)), Instances.empty((20, 20))])
    assert both.areas.tolist() == [4, 9]
    with pytest.raises(ValueError, match="one image size"):
        Instances.cat([both, Instances.empty((2, 2))])


@pytest.mark.parametrize(("threshold", "kept"), [(0.3, [0.9, 0.2]), (0.99, [0.9, 0.5, 0.2])])
def test_nms_keeps_the_better_of_two_that_overlap(threshold, kept):
    found = squares((0, 0, 10, 10), (0, 0, 10, 9), (12, 12, 20, 20), scores=[0.5, 0.9, 0.2])
    assert found.nms(threshold).scores.tolist() == pytest.approx(kept)


def test_rows_of_unequal_number_are_refused():
    found = squares((0, 0, 2, 2))
    with pytest.raises(ValueError, match="scores has 2 rows, counts has 1"):
        dataclasses.replace(found, scores=np.ones(2, np.float32))
