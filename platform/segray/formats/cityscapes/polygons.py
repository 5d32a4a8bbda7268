"""Polygons of Cityscapes as the pixels of its instance files, drawn like `cityscapesscripts.preparation`.

Polygons are drawn in the file's order, so that later ones hide earlier ones. Objects of a class are numbered as they
come, hidden ones too.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from segray.errors import SourceError
from segray.formats.cityscapes.labels import COUNTED, LABEL_IDS, NOT_DRAWN, OBJECTS_FROM
from segray.formats.source import read_json
from segray.images.decoding import MOST_PIXELS

_GROUP = "group"
Points = Sequence[tuple[float, float]]


def draw(uri: str) -> npt.NDArray[np.int32]:
    """Return the instance ids (H, W) of a `polygons.json`.

    Raises:
        SourceError: it cannot be read, or is no such file.
    """
    document = read_json(uri)
    try:
        drawn = [(_points(one["polygon"]), one["label"]) for one in document["objects"] if not one.get("deleted")]
        canvas = Image.new("I", _size(document["imgWidth"], document["imgHeight"]), LABEL_IDS["unlabeled"])
        _draw(ImageDraw.Draw(canvas), drawn)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(f"{uri}: not polygons of Cityscapes ({type(error).__name__}: {error})") from error
    return np.asarray(canvas, dtype=np.int32)


def _draw(canvas: ImageDraw.ImageDraw, polygons: Sequence[tuple[Points, str]]) -> None:
    numbers: Counter[str] = Counter()
    for points, label in polygons:
        name = label if label in LABEL_IDS else label.removesuffix(_GROUP)
        if name == NOT_DRAWN:
            continue
        if name not in LABEL_IDS:
            raise ValueError(f"unknown label {label!r}")
        value = LABEL_IDS[name]
        if name in COUNTED and name == label:
            value = value * OBJECTS_FROM + numbers[name]
            numbers[name] += 1
        canvas.polygon(points, fill=value)


def _size(width: Any, height: Any) -> tuple[int, int]:
    if not isinstance(width, int) or not isinstance(height, int) or min(width, height) < 1:
        raise ValueError(f"an image of {height!r} x {width!r} pixels")
    if width * height > MOST_PIXELS:
        raise ValueError(f"an image of {height} x {width} pixels, {MOST_PIXELS} are allowed")
    return width, height


def _points(polygon: Any) -> Points:
    points = [(float(x), float(y)) for x, y in polygon]
    if len(points) < 2 or not np.isfinite(points).all():
        raise ValueError(f"a polygon must be a list of points, got {str(polygon)[:60]}")
    return points
