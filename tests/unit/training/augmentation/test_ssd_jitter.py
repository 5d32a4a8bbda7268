"""SSD's colour jitter: each change against values by hand, and how often and how far each acts."""

import numpy as np
import pytest

from segray import keyed_random
from segray.config.views import WeakView
from segray.datasets.training_rows import TrainingRow
from segray.training.augmentation.geometry import sample
from segray.training.augmentation.ssd_jitter import SsdJitter, draw_ssd_jitter

ORANGE = (200, 100, 50)
"""Hue 20 degrees, saturation 0.75 of 200."""


@pytest.mark.parametrize(
    ("changes", "colour", "off_by"),
    [
        ({}, (200, 100, 50), 0),
        ({"brightness": 32.0}, (232, 132, 82), 0),
        ({"brightness": -60.5}, (139, 39, 0), 0),
        ({"contrast": 1.5}, (255, 150, 75), 0),
        ({"contrast": 0.5}, (100, 50, 25), 0),
        # Half the saturation: the smallest channel rises from 50 to 200 - 75, the middle one stays a third between.
        ({"saturation": 0.5}, (200, 150, 125), 1),
        # 15 of 180 are 30 degrees: 50 degrees, where the middle channel is 50 + 150 * 50 / 60.
        ({"hue": 15}, (200, 175, 50), 1),
        # 20 - 36 degrees is 344: red with 16 / 60 of blue.
        ({"hue": -18}, (200, 50, 90), 2),
        # The red channel is cut to 255 before the saturation changes, or after.
        ({"contrast": 1.5, "saturation": 0.5}, (255, 202, 165), 3),
        ({"contrast": 1.5, "saturation": 0.5, "contrast_last": True}, (255, 225, 187), 2),
        ({"brightness": 20.0, "contrast": 0.5}, (110, 60, 35), 0),
    ],
)
def test_changes_by_hand(changes, colour, off_by):
    found = SsdJitter(**changes).apply(np.full((2, 3, 3), ORANGE, dtype=np.uint8))
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - colour).max() <= off_by


def test_each_change_acts_on_half_of_the_images_within_its_bounds():
    drawn = [draw_ssd_jitter(keyed_random.key("test", index)) for index in range(2000)]
    assert draw_ssd_jitter(keyed_random.key("test", 5)) == drawn[5]
    for name, still, smallest, largest in [
        ("brightness", 0, -32, 32),
        ("contrast", 1, 0.5, 1.5),
        ("saturation", 1, 0.5, 1.5),
        ("hue", 0, -18, 18),
    ]:
        values = np.array([getattr(one, name) for one in drawn])
        # One in 37 draws of the hue is 0.
        assert (values != still).mean() == pytest.approx(0.5, abs=0.05)
        assert values.min() == pytest.approx(smallest, abs=0.05 * (largest - smallest))
        assert values.max() == pytest.approx(largest, abs=0.05 * (largest - smallest))
    assert np.mean([one.contrast_last for one in drawn]) == pytest.approx(0.5, abs=0.05)


def test_a_view_jitters_its_image_and_not_its_padding():
    pixels = np.full((40, 40, 3), ORANGE, dtype=np.uint8)
    row = TrainingRow(image_id="a", uri="a", instances=None)
    settings = {"canvas_hw": (64, 64), "min_scale": 0.5, "max_scale": 0.5, "padding": "grey"}
    key = next(one for one in range(100) if draw_ssd_jitter(one).brightness > 5)
    plain, jittered = (
        sample(row, pixels, WeakView(**settings, colour_jitter=jitter), key).images[0] for jitter in (None, "ssd")
    )
    expected = draw_ssd_jitter(key).apply(plain.numpy().transpose(1, 2, 0)[:32, :32])
    assert np.array_equal(jittered.numpy().transpose(1, 2, 0)[:32, :32], expected)
    assert not np.array_equal(jittered, plain)
    assert (jittered[:, 32:] == 128).all()
