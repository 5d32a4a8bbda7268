"""A SAM for a person's images: points and boxes to masks, and automatic masks. Knows any `Sam` and pixels."""

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from segray.config.sam import MaskGeneration
from segray.images.inputs import ImageLike, pixels_of
from segray.masks.instances import Instances
from segray.masks.provenance import Provenance
from segray.sam.mask_generation.generator import MaskGenerator
from segray.sam.protocol import BOX_LOWER_RIGHT, BOX_UPPER_LEFT, POSITIVE, Embedding, Image, Prompts, Sam


class SamPredictor:
    """A Segment Anything model, loaded and ready. The last image's embedding is kept: more prompts on it are cheap.

    Example:
        >>> sam = segray.load_sam("nano")
        >>> sam.predict("a.jpg", points=[(120, 80)])
        >>> sam.generate("a.jpg").plot("a.jpg")
    """

    def __init__(self, sam: Sam, masks: MaskGeneration | None = None) -> None:
        """Take a model, and how `generate` makes masks unless told otherwise."""
        self.sam = sam
        self.masks = masks or MaskGeneration()
        self._embedded: tuple[str, Embedding] | None = None

    def predict(
        self,
        image: ImageLike,
        *,
        points: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        boxes: npt.ArrayLike | None = None,
    ) -> Instances:
        """Return one mask per prompt, in the prompts' order.

        Args:
            image: a path or URI, a PIL image, or an array (H, W, 3) uint8 RGB.
            points: pixels x, y: (P, 2) one point per object, or (P, K, 2) K points per object.
            labels: (P,) or (P, K), as the points: 1 on the object, 0 off it; None: all on it.
            boxes: (P, 4) pixels x0, y0, x1, y1; given with points, box i and points i are of one object.

        Returns:
            P masks; `scores` are predicted IoUs, `points_xy` the first points, provenance is `sam`. Of the three masks
            that a single point may mean, the one with the best predicted IoU.

        Raises:
            ImageError: the file cannot be read as an image.
            ValueError: no prompts, or points, labels and boxes of shapes that do not fit together.
        """
        coordinates, kinds = _prompts(points, labels, boxes)
        pixels = pixels_of(image)
        height, width = pixels.shape[:2]
        if not len(coordinates):
            return Instances.empty((height, width))
        alone = coordinates.shape[1] == 1
        prompts = Prompts(
            image_index=torch.zeros(len(coordinates), dtype=torch.int64),
            points_xy=torch.from_numpy(coordinates),
            labels=torch.from_numpy(kinds),
            multimask=alone,
        )
        decoded = self.sam.decode(self._embed(pixels), prompts)
        scores, best = decoded.scores.max(dim=1)
        keep = torch.arange(len(best), device=best.device) * decoded.scores.shape[1] + best
        logits = self.sam.upscale(self.sam.logits(decoded, keep), (height, width))
        inside = (logits > self.sam.mask_threshold).cpu().numpy()
        first = {} if points is None else {"points_xy": coordinates[:, 0]}
        return Instances.from_masks(inside, provenance=Provenance.SAM, scores=scores.cpu().numpy(), **first)

    def generate(self, image: ImageLike, **changes: Any) -> Instances:
        """Return the masks of everything, by automatic mask generation, best first.

        Args:
            image: a path or URI, a PIL image, or an array (H, W, 3) uint8 RGB.
            **changes: fields of `segray.config.sam.MaskGeneration`, such as `points_per_side=16`; the others are those
                of segment-anything, but for the thresholds of sam-nano.

        Raises:
            ImageError: the file cannot be read as an image.
            TypeError: a change that `MaskGeneration` does not know.
            MemoryError: one prompt does not fit the device.
        """
        wanted = replace(self.masks, **changes)
        return MaskGenerator(self.sam, wanted).generate([pixels_of(image)])[0]

    def _embed(self, pixels: Image) -> Embedding:
        key = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
        if self._embedded is None or self._embedded[0] != key:
            self._embedded = key, self.sam.embed([pixels])
        return self._embedded[1]

    def __repr__(self) -> str:
        return f"SamPredictor({self.sam.name}, {self.sam.device})"


def _prompts(
    points: npt.ArrayLike | None, labels: npt.ArrayLike | None, boxes: npt.ArrayLike | None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return coordinates (P, K, 2) and labels (P, K) of the prompts; a box's corners come after the points."""
    if points is None and boxes is None:
        raise ValueError("give points, boxes or both")
    coordinates, kinds = [], []
    if points is not None:
        given = np.asarray(points, np.float32)
        given = given[:, None] if given.ndim == 2 else given
        if given.ndim != 3 or given.shape[2] != 2:
            raise ValueError(f"points must have shape (P, 2) or (P, K, 2), got {np.asarray(points).shape}")
        on = np.full(given.shape[:2], POSITIVE) if labels is None else np.asarray(labels).reshape(len(given), -1)
        if on.shape != given.shape[:2] or not np.isin(on, (0, 1)).all():
            raise ValueError(f"labels must be 0 or 1, one for each point, got shape {np.asarray(labels).shape}")
        coordinates.append(given)
        kinds.append(on)
    elif labels is not None:
        raise ValueError("labels are of points: give points too")
    if boxes is not None:
        corners = np.asarray(boxes, np.float32)
        if corners.ndim != 2 or corners.shape[1] != 4:
            raise ValueError(f"boxes must have shape (P, 4), got {corners.shape}")
        coordinates.append(corners.reshape(-1, 2, 2))
        kinds.append(np.tile([BOX_UPPER_LEFT, BOX_LOWER_RIGHT], (len(corners), 1)))
    if len({len(part) for part in coordinates}) > 1:
        raise ValueError(f"points are of {len(coordinates[0])} objects, boxes of {len(coordinates[1])}")
    return np.concatenate(coordinates, axis=1), np.concatenate(kinds, axis=1).astype(np.int64)
