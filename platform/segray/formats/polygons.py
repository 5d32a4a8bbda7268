"""Masks as polygons. Knows dense masks and OpenCV; knows no format.

Outlines run along pixel edges, corners at whole numbers, so that unsimplified ones are exact: rasterised as COCO does
they give back the mask, holes and all. Simplified (Douglas and Peucker 1973) they stray at most `tolerance_px` from
the outline, less on small masks. A polygon list has no place for holes, so a hole is joined to its outline by a
bridge of no width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Ring = npt.NDArray[np.int32]
"""(V, 2) corners x, y in pixels; closed without repeating the first. Holes run the other way round than outlines."""

TOLERANCE_PX = 0.75
"""The usual tolerance: just above the 0.71 px that the steps of a diagonal need to become a line."""

TOLERANCE_SHARE = 0.03
"""The tolerance is at most this share of the root of a ring's area, so that small masks keep their shape."""

MAX_AREA_CHANGE = 0.02
"""A ring whose area would change by a larger share stays as it is: thin shapes vanish otherwise."""


@dataclass(frozen=True)
class PolygonPart:
    """One connected part of a mask."""

    outer: Ring
    holes: tuple[Ring, ...] = ()


def outline(mask: npt.NDArray[np.bool_], *, tolerance_px: float = 0.0) -> list[PolygonPart]:
    """The parts of a mask (H, W), largest outline first; pixels that touch at a corner are of one part."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return []
    x0, y0 = int(columns[0]), int(rows[0])
    crop = mask[y0 : rows[-1] + 1, x0 : columns[-1] + 1].astype(np.uint8)
    # Doubled, a contour through pixel centres tells on which side of a pixel it runs, so edges can be read off it.
    doubled = crop.repeat(2, axis=0).repeat(2, axis=1)
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    corner = np.array([x0, y0], dtype=np.int32)
    rings = [_simplified(_edges(np.asarray(contour, dtype=np.int32)) + corner, tolerance_px) for contour in contours]
    parents = hierarchy[0][:, 3]
    holes: dict[int, list[Ring]] = {}
    for ring, parent in zip(rings, parents, strict=True):
        holes.setdefault(int(parent), []).append(ring)
    parts = [PolygonPart(ring, tuple(holes.get(i, ()))) for i, ring in enumerate(rings) if parents[i] < 0]
    return sorted(parts, key=lambda part: -float(cv2.contourArea(part.outer)))


def bridged(part: PolygonPart) -> Ring:
    """A part as one ring, its holes joined in."""
    return _joined([part.outer, *part.holes])


def merged(parts: Sequence[PolygonPart]) -> Ring:
    """A whole mask as one ring: parts and holes joined by bridges of no width."""
    return _joined([bridged(part) for part in parts])


def _edges(contour: npt.NDArray[np.int32]) -> Ring:
    """Pixel corners along a contour of the doubled mask."""
    corners: Ring = (contour[:, 0, :] + 1) // 2
    return corners[np.any(corners != np.roll(corners, 1, axis=0), axis=1)]


def _simplified(ring: Ring, tolerance_px: float) -> Ring:
    area = cv2.contourArea(ring)
    tolerance = min(tolerance_px, TOLERANCE_SHARE * area**0.5)
    if tolerance <= 0:
        return ring
    fewer = np.asarray(cv2.approxPolyDP(ring[:, None, :], tolerance, True), dtype=np.int32)[:, 0, :]
    return fewer if abs(cv2.contourArea(fewer) - area) <= MAX_AREA_CHANGE * area else ring


def _joined(rings: Sequence[Ring]) -> Ring:
    """Rings as one, each going out from and back to the nearest corner of those before it."""
    whole = rings[0]
    for ring in rings[1:]:
        distances = np.linalg.norm(whole[:, None, :] - ring[None, :, :], axis=2)
        here, there = np.unravel_index(int(np.argmin(distances)), distances.shape)
        detour = [np.roll(ring, -int(there), axis=0), ring[there : there + 1], whole[here : here + 1]]
        whole = np.concatenate([whole[: here + 1], *detour, whole[here + 1 :]])
    return whole
