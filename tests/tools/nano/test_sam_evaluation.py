"""Points are drawn where they should be, and the shipped weights beat colour on scenes they never saw."""

import numpy as np
import torch

from segray.sam.backends.segment_anything.nano import build_sam_nano, load_sam_nano
from tools.nano.colour_baseline import baseline_iou
from tools.nano.sam_evaluation import _one_more, held_out, mean_ious


def test_a_point_falls_where_the_mask_is_wrong() -> None:
    inside, outside = np.zeros((3, 8, 8), np.bool_), np.zeros((3, 8, 8), np.bool_)
    inside[0, 2, 5] = True
    outside[1, 6, 1] = True
    coords, labels = _one_more(torch.zeros(3, 1, 2), torch.ones(3, 1), inside, outside, np.random.default_rng(0))
    assert coords.shape == (3, 2, 2)
    assert coords[0, 1].tolist() == [5.5, 2.5]
    assert coords[1, 1].tolist() == [1.5, 6.5]
    assert labels[:, 1].tolist() == [1.0, 0.0, -1.0]


def test_shipped_weights_do_what_random_ones_and_colour_do_not() -> None:
    scenes = list(held_out("b", 8, repeat=7))
    trained = mean_ious(load_sam_nano(), scenes, (1, 3), seed=0)
    untrained = mean_ious(build_sam_nano(), scenes, (1, 3), seed=0)
    assert trained.shape == (2, 2)
    assert trained[0, 0] > untrained[0, 0] + 0.2
    assert trained[1, 1] > trained[0, 1]
    assert trained[1, 0] > max(baseline_iou(scenes).values())
