"""mIoU against a brute-force count, over images and workers."""

import numpy as np
import pytest

from segray.masks.mean_iou import MeanIou

CLASSES = ("background", "disc", "square", "star")


def maps(number, *, seed=0, found_unknown=False):
    """Pairs of found and true maps of several sizes, with unknown pixels; the star is rare."""
    rng = np.random.default_rng(seed)
    values = np.array([0, 0, 1, 2, 2, 3, 255], dtype=np.uint8)
    made = []
    for index in range(number):
        true = rng.choice(values, (7 + index, 11))
        found = np.where(rng.random(true.shape) < 0.5, true, rng.choice(values, true.shape)).astype(np.uint8)
        if not found_unknown:
            found[found == 255] = 0
        made.append((found, true))
    return made


def by_hand(pairs):
    """Pixel by pixel: IoU of each class, share right, share with a class."""
    intersections, unions, right, covered, known = [0] * 4, [0] * 4, 0, 0, 0
    for found, true in pairs:
        for said, there in zip(found.flat, true.flat, strict=True):
            if there == 255:
                continue
            known += 1
            right += said == there
            covered += said != 255
            for class_id in range(4):
                intersections[class_id] += said == class_id == there
                unions[class_id] += class_id in (said, there)
    ious = [one / (both + 1e-10) for one, both in zip(intersections, unions, strict=True)]
    return ious, right / known, covered / known


@pytest.mark.parametrize("found_unknown", [False, True])
@pytest.mark.parametrize("parts", [1, 3])
def test_it_is_what_counting_pixel_by_pixel_gives(parts, found_unknown):
    pairs = maps(5, found_unknown=found_unknown)
    whole = MeanIou(CLASSES)
    for part in range(parts):
        own = MeanIou(CLASSES)
        for found, true in pairs[part::parts]:
            own.add(found, true)
        whole.merge(own)
    result, (ious, right, covered) = whole.result(), by_hand(pairs)
    assert list(result.per_class.values()) == pytest.approx(ious)
    assert result.miou == pytest.approx(np.mean(ious))
    assert (result.accuracy, result.coverage, result.num_images) == (
        pytest.approx(right),
        pytest.approx(covered),
        5,
    )
    assert bool(covered < 1) is found_unknown


def test_it_is_of_the_data_set_and_no_mean_over_images():
    whole = MeanIou(CLASSES[:2])
    whole.add(np.ones((1, 10), np.uint8), np.ones((1, 10), np.uint8))
    whole.add(np.zeros((1, 2), np.uint8), np.ones((1, 2), np.uint8))
    assert whole.result().per_class["disc"] == pytest.approx(10 / 12)


def test_a_class_that_is_nowhere_counts_as_nought():
    whole = MeanIou(CLASSES)
    whole.add(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8))
    assert whole.result().figures()["miou"] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("found", "true", "problem"),
    [
        (np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), "size"),
        (np.full((2, 2), 4, np.uint8), np.zeros((2, 2), np.uint8), "class ids up to 4"),
        (np.zeros((2, 2), np.uint8), np.full((2, 2), 4, np.uint8), "class ids up to 4"),
    ],
)
def test_what_cannot_be_counted_is_refused(found, true, problem):
    with pytest.raises(ValueError, match=problem):
        MeanIou(CLASSES).add(found, true)
