"""Repeat factors against values by hand, and the order of epochs that repeat images."""

import pickle

import numpy as np
import pytest

from segray.datasets.training_rows import TrainingRows
from segray.formats.registry import open_source
from segray.testing import write_coco
from segray.training.sampling import EpochOrder, repeat_factors


@pytest.mark.parametrize(
    ("objects", "threshold", "factors"),
    [
        # Class 0 is in 3 of 4 images, class 1 in 1: sqrt(t / 0.75) and sqrt(t / 0.25), but never under 1.
        ([(0, 0), (1, 0), (1, 1), (2, 0)], 1.0, [1.1547, 2, 1.1547, 1]),
        ([(0, 0), (1, 0), (1, 1), (2, 0)], 0.5, [1, 1.4142, 1, 1]),
        ([(0, 0), (1, 0), (1, 1), (2, 0)], 0.25, [1, 1, 1, 1]),
        ([(0, 0), (1, 0), (1, 1), (2, 0)], 10.0, [3.6515, 6.3246, 3.6515, 1]),
        # Several objects of a class in an image are one image with that class.
        ([(0, 0), (0, 0), (0, 0), (3, 2)], 1.0, [2, 1, 1, 2]),
        # A number that no class has between two that are there.
        ([(0, 0), (1, 5), (2, 5), (3, 5)], 1.0, [2, 1.1547, 1.1547, 1.1547]),
        ([], 10.0, [1, 1, 1, 1]),
    ],
)
def test_factors_by_hand(objects, threshold, factors):
    images, classes = np.array(objects, dtype=np.int64).reshape(-1, 2).T
    assert repeat_factors(images, classes, 4, threshold) == pytest.approx(factors, abs=1e-4)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Four images with 0, 1, 2 and 3 objects: of no class; disc; square and disc; square, disc and square."""
    folder = tmp_path_factory.mktemp("rows")
    return TrainingRows.build(open_source(write_coco(folder, 4)), folder / "rows.arrow")


def test_objects_of_rows_are_theirs(rows):
    images, classes = rows.objects()
    assert list(zip(images.tolist(), classes.tolist(), strict=True)) == [(1, 0), (2, 1), (2, 0), (3, 1), (3, 0), (3, 1)]


def test_images_are_shown_as_often_as_their_factors_on_average(rows):
    """Disc is in 3 of 4 images, square in 2: with a threshold of 2 sqrt(8 / 3) and 2."""
    order = EpochOrder(rows, 0, "labeled", 2.0)
    shown = [order.row(place) for place in range(6000)]
    counts = np.bincount(shown, minlength=4)
    assert counts / counts[0] == pytest.approx([1, 1.633, 2, 2], rel=0.05)
    # The first epoch shows whole factors for sure: image 0 once, images 2 and 3 twice, image 1 once or twice.
    assert sorted(shown[:6]) != sorted(range(4))


def test_any_place_can_be_asked_for_first_and_in_another_process(rows):
    order = EpochOrder(rows, 3, "labeled", 10.0)
    shown = [order.row(place) for place in range(200)]
    for place in (199, 57, 0):
        assert EpochOrder(rows, 3, "labeled", 10.0).row(place) == shown[place]
        assert pickle.loads(pickle.dumps(order)).row(place) == shown[place]
    assert [EpochOrder(rows, 4, "labeled", 10.0).row(place) for place in range(50)] != shown[:50]


def test_without_a_threshold_every_epoch_shows_every_image_once(rows):
    order = EpochOrder(rows, 0, "labeled")
    shown = np.array([order.row(place) for place in range(400)]).reshape(100, 4)
    assert (np.sort(shown) == np.arange(4)).all()
    assert len({tuple(one) for one in shown.tolist()}) > 10
