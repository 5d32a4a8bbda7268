"""Every point of the grid is asked: the masks of segment-anything's `SamAutomaticMaskGenerator`."""

from collections.abc import Sequence

import numpy as np

from segray.config.sam import MaskGeneration
from segray.masks.instances import Instances
from segray.sam.mask_generation.asking import ask
from segray.sam.mask_generation.batching import ShrinkingBatches
from segray.sam.mask_generation.grids import Crop, Points, layer_points
from segray.sam.mask_generation.survivors import survivors
from segray.sam.protocol import Embedding, Sam


class ExactFinder:
    """Finds masks in crops, one crop after the other."""

    def __init__(self, sam: Sam, settings: MaskGeneration, points_per_batch: int) -> None:
        self.sam = sam
        self.settings = settings
        self.batches = ShrinkingBatches(points_per_batch)

    def find(self, embedding: Embedding, crops: Sequence[Crop]) -> list[Instances]:
        """Stable masks of each crop, in its pixels, in the order of the points; duplicates included."""
        return [self._crop(embedding, number, crop) for number, crop in enumerate(crops)]

    def _crop(self, embedding: Embedding, number: int, crop: Crop) -> Instances:
        points = layer_points(self.settings, crop)
        found = self.batches.map(len(points), lambda part: self._batch(embedding, number, points[part]))
        return Instances.cat(found)

    def _batch(self, embedding: Embedding, number: int, points: Points) -> Instances:
        size_hw = embedding.sizes_hw[number]
        image_index = np.full(len(points), number, dtype=np.int64)
        answers = ask(self.sam, embedding, image_index, points, self.settings.pred_iou_thresh)
        return survivors(self.sam, answers, points, size_hw, self.settings)[1]
