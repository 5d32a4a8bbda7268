"""Fewer prompts for nearly the same masks: the points of a grid from coarse to fine, as long as they bring news.

Which points are worth asking is known by segray.sam.field; here they are asked, those of several crops in one batch.
"""

from collections.abc import Sequence
from functools import partial
from itertools import chain

import numpy as np
import numpy.typing as npt

from segray.config.sam import MaskGeneration
from segray.masks.instances import Instances
from segray.sam.asking import Answers, ask
from segray.sam.batches import Batches
from segray.sam.field import STRIDES, Field
from segray.sam.grids import Crop, layer_points
from segray.sam.protocol import Embedding, Sam
from segray.sam.survivors import survivors

Ints = npt.NDArray[np.int64]


class FastFinder:
    """Finds masks in crops, the points of several crops in one batch."""

    def __init__(self, sam: Sam, settings: MaskGeneration, points_per_batch: int) -> None:
        self.sam = sam
        self.settings = settings
        self.batches = Batches(points_per_batch)

    def find(self, embedding: Embedding, crops: Sequence[Crop]) -> list[Instances]:
        """Stable masks of each crop, in its pixels; most duplicates are left out."""
        fields = [Field(layer_points(self.settings, crop), crop.size_hw) for crop in crops]
        found = [[Instances.empty(crop.size_hw)] for crop in crops]
        for level in range(len(STRIDES)):
            while len(batch := self._next(fields, level)):
                work = partial(self._batch, embedding, fields, batch)
                for number, masks in chain.from_iterable(self.batches.map(len(batch), work)):
                    found[number].append(masks)
        return [Instances.cat(of_crop) for of_crop in found]

    def _next(self, fields: Sequence[Field], level: int) -> Ints:
        """Which crop and point to ask next, (P, 2), those of a crop together."""
        batch = [np.zeros((0, 2), dtype=np.int64)]
        for number, field in enumerate(fields):
            room = self.batches.size - sum(map(len, batch))
            if room == 0:
                break
            points = field.take(level, room)
            batch.append(np.stack([np.full(len(points), number), points], axis=1))
        return np.concatenate(batch)

    def _batch(
        self, embedding: Embedding, fields: Sequence[Field], batch: Ints, part: slice
    ) -> list[tuple[int, Instances]]:
        """New masks by crop, for some rows of a batch of crops and points (P, 2)."""
        numbers, points = batch[part].T
        points_xy = np.stack([fields[number].points_xy[point] for number, point in batch[part]])
        answers = ask(self.sam, embedding, numbers, points_xy, self.settings.pred_iou_thresh)
        found = []
        for number in np.unique(numbers).tolist():
            field = fields[number]
            thumbnails = np.zeros((0, *field.thumbnail_hw), dtype=np.bool_)
            own = answers.filter(numbers[answers.points] == number)
            if len(own):
                own, thumbnails = self._new(field, points, own)
            if len(own):
                rows, masks = survivors(self.sam, own, points_xy, embedding.sizes_hw[number], self.settings)
                own, thumbnails = own.filter(rows), thumbnails[rows]
                found.append((number, masks))
            field.learn(points[numbers == number], points[own.points], thumbnails, own.scores)
        return found

    def _new(self, field: Field, points: Ints, answers: Answers) -> tuple[Answers, npt.NDArray[np.bool_]]:
        """Answers that are no worse copies of known masks, and their thumbnails."""
        logits = self.sam.upscale(answers.logits, field.thumbnail_hw)
        thumbnails = (logits > self.sam.mask_threshold).cpu().numpy()
        new = np.flatnonzero(~field.repeats(points[answers.points], thumbnails, answers.scores))
        return answers.filter(new), thumbnails[new]
