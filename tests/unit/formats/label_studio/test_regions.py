"""Regions: each shape of Label Studio against pixels worked out by hand, and those that cannot be understood."""

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segray.formats.label_studio import brush, regions
from segray.formats.source import attributes_text
from segray.masks import rle
from segray.tally import Tally

SIZE = {"original_width": 40, "original_height": 20, "image_rotation": 0}


def box(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((20, 40), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def read(results: list[dict[str, Any]]) -> list[regions.Region]:
    return regions.read(results, Tally(), "task 1")


def result(kind: str, value: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"id": "r1", "type": kind, "from_name": "label", "to_name": "image", **SIZE, "value": value, **changes}


SQUARE = box(10, 5, 30, 15)
PACKED = brush.encode(rle.encode(SQUARE[None])[0], (20, 40))
CORNERS = [[25, 25], [75, 25], [75, 75], [25, 75]]


def png(mode: str, size: tuple[int, int] = (40, 20)) -> str:
    """A data URL of a picture that is opaque where SQUARE is."""
    file = io.BytesIO()
    picture = Image.new(mode, size)
    if "A" in mode:
        picture.putalpha(Image.fromarray(SQUARE.astype(np.uint8) * 255).resize(size))
    picture.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


AT = {"x": 25, "y": 25, "width": 50, "height": 50}
SHAPES = {
    "brush": (result("brushlabels", {"format": "rle", "rle": PACKED, "brushlabels": ["cat"]}), SQUARE),
    "polygon": (result("polygonlabels", {"points": CORNERS, "polygonlabels": ["cat"]}), SQUARE),
    "rectangle": (result("rectanglelabels", {**AT, "rotation": 0, "rectanglelabels": ["cat"]}), SQUARE),
    "bit mask": (result("bitmasklabels", {"imageDataURL": png("RGBA"), "bitmasklabels": ["cat"]}), SQUARE),
    "bit mask, grey": (result("bitmasklabels", {"imageDataURL": png("LA"), "bitmasklabels": ["cat"]}), SQUARE),
    "closed vector": (
        result(
            "vectorlabels",
            {"vertices": [{"x": x, "y": y} for x, y in CORNERS], "closed": True, "vectorlabels": ["cat"]},
        ),
        SQUARE,
    ),
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
    (region,) = read([given])
    assert region.size_hw == (20, 40)
    assert region.label == "cat"
    assert np.array_equal(rle.decode([region.counts], (20, 40))[0], expected)


def test_ellipse() -> None:
    value = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 25, "rotation": 0, "ellipselabels": ["cat"]}
    (region,) = read([result("ellipselabels", value)])
    y, x = np.mgrid[:20, :40] + 0.5
    expected = ((x - 20) / 8) ** 2 + ((y - 10) / 5) ** 2 <= 1
    found = rle.decode([region.counts], (20, 40))[0]
    assert (found & expected).sum() / (found | expected).sum() > 0.9


def test_labels_of_their_own() -> None:
    """<Labels> beside <Polygon>: a region comes twice, as its shape and as its label."""
    both = [result("polygon", {"points": CORNERS}), result("labels", {"points": CORNERS, "labels": ["tree"]})]
    for order in (both, both[::-1]):
        (region,) = read(order)
        assert region.label == "tree"
        assert list(regions.labels(order)) == ["tree"]


def test_regions_without_labels_and_without_ids() -> None:
    plain = result("polygon", {"points": CORNERS})
    del plain["id"]
    assert [region.label for region in read([plain, plain])] == [None, None]


@pytest.mark.parametrize(
    ("other", "reason", "is_damage"),
    [
        ({"type": "choices", "value": {"choices": ["good"]}}, "no-mask", False),
        ({"type": "textarea", "value": {"text": ["hello"]}}, "no-mask", False),
        ({"type": "rating", "value": {"rating": 3}}, "no-mask", False),
        (
            {"type": "keypointlabels", "value": {"x": 1, "y": 2, "width": 1, "keypointlabels": ["eye"]}},
            "no-mask",
            False,
        ),
        ({"type": "labels", "value": {"start": 0, "end": 4, "labels": ["name"]}}, "no-mask", False),
        ({"type": "relation"}, "no-mask", False),
        ({"type": "smell", "value": {"smell": "good"}}, "unknown-type", True),
        (result("vectorlabels", {"vertices": [{"x": 1, "y": 1}], "closed": False}), "open-line", False),
        (result("polygonlabels", {"points": [[1, 1], [2, 2]], "polygonlabels": ["cat"]}), "no-pixel", True),
    ],
)
def test_what_makes_no_mask_is_passed_over_and_counted(other: dict[str, Any], reason: str, is_damage: bool) -> None:
    tally = Tally()
    assert regions.read([other], tally, "task 1") == []
    count = tally["regions"].left_out[reason]
    assert (count.number, count.reason.is_damage) == (1, is_damage)
    assert "task 1" in count.examples[0]


@pytest.mark.parametrize(
    "other",
    [
        result("cuboidlabels", {"x": 1, "y": 1, "width": 5, "height": 5, "depth": 5}),
        result("videorectangle", {"sequence": [{"x": 1}]}),
        result("splinelabels", {"points": CORNERS}),
        result(
            "vectorlabels", {"vertices": [{"x": 1, "y": 1, "isBezier": True, "controlPoint1": {}}] * 3, "closed": True}
        ),
    ],
)
def test_a_shape_that_is_not_understood_is_an_error(other: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"region 'r1' of type '{other['type']}'"):
        read([other])


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (result("brushlabels", {"rle": [1, 2, 3]}), "brushlabels 'r1' of task 1: .*cut short"),
        (
            result("brushlabels", {"rle": brush.encode(rle.encode(SQUARE[None])[0], (20, 40))}, original_width=41),
            "words",
        ),
        (result("brushlabels", {}), "has no 'rle'"),
        (result("polygonlabels", {"points": "x"}), "could not convert"),
        (result("polygonlabels", {"points": [[1, float("inf")]] * 3}), "percent"),
        (result("polygonlabels", {"points": [[1, 1e9]] * 3}), "percent"),
        (result("rectanglelabels", {"x": 1, "y": 1, "width": 5}), "has no 'height'"),
        (result("rectanglelabels", {**AT, "x": None}), "rectanglelabels"),
        (result("polygonlabels", {"points": CORNERS}, image_rotation=90), "turned by 90 degrees"),
        (result("polygonlabels", {"points": CORNERS}, original_width="40"), "size 20 x '40'"),
        (result("polygonlabels", {"points": CORNERS}, original_width=0), "size 20 x 0"),
        (result("polygonlabels", {"points": CORNERS}, original_width=1 << 40), "size 20 x"),
    ],
)
def test_a_broken_region_is_damage_and_says_why(broken: dict[str, Any], message: str) -> None:
    tally = Tally()
    assert regions.read([broken], tally, "task 1") == []
    (example,) = tally["regions"].left_out["invalid"].examples
    assert re.search(message, example)
    assert tally["regions"].damaged == 1


