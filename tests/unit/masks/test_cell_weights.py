import cv2
import numpy as np
import pytest

from segray.masks import cell_weights, rle
from segray.masks.instances import Instances


def random_masks(seed, size_hw):
    rng = np.random.default_rng(seed)
    return rng.random((4, *size_hw)) < rng.random((4, 1, 1))


@pytest.mark.parametrize("size_hw", [(28, 42), (24, 24), (31, 17), (5, 90)])
@pytest.mark.parametrize("grid_hw", [(7, 7), (4, 6)])
def test_shares_are_the_areas_of_fine_pixels(size_hw, grid_hw):
    masks = random_masks(0, size_hw)
    found = cell_weights.cell_coverage(Instances.from_masks(masks, provenance="sam"), grid_hw)
    # Each pixel cut into as many pieces as the grid has cells, so that every cell holds whole pieces.
    fine = np.repeat(np.repeat(masks, grid_hw[0], axis=1), grid_hw[1], axis=2)
    cells = fine.reshape(4, grid_hw[0], size_hw[0], grid_hw[1], size_hw[1]).mean((2, 4))
    assert found == pytest.approx(cells, abs=1e-5)


@pytest.mark.parametrize("size_hw", [(28, 42), (50, 50)])
def test_interpolated_weights_give_the_mean_of_the_upsampled_map(size_hw):
    mask = random_masks(1, size_hw)[0]
    values = np.random.default_rng(2).random((7, 5)).astype(np.float32)
    weights = cell_weights.interpolation_weights(rle.encode(mask[None])[0], size_hw, values.shape)
    large = cv2.resize(values, size_hw[::-1], interpolation=cv2.INTER_LINEAR)
    assert weights.sum() == pytest.approx(1, abs=1e-5)
    assert (weights * values).sum() == pytest.approx(large[mask].mean(), abs=1e-4)


def test_no_masks_and_empty_ones_cover_nothing():
    assert cell_weights.cell_coverage(Instances.empty((8, 8)), (2, 2)).shape == (0, 2, 2)
    empty = Instances.from_masks(np.zeros((1, 8, 8), bool), provenance="sam")
    assert cell_weights.cell_coverage(empty, (2, 2)).sum() == 0
