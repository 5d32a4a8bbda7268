"""What a person hands over as an image, as pixels: a path or URI, a PIL image, an array."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from segray.images import decoding

ImageLike = str | Path | Image.Image | npt.NDArray[Any]
"""A path or URI, a PIL image, or an array (H, W, 3) uint8 RGB or (H, W) uint8 grey."""


def pixels_of(image: ImageLike) -> decoding.Pixels:
    """Return an image's pixels (H, W, 3) uint8 RGB, upright.

    Raises:
        ImageError: the file cannot be read as an image.
        TypeError: no image, or an array of another type or shape.
    """
    if isinstance(image, str | Path):
        return decoding.load(str(image), decoding.MOST_PIXELS)[0]
    if isinstance(image, Image.Image):
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    if not isinstance(image, np.ndarray):
        raise TypeError(f"an image is a path, a PIL image or an array, got {type(image).__name__}")
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise TypeError(f"an image array is (H, W, 3) uint8 RGB or (H, W) uint8 grey, got {image.shape} {image.dtype}")
    return np.ascontiguousarray(image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2))
