"""Automatic mask generation over any `Sam`: images in, `Instances` out.

Written once, with the parameters, filters and order of segment-anything's `SamAutomaticMaskGenerator`. Knows images,
crops and how their masks come together. Which points are prompted is decided by `ExactFinder` here (all of them) or
`fast.FastFinder`; the filters are in `filters`.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from segray.config.sam import MaskGeneration
from segray.masks.instances import Instances
from segray.masks.tiles import place
from segray.nets.batching import ShrinkingBatches, memory_errors
from segray.sam.mask_generation.fast import FastFinder
from segray.sam.mask_generation.filters import (
    decode_confident_masks,
    encode_stable_masks,
    near_crop_edge,
    postprocess_small_regions,
    suppress_duplicates,
)
from segray.sam.mask_generation.grids import Crop, Points, crops_of, layer_points
from segray.sam.protocol import Embedding, Image, Sam


class ExactFinder:
    """Mask generation in crops that prompts every point of the grid, one crop after the other."""

    def __init__(self, sam: Sam, settings: MaskGeneration, points_per_batch: int) -> None:
        self.sam = sam
        self.settings = settings
        self.batches = ShrinkingBatches(points_per_batch)

    def find(self, embedding: Embedding, crops: Sequence[Crop]) -> list[Instances]:
        """Return the stable masks of each crop, in its pixels, in the order of the points; duplicates included."""
        return [self._crop(embedding, index, crop) for index, crop in enumerate(crops)]

    def _crop(self, embedding: Embedding, index: int, crop: Crop) -> Instances:
        points = layer_points(self.settings, crop)
        found = self.batches.map(len(points), lambda part: self._batch(embedding, index, points[part]))
        return Instances.cat(found)

    def _batch(self, embedding: Embedding, index: int, points: Points) -> Instances:
        size_hw = embedding.sizes_hw[index]
        image_index = np.full(len(points), index, dtype=np.int64)
        candidates = decode_confident_masks(self.sam, embedding, image_index, points, self.settings.pred_iou_thresh)
        return encode_stable_masks(self.sam, candidates, points, size_hw, self.settings)[1]


FINDERS: Final[dict[str, type[ExactFinder | FastFinder]]] = {"exact": ExactFinder, "fast": FastFinder}


class MaskGenerator:
    """Automatic mask generation with one model and one set of parameters."""

    def __init__(self, sam: Sam, settings: MaskGeneration, points_per_batch: int | None = None) -> None:
        """Decode `points_per_batch` prompts at once; by default as many as suit model and device."""
        self.sam = sam
        self.settings = settings
        self.finder = FINDERS[settings.mode](sam, settings, points_per_batch or sam.prompts_at_once)

    @memory_errors()
    def generate(self, images: Sequence[Image]) -> list[Instances]:
        """Return the masks of each image (H, W, 3), best first; with crop layers, those of smaller crops first.

        The encoder gets as many crops at once as there are images.

        Raises:
            MemoryError: so many images at once, or one prompt of one, do not fit.
        """
        sizes_hw = [(image.shape[0], image.shape[1]) for image in images]
        work = [(index, crop) for index, size in enumerate(sizes_hw) for crop in crops_of(size, self.settings)]
        found: list[list[tuple[Crop, Instances]]] = [[] for _ in images]
        for start in range(0, len(work), max(1, len(images))):
            part = work[start : start + len(images)]
            pixels = [images[index][crop.y0 : crop.y1, crop.x0 : crop.x1] for index, crop in part]
            masks = self.finder.find(self.sam.embed(pixels), [crop for _, crop in part])
            for (index, crop), of_crop in zip(part, masks, strict=True):
                found[index].append((crop, self._without_duplicates(of_crop, crop, sizes_hw[index])))
        return [self._merge_crops(of_image) for of_image in found]

    def _without_duplicates(self, masks: Instances, crop: Crop, image_hw: tuple[int, int]) -> Instances:
        """Return a crop's masks that its edges do not cut, without duplicates, in pixels of the image."""
        masks = masks.filter(~near_crop_edge(masks.boxes_xyxy, crop, image_hw))
        masks = masks.filter(suppress_duplicates(masks.boxes_xyxy, masks.scores, self.settings.box_nms_thresh))
        return masks if crop.size_hw == image_hw else place(masks, crop, image_hw)

    def _merge_crops(self, of_crops: Sequence[tuple[Crop, Instances]]) -> Instances:
        """Return the masks of an image's crops together, without duplicates and small regions."""
        settings = self.settings
        masks = Instances.cat([of_crop for _, of_crop in of_crops])
        # Of duplicates from two crops, the one of the smaller crop stays.
        if len(of_crops) > 1:
            smallness = np.concatenate([np.full(len(of_crop), 1 / crop.area) for crop, of_crop in of_crops])
            keep = suppress_duplicates(masks.boxes_xyxy, smallness.astype(np.float32), settings.crop_nms_thresh)
            masks = masks.filter(keep)
        if settings.min_mask_region_area > 0:
            iou_threshold = max(settings.box_nms_thresh, settings.crop_nms_thresh)
            masks = postprocess_small_regions(masks, settings.min_mask_region_area, iou_threshold)
        return masks
