"""Regions: each shape of Label Studio against pixels worked out by hand, and those that cannot be understood."""

from typing import Any

import numpy as np
import pytest

from segray.formats.label_studio import brush, regions
from segray.masks import rle

SIZE = {"original_width": 40, "original_height": 20, "image_rotation": 0}


def box(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((20, 40), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def result(kind: str, value: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"id": "r1", "type": kind, "from_name": "label", "to_name": "image", **SIZE, "value": value, **changes}


SQUARE = box(10, 5, 30, 15)
PACKED = brush.encode(rle.encode(SQUARE[None])[0], (20, 40))
CORNERS = [[25, 25], [75, 25], [75, 75], [25, 75]]
AT = {"x": 25, "y": 25, "width": 50, "height": 50}
SHAPES = {
    "brush": (result("brushlabels", {"format": "rle", "rle": PACKED, "brushlabels": ["cat"]}), SQUARE),
    "polygon": (result("polygonlabels", {"points": CORNERS, "polygonlabels": ["cat"]}), SQUARE),
    "rectangle": (result("rectanglelabels", {**AT, "rotation": 0, "rectanglelabels": ["cat"]}), SQUARE),
    "turned by a right angle": (
        # 50 % of the width is 20 px, 50 % of the height 10 px; about (20, 5) the box then reaches down and to the left.
        result(
            "rectanglelabels", {"x": 50, "y": 25, "width": 25, "height": 25, "rotation": 90, "rectanglelabels": ["cat"]}
        ),
        box(15, 5, 20, 15),
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str) -> None:
    given, expected = SHAPES[name]
    (region,) = regions.read([given])
    assert region.size_hw == (20, 40)
    assert region.label == "cat"
    assert np.array_equal(rle.decode([region.counts], (20, 40))[0], expected)


def test_ellipse() -> None:
    value = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 25, "rotation": 0, "ellipselabels": ["cat"]}
    (region,) = regions.read([result("ellipselabels", value)])
    y, x = np.mgrid[:20, :40] + 0.5
    expected = ((x - 20) / 8) ** 2 + ((y - 10) / 5) ** 2 <= 1
    found = rle.decode([region.counts], (20, 40))[0]
    assert (found & expected).sum() / (found | expected).sum() > 0.9


def test_labels_of_their_own() -> None:
    """<Labels> beside <Polygon>: a region comes twice, as its shape and as its label."""
    both = [result("polygon", {"points": CORNERS}), result("labels", {"points": CORNERS, "labels": ["tree"]})]
    for order in (both, both[::-1]):
        (region,) = regions.read(order)
        assert region.label == "tree"
        assert list(regions.labels(order)) == ["tree"]


def test_regions_without_labels_and_without_ids() -> None:
    plain = result("polygon", {"points": CORNERS})
    del plain["id"]
    assert [region.label for region in regions.read([plain, plain])] == [None, None]


@pytest.mark.parametrize(
    "other",
    [
        {"type": "choices", "value": {"choices": ["good"]}},
        {"type": "textarea", "value": {"text": ["hello"]}},
        {"type": "keypointlabels", "value": {"x": 1, "y": 2, "width": 1, "keypointlabels": ["eye"]}},
        {"type": "relation"},
        result("polygonlabels", {"points": [[1, 1], [2, 2]], "polygonlabels": ["cat"]}),
    ],
)
def test_what_makes_no_mask_is_passed_over(other: dict[str, Any]) -> None:
    assert regions.read([other]) == []


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (result("brushlabels", {"rle": [1, 2, 3]}), "brush region 'r1': .*cut short"),
        (
            result("brushlabels", {"rle": brush.encode(rle.encode(SQUARE[None])[0], (20, 40))}, original_width=41),
            "words",
        ),
        (result("brushlabels", {}), "has no 'rle'"),
        (result("polygonlabels", {"points": "x"}), "could not convert"),
        (result("polygonlabels", {"points": [[1, float("inf")]] * 3}), "percent"),
        (result("polygonlabels", {"points": [[1, 1e9]] * 3}), "percent"),
        (result("rectanglelabels", {"x": 1, "y": 1, "width": 5}), "has no 'height'"),
        (result("rectanglelabels", {**AT, "x": None}), "rectangle region"),
        (result("polygonlabels", {"points": CORNERS}, image_rotation=90), "turned by 90 degrees"),
        (result("polygonlabels", {"points": CORNERS}, original_width="40"), "size 20 x '40'"),
        (result("polygonlabels", {"points": CORNERS}, original_width=0), "size 20 x 0"),
        (result("polygonlabels", {"points": CORNERS}, original_width=1 << 40), "size 20 x"),
    ],
)
def test_a_broken_region_says_which(broken: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        regions.read([broken])


def test_a_region_without_a_size_says_so() -> None:
    broken = result("polygonlabels", {"points": CORNERS})
    del broken["original_height"]
    with pytest.raises(ValueError, match="has no 'original_height'"):
        regions.read([broken])
