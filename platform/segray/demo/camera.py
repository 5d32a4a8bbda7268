"""The camera of the photo look: exposure, tone curve, lens, sensor noise and compression.

Knows linear light in, sRGB bytes out. Does not know what is in the picture.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from segray.demo.textures import Rng

FILM_RANGE: Final = 6.0
"""Exposure from which on everything is white."""


def _film() -> NDArray[np.float32]:
    """Return the tone curve: sRGB in [0, 255] by the square root of the exposure, from 0 to FILM_RANGE."""
    exposed = np.linspace(0, 1, 2048) ** 2 * FILM_RANGE
    toned = exposed * (1 + exposed / 4) / (1 + exposed * 0.6)
    return np.asarray(255 * toned ** (1 / 2.2), np.float32)


FILM: Final = _film()


def develop(pixels: NDArray[np.float32], rng: Rng) -> NDArray[np.uint8]:
    """Return the picture (H, W, 3), sRGB bytes, that a camera takes of linear light (H, W, 3)."""
    size = len(pixels)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
    pixels = pixels * (1 - rng.uniform(0, 0.7) * (x * x + y * y))[..., None]
    if rng.random() < 0.7:
        sigma = float(rng.uniform(0.3, 0.8)) * size / 256
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.float32)
    exposed = pixels * np.float32(rng.uniform(0.2, 0.38) / max(float(pixels.mean()), 1e-3))
    steps = np.sqrt(np.clip(exposed, 0, FILM_RANGE) / FILM_RANGE) * (len(FILM) - 1)
    grain = rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(rng.uniform(0.5, 5))
    image = np.clip(np.take(FILM, steps.astype(np.uint16)) + grain, 0, 255).astype(np.uint8)
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(75, 98))])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
