"""The threshold below which something is background, chosen on labeled images: the one with the best mIoU there.

Knows class maps. Sees nothing but the examples it is given.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from segray.errors import LabelError
from segray.masks.mean_iou import MeanIou
from segray.masks.semantic import Map


@dataclass(frozen=True, kw_only=True)
class ThresholdExample:
    """One labeled image."""

    truth: Map
    """(H, W); 255 is not counted."""
    guess: Callable[[float], Map]
    """The map (H, W) that a threshold leads to; 255 is wrong wherever the truth is known."""


@dataclass(frozen=True, kw_only=True)
class ThresholdChoice:
    """The threshold to take."""

    threshold: float
    miou: float
    """Of the labeled images, over all their pixels; a score of the choice, not of a method."""


def choose(
    examples: Iterable[ThresholdExample], candidates: Sequence[float], classes: Sequence[str]
) -> ThresholdChoice:
    """The candidate of best mIoU (the lowest of equals); the background is one of the `classes`.

    Raises:
        LabelError: there is no labeled pixel.
    """
    gathered = [MeanIou(classes) for _ in candidates]
    for example in examples:
        for own, candidate in zip(gathered, candidates, strict=True):
            own.add(example.guess(candidate), example.truth)
    results = [own.result() for own in gathered]
    if not results[0].num_pixels:
        raise LabelError("nothing is labeled to choose a threshold on: give some, or set the threshold to a number")
    scores = [one.miou_seen for one in results]
    best = int(np.argmax(scores))
    return ThresholdChoice(threshold=float(candidates[best]), miou=scores[best])
