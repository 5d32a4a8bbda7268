import numpy as np
import pytest

from segray.masks.object_prompts import OFF, ON, ObjectPrompts, fit

SIZE_HW = (60, 100)


@pytest.mark.parametrize(
    ("box", "fitted"),
    [
        ((10, 20, 30, 40), (10, 20, 30, 40)),
        ((-5, 20, 30, 75), (0, 20, 30, 60)),
        ((0, 0, 100.9, 60.9), (0, 0, 100, 60)),
        ((0.2, 0.2, 0.9, 5), (0.2, 0.2, 0.9, 5)),
    ],
)
def test_boxes_are_cut_at_the_edges(box, fitted):
    found, left_out = fit(ObjectPrompts.build(boxes_xyxy=[box]), SIZE_HW)
    assert found.boxes_xyxy.tolist() == [list(fitted)]
    assert left_out == []


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((100, 0, 120, 20), "have boxes outside the image"),
        ((-20, 0, 0, 20), "have boxes outside the image"),
        ((10, 10, 10, 30), "have empty boxes"),
        ((30, 10, 10, 30), "have inverted boxes"),
        ((0.1, 0.2, 0.5, 0.9), "have boxes in relative units"),
        ((10, 70, 50, 90), "are of another orientation than the image"),
        ((10, np.inf, 50, 90), "have boxes that are no numbers"),
        ((10, np.nan, 50, 90), "have boxes that are no numbers"),
        ((np.nan,) * 4, "have no box, and no point on the object"),
    ],
)
def test_what_no_model_can_be_asked_is_left_out_with_its_reason(box, reason):
    found, left_out = fit(ObjectPrompts.build(boxes_xyxy=[box, (1, 2, 30, 40)], ids=["a", "b"]), SIZE_HW)
    assert left_out == [reason]
    assert found.ids == ("b",)


@pytest.mark.parametrize(
    ("points", "labels", "reason"),
    [
        ([(5, 5), (9, 9)], [ON, OFF], None),
        ([(5, 5)], [OFF], "have no box, and no point on the object"),
        ([(5, 60)], [ON], "have points outside the image"),
        ([(5, np.inf)], [ON], "have points that are no numbers"),
    ],
)
def test_points(points, labels, reason):
    _, left_out = fit(ObjectPrompts.build(points_xy=[points], point_labels=[labels]), SIZE_HW)
    assert left_out == ([] if reason is None else [reason])


@pytest.mark.parametrize(
    ("size_hw", "reason"),
    [(SIZE_HW, None), ((100, 60), "of another orientation"), ((30, 50), "of another size"), (None, None)],
)
def test_prompts_of_a_file_that_knows_another_size_are_left_out(size_hw, reason):
    _, left_out = fit(ObjectPrompts.build(boxes_xyxy=[(1, 2, 30, 40)] * 3, size_hw=size_hw), SIZE_HW)
    assert len(left_out) == (0 if reason is None else 3)
    assert all(reason in one for one in left_out)


def test_relative_coordinates_become_pixels():
    given = ObjectPrompts.build(
        boxes_xyxy=[(0.1, 0.5, 0.2, 1)], points_xy=[[(0.5, 0.5)]], relative=True, size_hw=(7, 7)
    )
    found, _ = fit(given, SIZE_HW)
    assert found.boxes_xyxy.tolist() == [[10, 30, 20, 60]]
    assert found.points_xy.tolist() == [[[50, 30]]]
    assert not found.relative


def test_an_image_without_objects():
    found, left_out = fit(ObjectPrompts.build(), SIZE_HW)
    assert len(found) == 0
    assert left_out == []
