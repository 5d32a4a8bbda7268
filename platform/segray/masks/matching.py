"""Which mask is which: pairs of two sets of masks of one image, one to one."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from segray.masks import rle
from segray.masks.instances import Instances

LEAST_IOU = 0.5
"""From which overlap on a mask counts as an object's."""


def ious(first: Instances, second: Instances) -> npt.NDArray[np.float64]:
    """Pairwise intersection over union, shape (N, M)."""
    return rle.iou(list(first.counts), list(second.counts), second.size_hw)


def best_pairs(values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The one-to-one pairs (rows, columns) whose values (N, M) have the greatest sum, those above 0 only."""
    rows, columns = linear_sum_assignment(values, maximize=True)
    kept = values[rows, columns] > 0
    return rows[kept], columns[kept]


def correct_pairs(found: Instances, true: Instances) -> tuple[npt.NDArray[np.int64], ...]:
    """Found instances and the true ones that they are, as (rows, columns): same class, IoU from `LEAST_IOU` on."""
    values = ious(found, true)
    same = found.classes[:, None] == true.classes[None, :]
    return best_pairs(np.where(same & (values >= LEAST_IOU), values, 0.0))
