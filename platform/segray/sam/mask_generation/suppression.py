"""Which masks go: duplicates of better ones, and those that a crop's border cuts.

The rules are segment-anything's, on boxes whose last row and column are inside; `Instances` count them outside.
"""

import numpy as np
import numpy.typing as npt
import torch
from torchvision.ops import batched_nms

from segray.masks.geometry import Boxes
from segray.sam.mask_generation.grids import Crop

NEAR = 20.0
"""Pixels within which a box touches a border."""


def suppress(boxes_xyxy: Boxes, scores: npt.NDArray[np.floating], iou_threshold: float) -> npt.NDArray[np.int64]:
    """Indices of the boxes that no better one overlaps by more than the threshold, by falling score."""
    if len(boxes_xyxy) == 0:
        return np.zeros(0, dtype=np.int64)
    boxes = torch.from_numpy(_inclusive(boxes_xyxy))
    kept: npt.NDArray[np.int64] = batched_nms(
        boxes, torch.from_numpy(scores), torch.zeros(len(boxes)), iou_threshold
    ).numpy()
    return kept


def touches_cut(boxes_xyxy: Boxes, crop: Crop, image_hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Whether boxes in a crop's pixels come near a side of the crop that is not near that side of the image, (N,)."""
    placed = _inclusive(boxes_xyxy) + np.array([crop.x0, crop.y0, crop.x0, crop.y0], dtype=np.float32)
    near_crop = np.abs(placed - np.array([crop.x0, crop.y0, crop.x1, crop.y1], dtype=np.float32)) <= NEAR
    near_image = np.abs(placed - np.array([0, 0, image_hw[1], image_hw[0]], dtype=np.float32)) <= NEAR
    return np.asarray(np.any(near_crop & ~near_image, axis=1))


def _inclusive(boxes_xyxy: Boxes) -> Boxes:
    """Lower right corners inside the box; an empty mask's box stays at zero."""
    boxes = boxes_xyxy.copy()
    boxes[:, 2:] = np.maximum(boxes[:, 2:] - 1, boxes[:, :2])
    return boxes
