"""The threshold below which something is background, chosen on labeled images: the one with the best mIoU there.

Knows class maps. Sees nothing but the examples it is given.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segray.errors import LabelError

ClassMap = npt.NDArray[np.uint8]
UNKNOWN = 255


@dataclass(frozen=True, kw_only=True)
class Example:
    """One labeled image."""

    truth: ClassMap
    """(H, W); 255 is not counted."""
    guess: Callable[[float], ClassMap]
    """The map (H, W) that a threshold leads to; 255 is wrong wherever the truth is known."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The threshold to take."""

    threshold: float
    miou: float
    """Of the labeled images, over all their pixels; a score of the choice, not of a method."""


def choose(examples: Iterable[Example], candidates: Sequence[float], num_classes: int) -> Choice:
    """The candidate of best mIoU (the lowest of equals); background is counted among `num_classes`.

    Raises:
        LabelError: there is no labeled pixel.
    """
    sums = np.zeros((len(candidates), num_classes, num_classes + 1), dtype=np.int64)
    for example in examples:
        sums += np.stack([_confusion(example.truth, example.guess(one), num_classes) for one in candidates])
    if not sums.any():
        raise LabelError("nothing is labeled to choose a threshold on: give some, or set the threshold to a number")
    scores = [_miou(total) for total in sums]
    best = int(np.argmax(scores))
    return Choice(threshold=float(candidates[best]), miou=scores[best])


def _confusion(truth: ClassMap, guess: ClassMap, num_classes: int) -> npt.NDArray[np.int64]:
    """Pixels by true and by guessed class (K, K + 1); what is guessed to be unknown comes last."""
    known = truth != UNKNOWN
    guessed = np.minimum(guess[known].astype(np.int64), num_classes)
    flat = truth[known].astype(np.int64) * (num_classes + 1) + guessed
    return np.bincount(flat, minlength=num_classes * (num_classes + 1)).reshape(num_classes, num_classes + 1)


def _miou(confusion: npt.NDArray[np.int64]) -> float:
    """Mean IoU of the classes that are in the truth or in the guess."""
    right = confusion.diagonal()
    either = confusion.sum(1) + confusion[:, :-1].sum(0) - right
    present = either > 0
    return float((right[present] / either[present]).mean()) if present.any() else 0.0
