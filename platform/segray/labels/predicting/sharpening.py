"""Masks of a student drawn again by SAM, where both agree. Knows any `Sam`; knows no student and no file."""

import json
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from segray.config.sam import PromptedMasksSettings
from segray.labels.labeler import Pixels
from segray.labels.predicting.config import Sharpening
from segray.masks import rle
from segray.masks.instances import REVIEW, Instances
from segray.masks.object_prompts import ObjectPrompts
from segray.sam.prompted_masks import PromptedMasks
from segray.sam.protocol import Sam


class Sharpener:
    """SAM's masks in the place of a student's, where both agree."""

    def __init__(self, sam: Sam, settings: Sharpening, prompts_per_batch: int | None = None) -> None:
        """Decode `prompts_per_batch` prompts at once; by default as many as suit model and device."""
        # The student's mask is the only judge: SAM's own doubts decide nothing.
        asked = PromptedMasksSettings(
            multimask=settings.multimask, min_predicted_iou=0, min_stability=0, min_box_agreement=0
        )
        self._masks, self._bound = PromptedMasks(sam, asked, prompts_per_batch), settings.min_agreement

    def sharpen(self, images: Sequence[Pixels], found: Sequence[Instances]) -> list[Instances]:
        """Return the masks of each image in their order, with their scores and classes.

        Raises:
            MemoryError: so many images at once, or one prompt, do not fit.
        """
        asked = [(image, _prompts(one)) for image, one in zip(images, found, strict=True)]
        return [self._agreed(*pair) for pair in zip(found, self._masks.generate(asked), strict=True)]

    def _agreed(self, found: Instances, drawn: Instances) -> Instances:
        """Return SAM's mask where it agrees with the student's, else the student's, marked for review."""
        pairs = zip(found.counts, drawn.counts, strict=True)
        agreement = np.array([float(rle.iou([a], [b], found.size_hw)[0, 0]) for a, b in pairs])
        reason = json.dumps({REVIEW: f"student and SAM agree by less than {self._bound:g}"})
        marked = np.empty(len(found), dtype=object)
        marked[:] = reason
        # Rows of both, one after the other; each object takes its row of one of them.
        both = Instances.cat([drawn, replace(found, attributes=marked)])
        rows = np.arange(len(found))
        return both.filter(np.where(agreement >= self._bound, rows, len(found) + rows))


def _prompts(found: Instances) -> ObjectPrompts:
    """Return the box of each mask, and a point inside it."""
    return ObjectPrompts.build(
        boxes_xyxy=found.boxes_xyxy,
        points_xy=[innermost_point(mask) for mask in _masks_in_boxes(found)],
        scores=found.scores,
        classes=found.classes,
        size_hw=found.size_hw,
    )


def _masks_in_boxes(found: Instances) -> list[tuple[npt.NDArray[np.bool_], tuple[int, int]]]:
    """Return the part of each mask inside its box, and the box's corner (x, y)."""
    parts = []
    for counts, box in zip(found.counts, found.boxes_xyxy.astype(int).tolist(), strict=True):
        x0, y0, x1, y1 = box
        parts.append((rle.decode_columns(counts, found.size_hw, x0, x1)[y0:y1], (x0, y0)))
    return parts


def innermost_point(mask: tuple[npt.NDArray[np.bool_], tuple[int, int]]) -> npt.NDArray[np.float64]:
    """Return the pixel of a mask that is farthest from its edge, (1, 2) x and y of the pixel's centre.

    Args:
        mask: the pixels (H, W), one of them inside, and the place (x, y) of their upper left corner.
    """
    inside, corner = mask
    # A frame of pixels outside: what ends with the box ends the mask.
    distance = cv2.distanceTransform(np.pad(inside, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return np.array([[corner[0] + x - 0.5, corner[1] + y - 0.5]])
