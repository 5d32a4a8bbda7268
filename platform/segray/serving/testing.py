"""A backend that finds what is painted, for tests and benchmarks in which no model matters, and a scene to find."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from segray.masks.instances import Instances
from segray.masks.provenance import Provenance
from segray.serving.backend import ImageClicks, ModelInfo, Pixels

COLOURS: Final[Mapping[str, tuple[tuple[int, int, int], float]]] = {
    "red": ((255, 0, 0), 0.9),
    "green": ((0, 255, 0), 0.6),
    "blue": ((0, 0, 255), 0.25),
}
"""Colour and score of each class."""

STUDENT: Final = ModelInfo(kind="student", name="painted", weights_sha256="0" * 64, classes=tuple(COLOURS))
SAM: Final = ModelInfo(kind="sam", name="same-colour", weights_sha256="1" * 64)


@dataclass
class PaintedBackend:
    """All pixels of one of `COLOURS` are an instance; what is marked are all pixels of the colour that is there."""

    error: Exception | None = None
    """What every call raises; none: they answer."""

    async def segment(self, images: Sequence[Pixels]) -> tuple[list[Instances], ModelInfo]:
        """See `Backend.segment`."""
        self._fail()
        return [find(image) for image in images], STUDENT

    async def masks(self, image: Pixels, image_sha256: str, clicks: ImageClicks) -> tuple[Instances, ModelInfo]:  # noqa: ARG002
        """See `Backend.masks`."""
        self._fail()
        x, y = clicks.points_xy[0] if clicks.points_xy else (clicks.box_xyxy or (0, 0))[:2]
        alike = (image == image[int(y), int(x)]).all(axis=2)
        return Instances.from_masks(alike[None], provenance=Provenance.SAM, scores=[0.8]), SAM

    async def models(self) -> list[ModelInfo]:
        """See `Backend.models`."""
        self._fail()
        return [STUDENT, SAM]

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


def find(image: Pixels) -> Instances:
    """The instances of an image, best first."""
    masks = np.array([(image == colour).all(axis=2) for colour, _ in COLOURS.values()])
    here = np.flatnonzero(masks.any(axis=(1, 2)))
    scores = np.array([score for _, score in COLOURS.values()])
    return Instances.from_masks(masks[here], provenance=Provenance.STUDENT, scores=scores[here], classes=here)


def scene(width: int = 64, height: int = 48) -> Image.Image:
    """A red ring, a green disc over its rim, a blue bar, on white; larger ones have more white."""
    image = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(image)
    pen.ellipse([4, 4, 34, 34], fill=(255, 0, 0))
    pen.ellipse([12, 12, 24, 24], fill="white")
    pen.ellipse([26, 20, 42, 36], fill=(0, 255, 0))
    pen.rectangle([50, 4, 55, 40], fill=(0, 0, 255))
    return image
