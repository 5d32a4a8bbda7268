"""Label Studio's regions to masks: brush, bit mask, polygon, closed vector, rectangle, ellipse.

Places are percent of the image's width and height; a rectangle turns about its upper left corner, an ellipse about its
centre, by degrees clockwise. Labels come with the region or in a result of their own. Results that are known to hold no
mask are counted and passed over; a shape that is not understood is an error. Knows one annotation's results, nothing of
tasks.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from segray.formats.label_studio import bitmask, brush
from segray.formats.source import attributes_text
from segray.masks import rle
from segray.tally import Reason, Tally

NO_MASK = Reason("no-mask", "have no mask (choice, text, rating, relation or key point) and are passed over")
OPEN_LINE = Reason("open-line", "have no inside (open line) and are left out")
UNKNOWN_TYPE = Reason("unknown-type", "are of a type that segray does not know", is_damage=True)
INVALID = Reason("invalid", "have a shape that cannot be read", is_damage=True)
NO_PIXEL = Reason("no-pixel", "have a shape that covers no pixel", is_damage=True)

_WITHOUT_MASK: Final = (
    *("choices", "taxonomy", "rating", "textarea", "text", "number", "datetime", "pairwise", "ranker", "relation"),
    *("keypoint", "hypertext", "paragraph", "timeseries", "timeline", "audio", "table", "chatmessage"),
)
"""Types of results, without "labels" at their end, that say nothing of masks."""
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
    source_id: str = ""
    """Id of the object in its own file, as exports write it."""
    attributes: str = ""
    """What else its own file knows of it, a JSON object as text."""


class NotUnderstoodError(ValueError):
    """A region holds a shape of a type that is not read, so that leaving it out would lose a mask."""


def read(results: Sequence[Result], tally: Tally, where: str) -> list[Region]:
    """Return an annotation's regions that are masks, and count all of them as "regions".

    Args:
        results: the annotation's.
        tally: counts what is used, passed over and broken.
        where: names the annotation in examples.

    Raises:
        NotUnderstoodError: a region holds a shape that is not understood; says which.
    """
    named, seen = _named(results), set()
    found = []
    for result in results:
        shape = _shape(result)
        # With separate <Labels>, a region comes twice under one id: as its shape and as its label.
        if shape is not None and (own := _id(result)) is not None and own in seen:
            continue
        name = f"{result.get('type') or 'result'} {result.get('id')!r} of {where}"
        if shape is None:
            tally.leave_out("regions", _why_no_mask(result), name)
            continue
        seen.add(_id(result))
        if (region := _region(result, shape, named, tally, name)) is not None:
            found.append(region)
    return found


def size_of(results: Iterable[Result]) -> tuple[int, int] | None:
    """Return the (height, width) that any result says, of whatever type it is; None where none does."""
    for result in results:
        try:
            return _size(result)
        except (ValueError, KeyError):
            continue
    return None


def labels(results: Iterable[Result]) -> Iterator[str]:
    """Every label that a region could have."""
    for result in results:
        if _shape(result) and (label := _own(result)):
            yield label


def _region(result: Result, shape: str, named: Mapping[str, str], tally: Tally, name: str) -> Region | None:
    """Decode one region; None, counted with the reason, where it gives no mask."""
    if shape == "vector" and result.get("value", {}).get("closed") is not True:
        tally.leave_out("regions", OPEN_LINE, name)
        return None
    try:
        size_hw = _size(result)
        counts = _MASKS[shape](result["value"], size_hw)
    except NotUnderstoodError as error:
        raise NotUnderstoodError(f"region {result.get('id')!r} of type {result.get('type')!r} {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        tally.leave_out("regions", INVALID, f"{name}: {_said(error)}")
        return None
    if not rle.areas([counts], size_hw)[0]:
        tally.leave_out("regions", NO_PIXEL, name)
        return None
    tally.use("regions")
    meta = result.get("meta")
    return Region(
        counts=counts,
        size_hw=size_hw,
        label=named.get(_id(result) or "") or _own(result),
        source_id=_text(meta, "source_id"),
        attributes=attributes_text(_text(meta, "attributes")),
    )


def _text(meta: object, key: str) -> str:
    value = meta.get(key, "") if isinstance(meta, dict) else ""
    return value if isinstance(value, str) else ""


def _why_no_mask(result: Result) -> Reason:
    """Return why a result that is no known shape is passed over.

    Raises:
        NotUnderstoodError: it holds a shape all the same.
    """
    kind = str(result.get("type", ""))
    if kind == "labels" or kind.removesuffix("labels") in _WITHOUT_MASK:
        return NO_MASK
    if any(key in result.get("value", {}) for key in (*_MARKS, "sequence", "x")):
        raise NotUnderstoodError(
            f"region {result.get('id')!r} of type {kind!r} holds a shape that segray does not read; it reads"
            f" {', '.join(_MASKS)}: draw it as one of these, or delete it"
        )
    return UNKNOWN_TYPE


def _shape(result: Result) -> str | None:
    """Which mask a result describes: by its type, or for type "labels" by what it holds."""
    kind = str(result.get("type", "")).removesuffix("labels")
    if kind in _MASKS:
        return kind
    if kind:
        return None
    return next((shape for key, shape in _MARKS.items() if key in result.get("value", {})), None)


def _own(result: Result) -> str | None:
    """A result's first label."""
    value = result.get("value", {})
    for key in (str(result.get("type")), "labels"):
        given = value.get(key)
        if isinstance(given, list) and given and isinstance(given[0], str):
            return given[0]
    return None


def _named(results: Sequence[Result]) -> dict[str, str]:
    """Labels by region id, whichever of a region's results has it."""
    found = ((_id(result), _own(result)) for result in results)
    return {region: label for region, label in found if region is not None and label}


def _id(result: Result) -> str | None:
    """Return a region's id as text, whatever it is; None where it has none."""
    return None if result.get("id") is None else str(result["id"])


def _size(result: Result) -> tuple[int, int]:
    height, width = result["original_height"], result["original_width"]
    if not (isinstance(height, int) and isinstance(width, int) and 0 < height * width < 1 << 32 and height > 0):
        raise ValueError(f"its image has size {height!r} x {width!r}")
    if (result.get("image_rotation") or 0) % 360:
        raise ValueError(f"its image is turned by {result['image_rotation']} degrees; turn it back in Label Studio")
    return height, width


def _brush(value: Result, size_hw: tuple[int, int]) -> rle.Counts:
    return brush.decode(value["rle"], size_hw)


def _bitmask(value: Result, size_hw: tuple[int, int]) -> rle.Counts:
    return bitmask.decode(value["imageDataURL"], size_hw)


def _vector(value: Result, size_hw: tuple[int, int]) -> rle.Counts:
    vertices = value["vertices"]
    if any(one.get("isBezier") for one in vertices):
        raise NotUnderstoodError("is curved, and segray reads straight lines: draw it as a polygon, or delete it")
    return _filled(np.array([(one["x"], one["y"]) for one in vertices], dtype=np.float64).reshape(-1, 2), size_hw)


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
    "bitmask": _bitmask,
    "polygon": _polygon,
    "vector": _vector,
    "rectangle": _rectangle,
    "ellipse": _ellipse,
}
_MARKS: Final[Mapping[str, str]] = {
    "rle": "brush",
    "imageDataURL": "bitmask",
    "points": "polygon",
    "vertices": "vector",
    "radiusX": "ellipse",
    "width": "rectangle",
}
"""Keys of a region's value that tell its shape where its type does not."""


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
