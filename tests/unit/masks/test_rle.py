import numpy as np
import pytest

from segray.masks import rle

SIZES = [(1, 1), (7, 5), (5, 8), (64, 48)]
SHARES = [0.0, 0.1, 0.5, 0.9, 1.0]


def noise(size_hw, share, number=3, seed=0):
    return np.random.default_rng(seed).random((number, *size_hw)) < share


@pytest.mark.parametrize("size_hw", SIZES)
@pytest.mark.parametrize("share", SHARES)
def test_masks_survive_every_way_there_and_back(size_hw, share):
    masks = noise(size_hw, share)
    counts = rle.encode(masks)
    assert np.array_equal(rle.decode(counts, size_hw), masks)
    assert [rle.from_runs(rle.to_runs(one), size_hw) for one in counts] == counts
    assert np.array_equal(rle.areas(counts, size_hw), masks.sum((1, 2)))
    assert rle.decode([rle.union(counts, size_hw)], size_hw)[0].tolist() == masks.any(0).tolist()


@pytest.mark.parametrize("size_hw", SIZES)
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("offset_xy", [(0, 0), (4, 6), (2, 3)])
def test_place_equals_pasting_the_dense_mask(size_hw, share, offset_xy):
    (height, width), (x0, y0) = size_hw, offset_xy
    canvas_hw = (height + 6, width + 4)
    mask = noise(size_hw, share, 1)
    canvas = np.zeros((1, *canvas_hw), dtype=bool)
    canvas[0, y0 : y0 + height, x0 : x0 + width] = mask[0]
    assert rle.place(rle.encode(mask)[0], size_hw, offset_xy, canvas_hw) == rle.encode(canvas)[0]


def test_place_refuses_a_crop_that_leaves_the_canvas():
    with pytest.raises(ValueError, match="leaves the canvas"):
        rle.place(rle.encode(np.ones((1, 4, 4), bool))[0], (4, 4), (1, 0), (4, 4))


@pytest.mark.parametrize(
    ("mask", "box"),
    [
        ([[0, 0, 0], [0, 1, 1], [0, 0, 0]], [1, 1, 3, 2]),
        ([[1, 0, 0], [0, 0, 0], [0, 0, 1]], [0, 0, 3, 3]),
        ([[0, 0, 0], [0, 0, 0], [0, 0, 0]], [0, 0, 0, 0]),
    ],
)
def test_boxes_end_where_the_mask_does(mask, box):
    assert rle.boxes_xyxy(rle.encode(np.array([mask], bool)), (3, 3)).tolist() == [box]


@pytest.mark.parametrize(
    ("crowd", "expected"),
    [(None, 2 / 6), ([True], 2 / 4)],
)
def test_iou(crowd, expected):
    first, second = np.zeros((2, 1, 4, 4), bool)
    first[0, :2, :2] = True
    second[0, :2, 1:3] = True
    value = rle.iou(rle.encode(first), rle.encode(second), (4, 4), crowd)
    assert value == pytest.approx(np.array([[expected]]))


@pytest.mark.parametrize(
    ("segmentation", "area"),
    [
        ([[1, 1, 3, 1, 3, 3, 1, 3]], 4),
        ({"size": [4, 4], "counts": [5, 2, 2, 2, 5]}, 4),
        ({"size": [4, 4], "counts": rle.from_runs(np.array([5, 2, 2, 2, 5]), (4, 4)).decode()}, 4),
        ([], 0),
        ([[1, 1, 2, 2]], 0),
    ],
)
def test_every_coco_form_is_read(segmentation, area):
    assert rle.areas([rle.from_coco(segmentation, (4, 4))], (4, 4)).tolist() == [area]


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [("text", "not a COCO"), ({"size": [9, 9], "counts": "x"}, "of size"), ({"size": [4, 4], "counts": [3]}, "add up")],
)
def test_what_is_no_mask_is_refused(segmentation, message):
    with pytest.raises(ValueError, match=message):
        rle.from_coco(segmentation, (4, 4))


@pytest.mark.parametrize("number", [255, 256, 700])
def test_areas_of_any_number_of_masks(number: int):
    masks = np.zeros((number, 4, 5), dtype=bool)
    masks[:, 1:3, 2] = True
    assert rle.areas(rle.encode(masks), (4, 5)).tolist() == [2] * number


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize(("start", "stop"), [(0, 48), (0, 1), (47, 48), (5, 31), (7, 7)])
def test_columns_are_those_of_the_whole_mask(share, start, stop):
    mask = noise((64, 48), share, 1)
    found = rle.decode_columns(rle.encode(mask)[0], (64, 48), start, stop)
    assert np.array_equal(found, mask[0, :, start:stop])
