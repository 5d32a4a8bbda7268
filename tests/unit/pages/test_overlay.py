"""Masks over images: what is coloured, what is left alone, sizes, colours, legend."""

import numpy as np
import pytest

from segray.masks.instances import Instances
from segray.pages import overlay

GREY = np.full((40, 60, 3), 100, dtype=np.uint8)


def instances(*boxes: tuple[int, int, int, int], size_hw: tuple[int, int] = (40, 60), **columns: object) -> Instances:
    masks = np.zeros((len(boxes), *size_hw), dtype=bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    return Instances.from_masks(masks, provenance="sam:nano", **columns)


def test_colours_differ_and_do_not_depend_on_their_number() -> None:
    many = overlay.colours(40)
    np.testing.assert_array_equal(overlay.colours(7), many[:7])
    steps = np.abs(np.diff(many.astype(int), axis=0)).sum(axis=1)
    assert steps.min() > 100
    assert len(np.unique(many, axis=0)) == 40


def test_only_masks_are_coloured() -> None:
    drawn = overlay.draw(GREY, instances((10, 10, 30, 30)))
    changed = np.any(drawn != GREY, axis=2)
    assert changed[12:28, 12:28].all()
    assert not changed[:8].any()
    assert not changed[:, 33:].any()
    np.testing.assert_array_equal(GREY, 100)


def test_small_masks_lie_over_large_ones() -> None:
    drawn = overlay.draw(GREY, instances((20, 10, 30, 20), (5, 5, 50, 35)))
    assert tuple(drawn[15, 25]) != tuple(drawn[30, 40])


def test_masks_above_lie_over_smaller_ones() -> None:
    nested = instances((20, 10, 30, 20), (5, 5, 50, 35))
    tones = np.array([[250, 0, 0], [0, 250, 0]], dtype=np.uint8)
    red, _, _ = overlay.draw(GREY, nested, by=tones)[15, 25]
    covered, green, _ = overlay.draw(GREY, nested, by=tones, above=np.array([False, True]))[15, 25]
    assert red > 100 > covered
    assert green > 100


def test_a_mask_is_filled_with_its_colour_and_outlined_by_it() -> None:
    drawn = overlay.draw(GREY, instances((10, 10, 30, 30)), fill=0.5)
    colour = overlay.colours(1)[0].astype(float)
    strength = 0.5 * (1 - 0.5 * 3 * 400 / 2400)
    np.testing.assert_allclose(drawn[20, 20], 100 * (1 - strength) + colour * strength, atol=1)
    assert np.abs(drawn[10, 20] - colour).sum() < np.abs(drawn[20, 20] - colour).sum() / 2


@pytest.mark.parametrize(("size_hw", "fitted"), [((40, 60), (20, 30)), ((60, 40), (30, 20)), ((10, 20), (10, 20))])
def test_pictures_shrink_to_a_side_and_never_grow(size_hw: tuple[int, int], fitted: tuple[int, int]) -> None:
    image = np.zeros((*size_hw, 3), dtype=np.uint8)
    assert overlay.fit(image, 30).shape[:2] == fitted
    assert overlay.draw(image, instances((1, 1, 5, 5), size_hw=size_hw), max_side=30).shape[:2] == fitted


def test_a_mask_of_one_pixel_is_still_seen_when_shrunk() -> None:
    drawn = overlay.draw(GREY, instances((31, 21, 32, 22)), max_side=15)
    assert np.any(drawn != 100, axis=2).sum() >= 1


def test_by_class_one_class_has_one_colour() -> None:
    boxes = ((2, 2, 12, 12), (20, 2, 30, 12), (40, 2, 50, 12), (2, 20, 12, 30))
    drawn = overlay.draw(GREY, instances(*boxes, classes=[1, 0, 1, -1]), by="class")
    first, second, third, none = drawn[7, 7], drawn[7, 25], drawn[7, 45], drawn[25, 7]
    np.testing.assert_array_equal(first, third)
    assert tuple(first) != tuple(second)
    assert len(set(none.tolist())) == 1


def test_no_masks_leave_the_image() -> None:
    np.testing.assert_array_equal(overlay.draw(GREY, Instances.empty((40, 60))), GREY)


def test_another_size_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"masks of size \(40, 61\) on an image of size \(40, 60\)"):
        overlay.draw(GREY, Instances.empty((40, 61)))


def test_the_legend_breaks_lines_and_shows_every_colour() -> None:
    tones = overlay.colours(9)
    strip = overlay.legend([f"class {number}" for number in range(9)], tones, 300)
    assert strip.shape[1] == 300
    assert strip.shape[0] > overlay.legend(["class 0"], tones[:1], 300).shape[0]
    for tone in tones:
        assert np.all(strip == tone, axis=2).sum() >= 200


def test_given_colours_are_taken() -> None:
    tones = np.array([[250, 0, 0], [0, 250, 0]], dtype=np.uint8)
    drawn = overlay.draw(GREY, instances((0, 0, 20, 40), (30, 0, 50, 40)), by=tones, fill=1.0).astype(int)
    assert drawn[20, 10, 0] > 100 > drawn[20, 10, 1]
    assert drawn[20, 40, 1] > 100 > drawn[20, 40, 0]


def test_enlarged_masks_lie_where_they_lay() -> None:
    image, larger = overlay.enlarged(GREY, instances((15, 10, 45, 30), classes=[2]), 180)
    assert image.shape == (120, 180, 3)
    np.testing.assert_allclose(larger.boxes_xyxy, [[45, 30, 135, 90]], atol=1)
    assert larger.classes.tolist() == [2]
    same, kept = overlay.enlarged(GREY, instances((15, 10, 45, 30)), 60)
    assert same is GREY
    assert kept.size_hw == (40, 60)
    assert len(overlay.enlarged(GREY, instances(), 180)[1]) == 0


def test_tones_name_what_is_coloured() -> None:
    names = ["background", "cell", "dot"]
    assert [name for name, _ in overlay.class_tones(names, maps=True, unknown=True)] == ["cell", "dot", "unknown"]
    assert [name for name, _ in overlay.class_tones(names[1:], maps=False, unknown=False)] == ["cell", "dot"]
    assert overlay.class_tones(["cell"], maps=False, unknown=False) == []


@pytest.mark.parametrize(("background", "classes"), [(True, [1, -1]), (False, [0, 1, -1])])
def test_of_a_map_the_background_is_not_drawn_and_the_unknown_is(background: bool, classes: list[int]) -> None:
    halves = instances((0, 0, 30, 40), (30, 0, 50, 40), classes=[0, 1])
    regions = overlay.map_regions(halves, background=background)
    assert regions.classes.tolist() == classes
    assert regions.areas[-1] == 40 * 10
    whole = instances((0, 0, 30, 40), (30, 0, 60, 40), classes=[0, 1])
    assert -1 not in overlay.map_regions(whole, background=background).classes
