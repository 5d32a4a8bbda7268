"""Automatic mask generation over any `Sam`: images in, `Instances` out.

Written once, with the parameters, filters and order of segment-anything's `SamAutomaticMaskGenerator`. Knows images,
crops and suppression; which prompts are asked is the business of segray.sam.mask_generation.exact and segray.sam.mask_generation.fast.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from segray.config.sam import MaskGeneration
from segray.masks import rle
from segray.masks.instances import Instances
from segray.sam.mask_generation.batching import memory_errors
from segray.sam.mask_generation.exact import ExactFinder
from segray.sam.mask_generation.fast import FastFinder
from segray.sam.mask_generation.grids import Crop, crops_of
from segray.sam.mask_generation.mending import mend
from segray.sam.mask_generation.suppression import suppress, touches_cut
from segray.sam.protocol import Image, Sam

FINDERS: Final[dict[str, type[ExactFinder | FastFinder]]] = {"exact": ExactFinder, "fast": FastFinder}


class MaskGenerator:
    """Finds everything in images."""

    def __init__(self, sam: Sam, settings: MaskGeneration, points_per_batch: int | None = None) -> None:
        """`points_per_batch` prompts go through the decoder at once; by default as many as suit model and device."""
        self.sam = sam
        self.settings = settings
        self.finder = FINDERS[settings.mode](sam, settings, points_per_batch or sam.prompts_at_once)

    @memory_errors()
    def generate(self, images: Sequence[Image]) -> list[Instances]:
        """The masks of each image (H, W, 3), best first; with crop layers, those of smaller crops first.

        The encoder gets as many crops at once as there are images.

        Raises:
            MemoryError: so many images at once, or one prompt of one, do not fit.
        """
        sizes_hw = [(image.shape[0], image.shape[1]) for image in images]
        work = [(number, crop) for number, size in enumerate(sizes_hw) for crop in crops_of(size, self.settings)]
        found: list[list[tuple[Crop, Instances]]] = [[] for _ in images]
        for start in range(0, len(work), max(1, len(images))):
            part = work[start : start + len(images)]
            pixels = [images[number][crop.y0 : crop.y1, crop.x0 : crop.x1] for number, crop in part]
            masks = self.finder.find(self.sam.embed(pixels), [crop for _, crop in part])
            for (number, crop), of_crop in zip(part, masks, strict=True):
                found[number].append((crop, self._without_duplicates(of_crop, crop, sizes_hw[number])))
        return [self._whole(of_image) for of_image in found]

    def _without_duplicates(self, masks: Instances, crop: Crop, image_hw: tuple[int, int]) -> Instances:
        """A crop's masks that its border does not cut, without duplicates, in pixels of the image."""
        masks = masks.filter(~touches_cut(masks.boxes_xyxy, crop, image_hw))
        masks = masks.filter(suppress(masks.boxes_xyxy, masks.scores, self.settings.box_nms_thresh))
        return masks if crop.size_hw == image_hw else _placed(masks, crop, image_hw)

    def _whole(self, of_crops: Sequence[tuple[Crop, Instances]]) -> Instances:
        """Masks of an image's crops together, without duplicates, mended."""
        settings = self.settings
        masks = Instances.cat([of_crop for _, of_crop in of_crops])
        if len(of_crops) > 1:
            smallness = np.concatenate([np.full(len(of_crop), 1 / crop.area) for crop, of_crop in of_crops])
            masks = masks.filter(suppress(masks.boxes_xyxy, smallness.astype(np.float32), settings.crop_nms_thresh))
        if settings.min_mask_region_area > 0:
            worst = max(settings.box_nms_thresh, settings.crop_nms_thresh)
            masks = mend(masks, settings.min_mask_region_area, worst)
        return masks


def _placed(masks: Instances, crop: Crop, image_hw: tuple[int, int]) -> Instances:
    """Masks of a crop where they are in the image."""
    corner = np.array([crop.x0, crop.y0], dtype=np.float32)
    counts: npt.NDArray[np.object_] = np.empty(len(masks), dtype=object)
    counts[:] = [rle.place(one, masks.size_hw, (crop.x0, crop.y0), image_hw) for one in masks.counts]
    return replace(
        masks,
        size_hw=image_hw,
        counts=counts,
        boxes_xyxy=masks.boxes_xyxy + np.tile(corner, 2),
        points_xy=masks.points_xy + corner,
    )
