"""Boxes: overlap and suppression. Arrays of pixels, (N, 4) as x0, y0, x1, y1."""

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float32]


def box_areas(boxes_xyxy: Boxes) -> npt.NDArray[np.float32]:
    """Areas in pixels, shape (N,)."""
    sides = np.clip(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0, None)
    return np.asarray(sides[:, 0] * sides[:, 1], dtype=np.float32)


def box_iou(first: Boxes, second: Boxes) -> npt.NDArray[np.float32]:
    """Pairwise intersection over union, shape (N, M); 0 where both are empty."""
    upper_left = np.maximum(first[:, None, :2], second[None, :, :2])
    lower_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.clip(lower_right - upper_left, 0, None)
    intersection = sides[..., 0] * sides[..., 1]
    total = box_areas(first)[:, None] + box_areas(second)[None, :] - intersection
    return np.asarray(intersection / np.maximum(total, 1e-9), dtype=np.float32)


def nms(boxes_xyxy: Boxes, scores: npt.NDArray[np.float32], iou_threshold: float) -> npt.NDArray[np.int64]:
    """Indices of boxes that no better one overlaps by more than the threshold, by falling score."""
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        overlap = box_iou(boxes_xyxy[best : best + 1], boxes_xyxy[rest])[0]
        order = rest[overlap <= iou_threshold]
    return np.asarray(kept, dtype=np.int64)
