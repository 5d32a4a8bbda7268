"""The honesty baseline finds what colour can find, and does not solve family B."""

import numpy as np
import pytest

from segray.demo.world import Scene, SceneObject, WorldLook, scene
from tools.nano.colour_baseline import METHODS, baseline_iou, threshold_ious


def test_flat_object_on_flat_ground_is_found() -> None:
    image = np.full((64, 64, 3), 40, np.uint8)
    mask = np.zeros((64, 64), np.bool_)
    mask[16:48, 16:48] = True
    image[mask] = (220, 180, 60)
    ious = threshold_ious(Scene(image, (SceneObject("square", mask, {}, ()),), (~mask,)))
    assert ious.shape == (len(METHODS), 1)
    assert ious.min() > 0.7
    assert ious.max() == 1.0


@pytest.mark.parametrize("look", ["busy", "photo"])
def test_colour_thresholding_does_not_solve_family_b(look: WorldLook) -> None:
    means = baseline_iou(scene("b", 5_000_000 + index, look=look) for index in range(30))
    assert set(means) == set(METHODS)
    assert all(0.05 < mean < 0.40 for mean in means.values()), means
