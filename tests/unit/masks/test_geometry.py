import numpy as np
import pytest
import torch
from torchvision.ops import box_iou as reference_iou
from torchvision.ops import nms as reference_nms

from segray.masks.geometry import box_areas, box_iou, nms


def boxes(number, seed):
    rng = np.random.default_rng(seed)
    corner = rng.random((number, 2)) * 50
    return np.concatenate([corner, corner + rng.random((number, 2)) * 30], 1).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
def test_nms_is_torchvisions(seed, threshold):
    candidates, scores = boxes(60, seed), np.random.default_rng(seed).random(60).astype(np.float32)
    expected = reference_nms(torch.from_numpy(candidates), torch.from_numpy(scores), threshold)
    assert nms(candidates, scores, threshold).tolist() == expected.tolist()


def test_overlap_is_torchvisions():
    first, second = boxes(7, 0), boxes(5, 1)
    expected = reference_iou(torch.from_numpy(first), torch.from_numpy(second))
    assert box_iou(first, second) == pytest.approx(expected.numpy(), abs=1e-6)


def test_nothing_has_no_area_and_no_overlap():
    assert box_areas(np.array([[3, 3, 1, 1]], np.float32)).tolist() == [0]
    assert nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.5).tolist() == []
