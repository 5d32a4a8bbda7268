"""Order in which a stream shows its images: epochs of all rows, those with rare classes several times.

Repeat factors are those of LVIS (Gupta et al. 2019, arXiv 1908.03195, appendix B.2), as detectron2 samples by them
(docs/methods/guided-distillation.md#repeat-factors). Knows classes of rows, no pixels and no masks.
"""

from bisect import bisect_right
from threading import Lock
from typing import Self

import numpy as np
import numpy.typing as npt

from segray import keyed_random
from segray.datasets.training_rows import TrainingRows

_KEPT = 2
"""Epochs whose order is kept: threads that load ahead are in one, or where it ends and the next begins."""


def repeat_factors(
    images: npt.NDArray[np.int64], classes: npt.NDArray[np.int64], number: int, threshold: float
) -> npt.NDArray[np.float64]:
    """Return how often each of a number of images is shown in an epoch, on average.

    A class in a share f of the images has the factor max(1, sqrt(threshold / f)), an image the largest factor of its
    classes, and 1 where it has none.

    Args:
        images: image of each object.
        classes: class of each object.
        number: number of images.
        threshold: share of the images below which a class is rare.
    """
    pairs = np.unique(np.stack([images, classes]), axis=1)
    factors = np.ones(number)
    if pairs.size:
        shares = np.bincount(pairs[1]) / number
        with np.errstate(divide="ignore"):
            of_classes = np.maximum(1.0, np.sqrt(threshold / shares))
        np.maximum.at(factors, pairs[0], of_classes[pairs[1]])
    return factors


class EpochOrder:
    """Row that each place of an endless stream shows: epochs one after the other, each in an order of its own.

    Any place can be asked for in any process, so that a run resumes at any step. Pickles as what it is built from.
    """

    def __init__(self, rows: TrainingRows, seed: int, name: str, repeat_threshold: float = 0.0) -> None:
        """Nothing is computed before a place is asked for.

        Args:
            rows: rows to show.
            seed: seed of all draws.
            name: name of the stream, which its draws depend on.
            repeat_threshold: threshold of `repeat_factors`; 0 shows every row once in each epoch.
        """
        self._rows, self._seed, self._name, self._threshold = rows, seed, name, repeat_threshold
        self._factors: npt.NDArray[np.float64] | None = None
        self._starts = [0]
        self._orders: dict[int, npt.NDArray[np.int64]] = {}
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[Self], tuple[TrainingRows, int, str, float]]:
        return type(self), (self._rows, self._seed, self._name, self._threshold)

    def row(self, place: int) -> int:
        """Return the row that the stream shows at a place, from 0."""
        with self._lock:
            epoch = self._epoch(place)
            return int(self._order(epoch)[place - self._starts[epoch]])

    def _epoch(self, place: int) -> int:
        if not self._threshold:
            epoch = place // len(self._rows)
            while len(self._starts) <= epoch:
                self._starts.append(self._starts[-1] + len(self._rows))
            return epoch
        while self._starts[-1] <= place:
            self._starts.append(self._starts[-1] + int(self._repeats(len(self._starts) - 1).sum()))
        return bisect_right(self._starts, place) - 1

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        if epoch not in self._orders:
            while len(self._orders) >= _KEPT:
                del self._orders[min(self._orders)]
            key = keyed_random.key(self._seed, "epoch", self._name, epoch)
            shown = np.repeat(np.arange(len(self._rows)), self._repeats(epoch)) if self._threshold else len(self._rows)
            self._orders[epoch] = np.random.default_rng(key).permutation(shown)
        return self._orders[epoch]

    def _repeats(self, epoch: int) -> npt.NDArray[np.int64]:
        """Return how often an epoch shows each row: its factor, rounded up or down so that the mean is the factor."""
        if self._factors is None:
            self._factors = repeat_factors(*self._rows.objects(), len(self._rows), self._threshold)
        whole = np.floor(self._factors)
        drawn = keyed_random.rng(self._seed, "repeats", self._name, epoch).random(len(whole))
        return (whole + (drawn < self._factors - whole)).astype(np.int64)
