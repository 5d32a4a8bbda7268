"""Colour jitter of SSD (Liu et al. 2016, arXiv 1512.02325), as Mask2Former has it in the weak view of Cityscapes.

Brightness, contrast, saturation and hue change with a probability of one half each; contrast comes right after
brightness or last (docs/methods/mask2former.md#weak-view). Pixels are of 8 bits after each change, as in the published
code. Knows no geometry.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from segray import keyed_random

Pixels = npt.NDArray[np.uint8]

MOST_BRIGHTNESS: Final = 32
"""Largest change of brightness, in 0..255."""
FACTORS: Final = (0.5, 1.5)
"""Smallest and largest factor of contrast and of saturation."""
MOST_HUE: Final = 18
"""Largest shift of the hue, of 180 on the colour wheel."""


@dataclass(frozen=True, kw_only=True)
class SsdJitter:
    """Changes that are drawn for one image; the defaults change nothing."""

    brightness: float = 0.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: int = 0
    contrast_last: bool = False

    def apply(self, pixels: Pixels) -> Pixels:
        """Return the image (H, W, 3) RGB, changed."""
        pixels = _scaled(pixels, 1.0, self.brightness)
        if not self.contrast_last:
            pixels = _scaled(pixels, self.contrast)
        pixels = self._in_hsv(pixels)
        return _scaled(pixels, self.contrast) if self.contrast_last else pixels

    def _in_hsv(self, pixels: Pixels) -> Pixels:
        """Change saturation, then hue. Each leaves the image in RGB of 8 bits where it changes something."""
        if self.saturation != 1:
            hsv = _converted(pixels, cv2.COLOR_RGB2HSV)
            hsv[..., 1] = _scaled(hsv[..., 1], self.saturation)
            pixels = _converted(hsv, cv2.COLOR_HSV2RGB)
        if self.hue:
            hsv = _converted(pixels, cv2.COLOR_RGB2HSV)
            hsv[..., 0] = (hsv[..., 0].astype(np.int64) + self.hue) % 180
            pixels = _converted(hsv, cv2.COLOR_HSV2RGB)
        return pixels


def draw_ssd_jitter(key: int) -> SsdJitter:
    """Draw the changes of an image. All draws are made whatever happens, so that each depends on the key alone."""
    rng = keyed_random.rng(key, "ssd jitter")
    acts: Sequence[bool] = (rng.random(4) < 0.5).tolist()
    brightness = float(rng.uniform(-MOST_BRIGHTNESS, MOST_BRIGHTNESS))
    contrast, saturation = (float(one) for one in rng.uniform(*FACTORS, 2))
    hue = int(rng.integers(-MOST_HUE, MOST_HUE, endpoint=True))
    return SsdJitter(
        brightness=brightness if acts[0] else 0.0,
        contrast=contrast if acts[1] else 1.0,
        saturation=saturation if acts[2] else 1.0,
        hue=hue if acts[3] else 0,
        contrast_last=bool(rng.random() < 0.5),
    )


def _converted(pixels: Pixels, code: int) -> Pixels:
    return np.asarray(cv2.cvtColor(pixels, code), dtype=np.uint8)


def _scaled(values: Pixels, factor: float, shift: float = 0.0) -> Pixels:
    """Return factor * values + shift, cut to 0..255 and without what follows the point."""
    if (factor, shift) == (1, 0):
        return values
    scaled = np.clip(values.astype(np.float32) * factor + shift, 0, 255)
    return np.asarray(scaled, dtype=np.uint8)
