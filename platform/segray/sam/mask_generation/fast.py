"""Fewer prompts for nearly the same masks: the points of a grid from coarse to fine, as long as they bring news.

Which points are worth asking is known by segray.sam.mask_generation.field; here they are asked, those of several crops in one batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt

from segray.config.sam import MaskGeneration
from segray.masks.instances import Instances
from segray.sam.mask_generation.asking import Answers, ask
from segray.sam.mask_generation.batching import ShrinkingBatches
from segray.sam.mask_generation.field import STRIDES, Field
from segray.sam.mask_generation.grids import Crop, layer_points
from segray.sam.mask_generation.survivors import survivors
from segray.sam.protocol import Embedding, Sam

Ints = npt.NDArray[np.int64]


ROUND: Final = 4
"""Points asked of a crop before it learns from the answers. Fixed: masks depend on no batch size and no neighbour."""


@dataclass(frozen=True, kw_only=True)
class _News:
    """Answers to some points of one crop; `told` are the points of `masks`, with thumbnails of each."""

    crop: int
    asked: Ints
    told: Ints
    thumbnails: npt.NDArray[np.bool_]
    masks: Instances


class FastFinder:
    """Finds masks in crops, the points of several crops in one batch."""

    def __init__(self, sam: Sam, settings: MaskGeneration, points_per_batch: int) -> None:
        self.sam = sam
        self.settings = settings
        self.batches = ShrinkingBatches(points_per_batch)

    def find(self, embedding: Embedding, crops: Sequence[Crop]) -> list[Instances]:
        """Stable masks of each crop, in its pixels; duplicates included."""
        fields = [Field(layer_points(self.settings, crop), crop.size_hw) for crop in crops]
        found = [[Instances.empty(crop.size_hw)] for crop in crops]
        for level in range(len(STRIDES)):
            while len(batch := _next(fields, level)):
                work = partial(self._ask, embedding, fields, batch)
                news = list(chain.from_iterable(self.batches.map(len(batch), work)))
                for number, field in enumerate(fields):
                    of_crop = [one for one in news if one.crop == number]
                    found[number] += [one.masks for one in of_crop]
                    _learn(field, of_crop)
        return [Instances.cat(of_crop) for of_crop in found]

    def _ask(self, embedding: Embedding, fields: Sequence[Field], batch: Ints, part: slice) -> list[_News]:
        """What some rows of a batch of crops and points (P, 2) tell, by crop."""
        numbers, points = batch[part].T
        points_xy = np.stack([fields[number].points_xy[point] for number, point in batch[part]])
        answers = ask(self.sam, embedding, numbers, points_xy, self.settings.pred_iou_thresh)
        news = []
        for number in np.unique(numbers).tolist():
            own = answers.filter(numbers[answers.points] == number)
            rows, masks = survivors(self.sam, own, points_xy, embedding.sizes_hw[number], self.settings)
            stable = own.filter(rows)
            news.append(
                _News(
                    crop=number,
                    asked=points[numbers == number],
                    told=points[stable.points],
                    thumbnails=self._thumbnails(fields[number], stable),
                    masks=masks,
                )
            )
        return news

    def _thumbnails(self, field: Field, answers: Answers) -> npt.NDArray[np.bool_]:
        if len(answers) == 0:
            return np.zeros((0, *field.thumbnail_hw), dtype=np.bool_)
        logits = self.sam.upscale(answers.logits, field.thumbnail_hw)
        return np.asarray((logits > self.sam.mask_threshold).cpu().numpy())


def _next(fields: Sequence[Field], level: int) -> Ints:
    """Which crop and point to ask next, (P, 2), those of a crop together."""
    rounds = [field.take(level, ROUND) for field in fields]
    return np.concatenate(
        [np.stack([np.full(len(points), number), points], axis=1) for number, points in enumerate(rounds)]
    )


def _learn(field: Field, news: Sequence[_News]) -> None:
    """A whole round at once, however it was cut into batches."""
    if news:
        asked, told = (np.concatenate([getattr(one, name) for one in news]) for name in ("asked", "told"))
        field.learn(asked, told, np.concatenate([one.thumbnails for one in news]))
