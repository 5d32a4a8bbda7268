"""Label Studio's regions to masks: brush, polygon, rectangle, ellipse, with or without labels of their own.

Places are percent of the image's width and height; a rectangle turns about its upper left corner, an ellipse about its
centre, by degrees clockwise. Knows one annotation's results, nothing of tasks.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segray.formats.label_studio import brush
from segray.masks import rle

_CORNERS = 128
_FARTHEST = 1000.0

Result = Mapping[str, Any]
Points = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Region:
    """One mask; `label` is None where nobody gave one."""

    counts: rle.Counts
    size_hw: tuple[int, int]
    label: str | None


def read(results: Sequence[Result]) -> list[Region]:
    """The regions among an annotation's results; those that cover no pixel are left out.

    Raises:
        ValueError: a region that cannot be understood; says which.
    """
    named, seen = _named(results), set()
    found = []
    for result in results:
        shape = _shape(result)
        # With separate <Labels>, a region comes twice under one id: as its shape and as its label.
        if shape is None or (result.get("id") is not None and result["id"] in seen):
            continue
        seen.add(result.get("id"))
        try:
            size_hw = _size(result)
            counts = _MASKS[shape](result["value"], size_hw)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{shape} region {result.get('id')!r}: {_said(error)}") from error
        if rle.areas([counts], size_hw)[0]:
            found.append(Region(counts=counts, size_hw=size_hw, label=named.get(result.get("id")) or _own(result)))
    return found


def labels(results: Iterable[Result]) -> Iterator[str]:
    """Every label that a region could have."""
    for result in results:
        if _shape(result) and (label := _own(result)):
            yield label


def _shape(result: Result) -> str | None:
    """Which mask a result describes: by its type, or for type "labels" by what it holds."""
    kind = str(result.get("type", "")).removesuffix("labels")
    value = result.get("value", {})
    if kind in _MASKS:
        return kind
    if kind:
        return None
    marks = (("rle", "brush"), ("points", "polygon"), ("radiusX", "ellipse"), ("width", "rectangle"))
    return next((shape for key, shape in marks if key in value), None)


def _own(result: Result) -> str | None:
    """A result's first label."""
    value = result.get("value", {})
    for key in (str(result.get("type")), "labels"):
        given = value.get(key)
        if isinstance(given, list) and given and isinstance(given[0], str):
            return given[0]
    return None


def _named(results: Sequence[Result]) -> dict[object, str]:
    """Labels by region id, whichever of a region's results has it."""
    return {result.get("id"): label for result in results if result.get("id") is not None and (label := _own(result))}


def _size(result: Result) -> tuple[int, int]:
    height, width = result["original_height"], result["original_width"]
    if not (isinstance(height, int) and isinstance(width, int) and 0 < height * width < 1 << 32 and height > 0):
        raise ValueError(f"its image has size {height!r} x {width!r}")
    if (result.get("image_rotation") or 0) % 360:
        raise ValueError(f"its image is turned by {result['image_rotation']} degrees; turn it back in Label Studio")
    return height, width


def _brush(value: Result, size_hw: tuple[int, int]) -> rle.Counts:
    return brush.decode(value["rle"], size_hw)


def _polygon(value: Result, size_hw: tuple[int, int]) -> rle.Counts:
    return _filled(np.asarray(value["points"], dtype=np.float64).reshape(-1, 2), size_hw)


def _rectangle(value: Result, size_hw: tuple[int, int]) -> rle.Counts:
    width, height = float(value["width"]), float(value["height"])
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]])
    return _filled(corners, size_hw, about=(value["x"], value["y"]), degrees=value.get("rotation") or 0)


def _ellipse(value: Result, size_hw: tuple[int, int]) -> rle.Counts:
    turn = np.linspace(0, 2 * math.pi, _CORNERS, endpoint=False)
    rim = np.stack([np.cos(turn) * float(value["radiusX"]), np.sin(turn) * float(value["radiusY"])], axis=1)
    return _filled(rim, size_hw, about=(value["x"], value["y"]), degrees=value.get("rotation") or 0)


_MASKS: Mapping[str, Callable[[Result, tuple[int, int]], rle.Counts]] = {
    "brush": _brush,
    "polygon": _polygon,
    "rectangle": _rectangle,
    "ellipse": _ellipse,
}


def _filled(
    percent: Points, size_hw: tuple[int, int], about: tuple[float, float] = (0.0, 0.0), degrees: float = 0.0
) -> rle.Counts:
    """The mask inside an outline of (N, 2) percent, turned in pixels about the origin, then moved."""
    corner = np.array(about, dtype=np.float64)
    # NaN compares as false.
    if not (np.abs([*percent.reshape(-1), *corner, float(degrees)]) <= _FARTHEST).all():
        raise ValueError("places must be percent of the image")
    scale = np.array([size_hw[1], size_hw[0]]) / 100
    turn = math.radians(float(degrees))
    rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    outline = percent * scale @ rotation + corner * scale
    return rle.from_polygons([outline.reshape(-1).tolist()], size_hw)


def _said(error: Exception) -> str:
    return f"has no {error}" if isinstance(error, KeyError) else str(error)
