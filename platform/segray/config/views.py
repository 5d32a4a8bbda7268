"""What training sees of an image."""

from typing import Annotated, Literal

import pydantic

from segray.config.base import config
from segray.config.types import NonNegative, Positive, Share


@config
class WeakView:
    """Geometry of all views of an image: resize, crop or pad, flip (docs/methods/mask2former.md#weak-view)."""

    canvas_hw: tuple[int, int] = (128, 128)
    """Rows and columns of every image of a batch, pixels, multiples of what the student needs (32; 14 for DINOv2).
    Papers: 512 x 1024, 1024 x 1024 (COCO)."""
    unit: Literal["canvas", "image"] = "canvas"
    """What a scale of 1 is. canvas: the image just fits into it; image: the image's own pixels."""
    min_scale: Positive = 0.5
    """Smallest resize. Papers: Cityscapes 0.5 of full size, COCO 0.1 of the canvas."""
    max_scale: Positive = 2.0
    """Largest resize; drawn uniformly between the two. Papers: 2.0 in both."""
    flip: Share = 0.5
    """How often it is mirrored left to right."""
    min_visible: Share = 0.0
    """Objects of which less than this share is on the canvas are no targets."""

    @pydantic.model_validator(mode="after")
    def _possible(self) -> "WeakView":
        if self.min_scale > self.max_scale:
            raise ValueError(f"min_scale {self.min_scale} is above max_scale {self.max_scale}")
        if min(self.canvas_hw) < 32:
            raise ValueError(f"canvas_hw {list(self.canvas_hw)}: both must be 32 or more")
        return self


@config
class StrongView:
    """Colour changes on top of the weak view (docs/methods/guided-distillation.md#strong-view).

    UniMatch's numbers are in docs/methods/unimatch.md#strong-views.
    """

    jitter: Share = 0.8
    """How often colours are jittered."""
    brightness: NonNegative = 0.4
    """Factor drawn from 1 - b to 1 + b."""
    contrast: NonNegative = 0.4
    """As brightness."""
    saturation: NonNegative = 0.4
    """As brightness."""
    hue: Annotated[float, pydantic.Field(ge=0, le=0.5)] = 0.1
    """Shift drawn from -h to h turns of the colour wheel."""
    grey: Share = 0.2
    """How often it goes grey."""
    blur: Share = 0.5
    """How often it is blurred."""
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    """Range of the Gaussian's standard deviation, pixels."""
