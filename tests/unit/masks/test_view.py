import numpy as np
import pytest

from segray.masks.instances import Instances
from segray.masks.view import View


def by_definition(view: View, masks: np.ndarray) -> np.ndarray:
    """Whole masks: resized by their pixels' centres, mirrored, cut, padded."""
    (height, width), (rows, columns) = view.image_hw, view.resized_hw
    y = np.floor((np.arange(rows) + 0.5) * height / rows).astype(int)
    x = np.floor((np.arange(columns) + 0.5) * width / columns).astype(int)
    resized = masks[:, y][:, :, x]
    resized = resized[:, :, ::-1] if view.flipped else resized
    window = resized[:, view.origin_yx[0] :, view.origin_yx[1] :][:, : view.canvas_hw[0], : view.canvas_hw[1]]
    canvas = np.zeros((len(masks), *view.canvas_hw), dtype=bool)
    canvas[:, : window.shape[1], : window.shape[2]] = window
    return canvas


def blobs(size_hw: tuple[int, int], number: int, seed: int) -> np.ndarray:
    """Noise inside random boxes: small, large, touching borders."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((number, *size_hw), dtype=bool)
    for mask in masks:
        (y0, y1), (x0, x1) = (np.sort(rng.integers(0, side + 1, 2)) for side in size_hw)
        mask[y0:y1, x0:x1] = rng.random((y1 - y0, x1 - x0)) < rng.choice([0.1, 0.6, 1.0])
    return masks


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize(
    ("image_hw", "resized_hw", "origin_yx", "canvas_hw"),
    [
        ((40, 30), (40, 30), (0, 0), (64, 64)),
        ((40, 30), (40, 30), (0, 0), (40, 30)),
        ((40, 30), (97, 73), (31, 11), (32, 32)),
        ((40, 30), (13, 9), (0, 0), (32, 32)),
        ((97, 203), (64, 134), (0, 70), (64, 64)),
        ((97, 203), (64, 134), (0, 69), (32, 64)),
        ((33, 5), (200, 30), (168, 0), (32, 64)),
    ],
)
def test_masks_are_the_whole_masks_cut(image_hw, resized_hw, origin_yx, canvas_hw, flipped):
    view = View(image_hw=image_hw, resized_hw=resized_hw, origin_yx=origin_yx, flipped=flipped, canvas_hw=canvas_hw)
    masks = blobs(image_hw, 40, seed=sum(image_hw))
    expected = by_definition(view, masks)
    found, indices = view.masks(Instances.from_masks(masks, provenance="gt"))
    assert indices.tolist() == np.flatnonzero(expected.any((1, 2))).tolist()
    assert 0 < len(indices) < 40
    assert np.array_equal(found, expected[indices])
    assert not found[:, view.valid_hw[0] :].any()
    assert not found[:, :, view.valid_hw[1] :].any()


def test_no_instances_are_no_masks():
    view = View(image_hw=(4, 4), resized_hw=(8, 8), origin_yx=(0, 0), flipped=True, canvas_hw=(32, 32))
    masks, indices = view.masks(Instances.empty((4, 4)))
    assert masks.shape == (0, 32, 32)
    assert indices.shape == (0,)


def test_instances_of_another_image_are_refused():
    view = View(image_hw=(4, 4), resized_hw=(8, 8), origin_yx=(0, 0), flipped=False, canvas_hw=(32, 32))
    with pytest.raises(ValueError, match=r"\(4, 5\)"):
        view.masks(Instances.empty((4, 5)))
