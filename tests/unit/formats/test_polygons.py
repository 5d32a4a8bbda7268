"""Outlines: exact unsimplified, close when simplified, holes and parts kept when joined to one ring."""

import cv2
import numpy as np
import pytest

from segray.formats import polygons
from segray.masks import rle


def shapes() -> dict[str, np.ndarray]:
    y, x = np.mgrid[:64, :80]
    ring = (abs(np.hypot(x - 40, y - 32) - 20) < 7).astype(bool)
    checker = (x // 3 + y // 3) % 2 == 0
    noise = np.random.default_rng(5).random((64, 80)) < 0.6
    line = cv2.line(np.zeros((64, 80), np.uint8), (3, 60), (75, 5), 1).astype(bool)
    one = (x == 79) & (y == 63)
    return {
        "disc": np.hypot(x - 40, y - 32) < 25,
        "ring": ring,
        "ring with an island": ring | (np.hypot(x - 40, y - 32) < 5),
        "two parts": (np.hypot(x - 15, y - 20) < 12) | (np.hypot(x - 60, y - 40) < 15),
        "parts that touch at corners": checker,
        "noise": noise,
        "a line": line,
        "one pixel": one,
        "everything": np.ones((64, 80), dtype=bool),
    }


SHAPES = shapes()


def filled(rings: list[np.ndarray], size_hw: tuple[int, int]) -> bytes:
    return rle.from_polygons([ring.reshape(-1).tolist() for ring in rings], size_hw)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("join", ["by part", "to one"])
def test_unsimplified_outlines_give_back_the_mask(name: str, join: str) -> None:
    mask = SHAPES[name]
    parts = polygons.outline(mask)
    rings = [polygons.merged(parts)] if join == "to one" else [polygons.bridged(part) for part in parts]
    assert filled(rings, mask.shape) == rle.encode(mask[None])[0]


@pytest.mark.parametrize(
    ("name", "parts", "holes"),
    [("disc", 1, 0), ("ring", 1, 1), ("ring with an island", 2, 1), ("two parts", 2, 0), ("one pixel", 1, 0)],
)
def test_parts_and_holes_are_told_apart(name: str, parts: int, holes: int) -> None:
    found = polygons.outline(SHAPES[name])
    assert (len(found), sum(len(part.holes) for part in found)) == (parts, holes)


@pytest.mark.parametrize("name", ["disc", "ring", "two parts", "a line", "one pixel"])
def test_simplified_outlines_stay_close_and_get_shorter(name: str) -> None:
    mask = SHAPES[name]
    exact, simple = polygons.outline(mask), polygons.outline(mask, tolerance_px=polygons.TOLERANCE_PX)
    iou = rle.iou([filled([polygons.bridged(part) for part in simple], mask.shape)], rle.encode(mask[None]), mask.shape)
    assert iou[0, 0] >= 0.95
    assert sum(len(part.outer) for part in simple) <= sum(len(part.outer) for part in exact)
    if name == "disc":
        assert len(simple[0].outer) < 0.6 * len(exact[0].outer)


def test_corners_lie_on_pixel_edges() -> None:
    mask = np.zeros((10, 20), dtype=bool)
    mask[2:5, 7:11] = True
    (part,) = polygons.outline(mask)
    assert sorted(map(tuple, part.outer.tolist())) == [(7, 2), (7, 5), (11, 2), (11, 5)]


def test_an_empty_mask_has_no_outline() -> None:
    assert polygons.outline(np.zeros((4, 5), dtype=bool)) == []


def test_the_largest_part_comes_first() -> None:
    first, second = polygons.outline(SHAPES["two parts"])
    assert cv2.contourArea(first.outer) > cv2.contourArea(second.outer)
