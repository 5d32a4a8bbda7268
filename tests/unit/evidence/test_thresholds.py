import numpy as np
import pytest

from segray.errors import LabelError
from segray.evidence.thresholds import ThresholdExample, choose

CLASSES = ("background", "disc", "square")
RIGHT, WRONG = np.array([[0, 1], [2, 255]], np.uint8), np.array([[1, 1], [2, 0]], np.uint8)


def example(guesses, truth=RIGHT):
    return ThresholdExample(truth=truth, guess=lambda threshold: guesses[threshold])


def test_the_best_of_all_pixels_is_chosen():
    unknown = np.full((2, 2), 255, np.uint8)
    found = choose([example({0.1: WRONG, 0.5: RIGHT, 0.9: unknown})], [0.1, 0.5, 0.9], CLASSES)
    assert (found.threshold, found.miou) == (0.5, pytest.approx(1.0))


def test_what_is_called_unknown_counts_as_wrong():
    unsure = np.array([[0, 255], [2, 0]], np.uint8)
    assert choose([example({0.1: unsure})], [0.1], CLASSES).miou == pytest.approx(2 / 3)


def test_images_are_added_up_before_the_mean():
    first, second = example({0.1: WRONG}), example({0.1: np.zeros((2, 2), np.uint8)}, np.zeros((2, 2), np.uint8))
    # Class 0: 4 of 5; class 1: 1 of 2; class 2: 1 of 1.
    assert choose([first, second], [0.1], CLASSES).miou == pytest.approx((4 / 5 + 1 / 2 + 1) / 3)


def test_painting_a_class_that_is_nowhere_costs():
    truth, painted = np.array([[0, 0, 1, 1]], np.uint8), np.array([[0, 2, 1, 1]], np.uint8)
    careful = np.array([[0, 0, 0, 1]], np.uint8)
    assert choose([example({0.1: painted, 0.5: careful}, truth)], [0.1, 0.5], CLASSES).threshold == 0.5


def test_nothing_labeled_is_an_error():
    with pytest.raises(LabelError, match="nothing is labeled"):
        choose([], [0.1], CLASSES)
