import dataclasses
import json

import numpy as np
import pytest

from segray.masks import rle
from segray.masks.instances import CROWD, UNLABELED, Instances


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
    assert found.to_masks().sum((1, 2)).tolist() == [4, 16]


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


@pytest.mark.parametrize(
    ("which", "areas"),
    [
        (0, [4]),
        (-1, [16]),
        (np.int64(1), [9]),
        (slice(1, None), [9, 16]),
        (slice(None, None, -1), [16, 9, 4]),
        ([2, 0], [16, 4]),
        (np.array([True, False, True]), [4, 16]),
        ([False, True, False], [9]),
        ([], []),
    ],
)
def test_indexing_gives_instances(which, areas):
    found = squares((0, 0, 2, 2), (0, 0, 3, 3), (0, 0, 4, 4))[which]
    assert isinstance(found, Instances)
    assert found.areas.tolist() == areas
    assert found.to_masks().sum((1, 2)).tolist() == areas


@pytest.mark.parametrize("which", [3, -4, [5], [True, False]])
def test_indexing_beyond_the_masks_is_an_error(which):
    with pytest.raises(IndexError):
        squares((0, 0, 2, 2), (0, 0, 3, 3), (0, 0, 4, 4))[which]


def test_iterating_gives_one_mask_at_a_time():
    found = squares((0, 0, 2, 2), (0, 0, 3, 3))
    assert [(len(one), one.areas[0]) for one in found] == [(1, 4), (1, 9)]
    assert list(Instances.empty((2, 2))) == []


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (Instances.empty((20, 10)), "Instances(0 masks, image 20 x 10)"),
        (squares((0, 0, 2, 2)), "Instances(1 mask, image 20 x 20, scores 1.00, 0 classes, from gt)"),
        (
            squares((0, 0, 2, 2), (0, 0, 3, 3), scores=[0.25, 1], classes=[4, 2]),
            "Instances(2 masks, image 20 x 20, scores 0.25 to 1.00, 2 classes, from gt)",
        ),
    ],
)
def test_repr_is_one_line(found, line):
    assert repr(found) == line


def test_coco_annotations_are_json_and_decode_to_the_masks():
    found = squares((1, 2, 5, 4), (0, 0, 3, 3), classes=[-1, 4], scores=[0.5, 1])
    crowd = dataclasses.replace(found, provenance=np.array(["gt", CROWD], object))
    first, second = json.loads(json.dumps(crowd.to_coco(7, first_id=10)))
    assert (first["id"], first["image_id"], first["category_id"], first["iscrowd"], first["score"]) == (
        10,
        7,
        0,
        0,
        0.5,
    )
    assert (second["id"], second["category_id"], second["iscrowd"]) == (11, 5, 1)
    assert (first["bbox"], first["area"]) == ([1, 2, 4, 2], 8)
    counts = [rle.from_coco(one["segmentation"], (20, 20)) for one in (first, second)]
    assert (rle.decode(counts, (20, 20)) == found.to_masks()).all()


def test_supervision_gets_boxes_masks_scores_and_classes():
    found = squares((1, 2, 5, 4), (0, 0, 3, 3), classes=[-1, 4], scores=[0.5, 1])
    detections = found.to_supervision()
    assert len(detections) == 2
    assert detections.xyxy.tolist() == found.boxes_xyxy.tolist()
    assert (detections.mask == found.to_masks()).all()
    assert detections.confidence.tolist() == [0.5, 1]
    assert detections.class_id.tolist() == [-1, 4]
    assert detections.area.tolist() == [8, 9]


def test_plot_draws_over_the_image_and_refuses_another_one():
    image = np.full((20, 20, 3), 200, np.uint8)
    picture = np.asarray(squares((2, 2, 12, 12)).plot(image))
    changed = (picture != 200).any(axis=2)
    assert changed[2:12, 2:12].all()
    assert not changed[14:, 14:].any()
    with pytest.raises(ValueError, match="masks of size"):
        squares((2, 2, 12, 12)).plot(image[:10])