def test_a_region_without_a_size_says_so() -> None:
    tally, broken = Tally(), result("polygonlabels", {"points": CORNERS})
    del broken["original_height"]
    assert regions.read([broken], tally, "task 1") == []
    assert "has no 'original_height'" in tally["regions"].left_out["invalid"].examples[0]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (png("RGB"), "needs alpha"),
        (png("RGBA", (41, 20)), r"size \(20, 41\)"),
        (png("RGBA")[:-40], "cannot be read"),
        ("data:image/png;base64,!!!!", "data|base64"),
        ("https://example.org/a.png", "data URL"),
        (7, "partition"),
    ],
)
def test_a_broken_bit_mask_is_damage(url: Any, message: str) -> None:
    tally = Tally()
    assert regions.read([result("bitmasklabels", {"imageDataURL": url})], tally, "task 1") == []
    assert re.search(message, tally["regions"].left_out["invalid"].examples[0])


def test_size_is_that_of_any_result() -> None:
    assert regions.size_of([{"type": "relation"}, result("choices", {"choices": ["good"]})]) == (20, 40)
    assert regions.size_of([{"type": "relation"}]) is None


@pytest.mark.parametrize(
    ("text", "kept"), [('{"review": "why"}', '{"review": "why"}'), ("no JSON", ""), ("[1]", ""), ("[" * 100_000, "")]
)
def test_attributes_are_a_json_object_or_none(text, kept):
    assert attributes_text(text) == kept
    assert attributes_text(None) == ""
