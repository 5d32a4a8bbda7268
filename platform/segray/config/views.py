"""Settings of the views of an image that training sees."""

from typing import Annotated, Literal

import pydantic

from segray.config.base import config
from segray.config.types import NonNegative, Positive, Share


@config
class WeakView:
    """Geometry of all views of an image: resize, crop or pad, flip; and light colour changes, if any
    (docs/methods/mask2former.md#weak-view).
    """

    canvas_hw: tuple[int, int] = (128, 128)
    """Height and width in pixels of every image in a batch, multiples of 32 (of 14 for DINOv2). The papers use 512 x
    1024 on Cityscapes and 1024 x 1024 on COCO."""
    unit: Literal["canvas", "image"] = "canvas"
    """Size of an image at scale 1. canvas: the image just fits into the canvas. image: the image's own pixels."""
    min_scale: Positive = 0.5
    """Smallest factor of the resize. The papers use 0.5 of full size on Cityscapes and 0.1 of the canvas on COCO."""
    max_scale: Positive = 2.0
    """Largest factor of the resize, drawn uniformly between the two; 2.0 in the papers."""
    num_scales: Annotated[int, pydantic.Field(ge=2)] | None = None
    """Number of factors, evenly spaced from the smallest to the largest, of which one is drawn; "none" draws any number
    between them. Mask2Former has 16 on Cityscapes."""
    colour_jitter: Literal["ssd"] | None = None
    """Colour changes of all views of an image. ssd: SSD's, as in Mask2Former on Cityscapes. "none" keeps the
    colours."""
    flip: Share = 0.5
    """Probability that the image is mirrored left to right."""
    padding: Literal["mean", "black", "grey"] = "mean"
    """Colour of the canvas where no image is; mean is ImageNet's mean colour, about zero to the network. UniMatch pads
    with black, Mask2Former with a grey of 128."""
    min_visible: Share = 0.0
    """Smallest share of an object that must lie on the canvas for it to be a target."""

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

    UniMatch's values are in docs/methods/unimatch.md#strong-views.
    """

    jitter: Share = 0.8
    """Probability that the colours are jittered."""
    brightness: NonNegative = 0.4
    """Largest change b of brightness: its factor is drawn from 1 - b to 1 + b."""
    contrast: NonNegative = 0.4
    """Largest change c of contrast: its factor is drawn from 1 - c to 1 + c."""
    saturation: NonNegative = 0.4
    """Largest change s of saturation: its factor is drawn from 1 - s to 1 + s."""
    hue: Annotated[float, pydantic.Field(ge=0, le=0.5)] = 0.1
    """Largest shift h of hue, in turns of the colour wheel, drawn from -h to h."""
    grey: Share = 0.2
    """Probability that the image loses its colours."""
    blur: Share = 0.5
    """Probability that the image is blurred."""
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    """Smallest and largest standard deviation of the Gaussian blur, in pixels."""
