"""Label Studio's bit masks: a PNG as a data URL, whose alpha says what is inside. Knows nothing of tasks or results."""

import base64
import io

import numpy as np
from PIL import Image

from segray.images import decoding
from segray.masks import rle


def decode(url: str, size_hw: tuple[int, int]) -> rle.Counts:
    """Return the mask of a data URL: the pixels of `size_hw` whose alpha is not 0.

    Raises:
        ValueError: it is no such URL, no PNG with alpha, or a picture of another size.
    """
    head, comma, text = url.partition(",")
    if not comma or not head.endswith(";base64"):
        raise ValueError(f"a bit mask is a data URL in base64, got {url[:40]!r}")
    alpha = _alpha(base64.b64decode("".join(text.split()), validate=True), size_hw)
    return rle.encode((alpha > 0)[None])[0]


def _alpha(data: bytes, size_hw: tuple[int, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            # The header is compared before a pixel is decoded: it could say any size.
            if (image.height, image.width) != size_hw or image.height * image.width > decoding.MOST_PIXELS:
                raise ValueError(f"a bit mask of size {(image.height, image.width)} of an image of size {size_hw}")
            if "A" not in image.getbands() and "transparency" not in image.info:
                raise ValueError(f"a bit mask needs alpha, this PNG is {image.mode}")
            return np.asarray(image.convert("RGBA").getchannel("A"), dtype=np.uint8)
    except (OSError, SyntaxError) as error:
        raise ValueError(f"a bit mask whose PNG cannot be read ({error})") from error
