"""The honesty baseline: what colour alone can do on the worlds.

Knows a scene's pixels and masks. Classic methods, each with an oracle that picks the best connected component for every
object: k-means over colours with three numbers of clusters, and Otsu's threshold on the best of the channels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from segray.demo.world import Scene

CLUSTER_COUNTS: Final = (3, 6, 10)
METHODS: Final = (*(f"kmeans{count}" for count in CLUSTER_COUNTS), "otsu")


def threshold_ious(found: Scene) -> NDArray[np.float64]:
    """(METHODS, objects) IoU of each method's best connected component, chosen with knowledge of the true mask."""
    smooth = np.asarray(cv2.GaussianBlur(found.image, (0, 0), 1.0), np.uint8)
    masks = np.stack([item.mask for item in found.objects])
    clustered = [_best_component(_clusters(smooth, count), masks) for count in CLUSTER_COUNTS]
    channels = [_best_component(_otsu(smooth[..., channel]), masks) for channel in range(3)]
    return np.stack([*clustered, np.max(channels, axis=0)])


def baseline_iou(scenes: Iterable[Scene]) -> dict[str, float]:
    """Mean IoU over all objects of the scenes, per method."""
    means = np.concatenate([threshold_ious(found) for found in scenes], axis=1).mean(axis=1)
    return dict(zip(METHODS, map(float, means), strict=True))


def _clusters(image: NDArray[np.uint8], count: int) -> NDArray[np.int32]:
    """k-means over RGB: the cluster (H, W) of each pixel."""
    cv2.setRNGSeed(0)
    pixels = image.reshape(-1, 3).astype(np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 1.0)
    _, labels, _ = cv2.kmeans(pixels, count, None, criteria, 1, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
    return np.asarray(labels, np.int32).reshape(image.shape[:2])


def _otsu(channel: NDArray[np.uint8]) -> NDArray[np.int32]:
    _, binary = cv2.threshold(channel, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return np.asarray(binary, np.int32)


def _best_component(labels: NDArray[np.int32], masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(objects,) best IoU with any connected component of any label."""
    best = np.zeros(len(masks))
    for value in np.unique(labels):
        _, components = cv2.connectedComponents((labels == value).astype(np.uint8))
        areas = np.bincount(components.ravel())
        for row, mask in enumerate(masks):
            overlap = np.bincount(components[mask], minlength=len(areas))
            iou = overlap[1:] / (areas[1:] + mask.sum() - overlap[1:])
            best[row] = max(best[row], float(iou.max(initial=0.0)))
    return best
