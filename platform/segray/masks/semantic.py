"""Label maps and masks, one into the other: a class per pixel as `Instances` that do not overlap.

A map is (H, W) uint8: class ids, 255 where nothing is known. Where masks overlap, the one painted last is seen. Knows
nothing of who made either.
"""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from segray.masks import rle
from segray.masks.instances import UNLABELED, Instances
from segray.masks.view import View

UNKNOWN: Final = 255
"""Class index of pixels whose class is not known."""
BACKGROUND: Final = "background"
"""Name of the class of what is no object, the first one of a task that has it."""
BACKGROUND_INDEX: Final = 0
"""Index of that class in the maps of such a task."""
Last = Literal["smallest", "best"]
"""Which of overlapping masks is seen: the smallest (small ones lie in large ones), or that of the highest score."""

Map = npt.NDArray[np.uint8]
Confidence = npt.NDArray[np.float32]


def first_index(classes: Sequence[str]) -> int:
    """Which index the first class has in a PNG, where 0 is background: 0 where it is the background, else 1."""
    return 0 if classes and classes[0].lower() == BACKGROUND else 1


def paint(instances: Instances, fill: int = UNKNOWN, *, last: Last = "smallest") -> Map:
    """The class map (H, W), `fill` where no mask lies. Masks without a class are not painted."""
    canvas = np.full(instances.size_hw, fill, dtype=np.uint8)
    for index in _order(instances, last):
        canvas[rle.decode([instances.counts[index]], instances.size_hw)[0]] = instances.classes[index]
    return canvas


def confidence(instances: Instances, *, last: Last = "smallest") -> Confidence:
    """(H, W): the score of the mask that `paint` shows at each pixel, 0 where none lies."""
    canvas = np.zeros(instances.size_hw, dtype=np.float32)
    for index in _order(instances, last):
        canvas[rle.decode([instances.counts[index]], instances.size_hw)[0]] = instances.scores[index]
    return canvas


def from_map(
    labels: Map, *, provenance: str, scores: npt.NDArray[np.floating] | None = None, unknown: int = UNKNOWN
) -> Instances:
    """One mask per class that the map (H, W) shows, in the order of class ids; its score is the mean of `scores` in it.

    Args:
        labels: class ids.
        provenance: who made it.
        scores: (H, W) how sure each pixel is; none: 1.
        unknown: no class; its pixels are under no mask.
    """
    present = np.unique(labels)
    present = present[present != unknown]
    masks = [labels == class_id for class_id in present]
    means = None if scores is None else [float(scores[mask].mean()) for mask in masks]
    return Instances.from_rle(
        [rle.encode(mask[None])[0] for mask in masks],
        (labels.shape[0], labels.shape[1]),
        provenance=provenance,
        scores=means,
        classes=present,
    )


def on_canvas(
    instances: Instances, view: View, fill: int = UNKNOWN, *, last: Last = "smallest"
) -> tuple[Map, Confidence]:
    """What `paint` and `confidence` say, as a view's canvas shows it; padding is `fill`, of confidence 0.

    Raises:
        ValueError: instances of an image of another size.
    """
    ordered = instances.filter(_order(instances, last))
    masks, rows = view.masks(ordered)
    labels, scores = np.full(view.canvas_hw, fill, dtype=np.uint8), np.zeros(view.canvas_hw, dtype=np.float32)
    for mask, row in zip(masks, rows, strict=True):
        labels[mask], scores[mask] = ordered.classes[row], ordered.scores[row]
    return labels, scores


def _order(instances: Instances, last: Last) -> npt.NDArray[np.int64]:
    """The rows with a class, in the order in which they are painted; the earlier of equals is seen."""
    keys = -instances.areas if last == "smallest" else instances.scores
    order: npt.NDArray[np.int64] = np.argsort(-keys, kind="stable")[::-1]
    return np.asarray(order[instances.classes[order] != UNLABELED])
