"""Two procedural worlds of photo-like scenes with exact masks.

Knows how a scene is composed (zones, objects back to front, shadows, light, lens and sensor). Does not know files
(segray.demo.coco) nor models. Everything is a function of (family, seed, size): the same arguments give the same pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from segray.demo.shapes import FAMILY_SHAPES, Part, place
from segray.demo.textures import Field, Material, Rng, draw_material, noise, paint

Family = Literal["a", "b"]
Pixels = NDArray[np.float32]
Mask = NDArray[np.bool_]

FAMILY_CLASSES: Final[dict[str, tuple[str, ...]]] = {name: tuple(shapes) for name, shapes in FAMILY_SHAPES.items()}
DIAMETER_RANGE: Final = (14 / 256, 0.75)
"""Smallest and largest extent of an object, as a share of the image side."""
MIN_VISIBLE_PIXELS: Final = 60
MIN_VISIBLE_SHARE: Final = 0.25
"""Objects hidden more than this are in the picture but not in the annotation."""
COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "black": (25, 25, 25), "grey": (128, 128, 128), "white": (235, 235, 235), "red": (200, 40, 40),
    "orange": (230, 130, 40), "yellow": (220, 210, 60), "green": (60, 150, 60), "teal": (50, 150, 150),
    "blue": (50, 80, 190), "purple": (130, 60, 170), "pink": (230, 140, 180), "brown": (120, 80, 45),
}  # fmt: skip


@dataclass(frozen=True)
class SceneObject:
    """One annotated object; `mask` (H, W) is what can be seen of it, `parts` are its visible pieces when it has several."""

    class_name: str
    mask: Mask
    attributes: dict[str, str]
    parts: tuple[Mask, ...]


@dataclass(frozen=True)
class Scene:
    """`image` (H, W, 3) uint8 RGB, the objects in it, and the zones (H, W) of the background behind them."""

    image: NDArray[np.uint8]
    objects: tuple[SceneObject, ...]
    zones: tuple[Mask, ...]


@dataclass
class _Canvas:
    """What is painted on while a scene is composed."""

    pixels: Pixels
    object_ids: NDArray[np.uint8]
    part_ids: NDArray[np.uint8]


@dataclass(frozen=True)
class _Painted:
    """What was painted as object number `index`, before later objects hid some of it."""

    index: int
    class_name: str
    full_area: int
    part_ids: tuple[int, ...]
    attributes: dict[str, str]


def scene(family: Family, seed: int, size: int = 256) -> Scene:
    """A scene of 3 to 12 objects; the same arguments give the same pixels and masks."""
    rng = np.random.default_rng([ord(family), seed, size])
    zone_ids, materials, pixels = _background(rng, family, size)
    canvas = _Canvas(pixels, np.zeros((size, size), np.uint8), np.zeros((size, size), np.uint8))
    light = rng.uniform(-1, 1, 2)
    painted = []
    for diameter in _diameters(rng, size):
        near = materials[0].palette[0] if rng.random() < 0.2 else None
        painted.append(_add_object(canvas, rng, family, float(diameter), len(painted) + 1, near, light, painted))
    image = _photograph(canvas.pixels, rng)
    objects = tuple(found for item in painted if (found := _visible(canvas, item, size)) is not None)
    bare = canvas.object_ids == 0
    zones = tuple(bare & (zone_ids == index) for index in range(len(materials)))
    return Scene(image, objects, tuple(zone for zone in zones if zone.sum() >= MIN_VISIBLE_PIXELS))


def _diameters(rng: Rng, size: int) -> NDArray[np.float64]:
    """Log-uniform extents in pixels, mostly large ones first (further back)."""
    low, high = DIAMETER_RANGE
    count = int(rng.integers(3, 13))
    extents = np.exp(rng.uniform(np.log(low), np.log(high), count)) * size
    order = np.argsort(-extents * np.exp(rng.normal(0, 0.5, count)))
    return extents[order]


def _background(rng: Rng, family: Family, size: int) -> tuple[NDArray[np.uint8], list[Material], Pixels]:
    """One to three zones divided by wavy lines or soft blotches, each of its own material, with some litter."""
    zone_ids = np.zeros((size, size), np.uint8)
    for index in range(1, int(rng.integers(1, 4))):
        y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
        angle = rng.uniform(0, 2 * np.pi)
        level = np.cos(angle) * (x - rng.uniform(0.2, 0.8)) + np.sin(angle) * (y - rng.uniform(0.2, 0.8))
        wave = noise(size, size, rng, size / 3, 3) - 0.5
        zone_ids[level + rng.uniform(0, 0.8) * wave > 0] = index
    materials, pixels = [], np.zeros((size, size, 3), np.float32)
    for index in range(int(zone_ids.max()) + 1):
        material = draw_material(rng, family, size / 2)
        pixels[zone_ids == index] = paint(material, size, size, rng)[zone_ids == index]
        materials.append(material)
    pixels = _litter(pixels, rng, family)
    return zone_ids, materials, np.ascontiguousarray(pixels)


def _litter(pixels: Pixels, rng: Rng, family: Family) -> Pixels:
    """Thin strokes and specks that are nobody's object: straight in family A, curled in family B."""
    size = len(pixels)
    for _ in range(int(rng.choice([0, 0, rng.integers(5, 60)]))):
        start, reach = rng.uniform(0, size, 2), rng.uniform(0.01, 0.12) * size
        turn = np.linspace(0, rng.uniform(1, 4) if family == "b" else 0, 6) + rng.uniform(0, 6.28)
        path = start + np.cumsum(np.stack([np.cos(turn), np.sin(turn)], 1) * reach / 6, axis=0)
        colour = pixels[int(start[1]), int(start[0])] * rng.uniform(0.5, 1.5)
        points = np.round(path * 16).astype(np.int32)
        cv2.polylines(pixels, [points], False, colour.tolist(), 1, cv2.LINE_AA, 4)
    return pixels


def _rasterize(part: Part, x0: int, y0: int, height: int, width: int) -> NDArray[np.uint8]:
    """Coverage (height, width) in 0..255 of a part on the patch that starts at (x0, y0)."""
    coverage = np.zeros((height, width), np.uint8)
    points = [np.round((contour - (x0, y0)) * 16).astype(np.int32) for contour in part.contours]
    cv2.fillPoly(coverage, points, 255, cv2.LINE_AA, 4)
    return coverage


def _patch(parts: list[Part], size: int) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of the parts' bounds on the canvas."""
    points = np.concatenate([contour for part in parts for contour in part.contours])
    x0, y0 = np.clip(np.floor(points.min(0)) - 1, 0, size - 1).astype(int)
    x1, y1 = np.clip(np.ceil(points.max(0)) + 2, 1, size).astype(int)
    return int(x0), int(y0), int(max(x1, x0 + 1)), int(max(y1, y0 + 1))


def _add_object(
    canvas: _Canvas, rng: Rng, family: Family, diameter: float, index: int,
    near: NDArray[np.float32] | None, light: NDArray[np.float64], before: list[_Painted],
) -> _Painted:  # fmt: skip
    """Paint one object with its shadow; its number is `index`, its parts get numbers after all earlier ones."""
    size = len(canvas.pixels)
    class_name = str(rng.choice(FAMILY_CLASSES[family]))
    centre = rng.uniform(0.05, 0.95, 2) * size
    parts = place(FAMILY_SHAPES[family][class_name](rng), rng, (float(centre[0]), float(centre[1])), diameter)
    x0, y0, x1, y1 = _patch(parts, size)
    height, width = y1 - y0, x1 - x0
    coverages = [_rasterize(part, x0, y0, height, width) for part in parts]
    whole = np.maximum.reduce(coverages)
    _cast_shadow(canvas.pixels, whole, x0, y0, diameter, light, rng)
    main = draw_material(rng, family, diameter, near)
    patch = paint(main, height, width, rng)
    first = sum(len(item.part_ids) for item in before) + 1
    part_map = np.zeros((height, width), np.uint8)
    for number, coverage in enumerate(coverages):
        inside = coverage > 127
        if number > 0 and rng.random() < 0.7:
            other = draw_material(rng, family, diameter / 2, main.palette[-1] if rng.random() < 0.5 else None)
            patch[inside] = paint(other, height, width, rng)[inside]
        part_map[inside] = first + number
    patch *= _shading(whole, light, rng)[..., None]
    window = (slice(y0, y1), slice(x0, x1))
    alpha = (whole.astype(np.float32) / 255)[..., None]
    canvas.pixels[window] = canvas.pixels[window] * (1 - alpha) + patch * alpha
    solid = whole > 127
    canvas.object_ids[window][solid] = index
    canvas.part_ids[window][solid] = part_map[solid]
    attributes = {"colour": _colour_name(patch[solid].mean(0) if solid.any() else patch[0, 0]), "texture": main.kind}
    return _Painted(index, class_name, int(solid.sum()), tuple(range(first, first + len(parts))), attributes)


def _cast_shadow(
    pixels: Pixels, whole: NDArray[np.uint8], x0: int, y0: int, diameter: float, light: NDArray[np.float64], rng: Rng
) -> None:
    """Darken what lies beside the object, away from the light (or brighten nothing at all, one time in three)."""
    strength = float(rng.choice([0.0, rng.uniform(0.1, 0.6), rng.uniform(0.1, 0.6)]))
    if strength == 0.0:
        return
    reach = int(max(2, 0.12 * diameter))
    shift = np.round(light * reach).astype(int)
    soft = cv2.copyMakeBorder(whole, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=(0,))
    soft = cv2.blur(cv2.blur(soft, (reach, reach)), (reach, reach))
    top, left = y0 - reach + int(shift[1]), x0 - reach + int(shift[0])
    size = len(pixels)
    y_from, x_from = max(top, 0), max(left, 0)
    y_to, x_to = min(top + soft.shape[0], size), min(left + soft.shape[1], size)
    if y_from >= y_to or x_from >= x_to:
        return
    shade = soft[y_from - top : y_to - top, x_from - left : x_to - left].astype(np.float32) / 255
    pixels[y_from:y_to, x_from:x_to] *= (1 - strength * shade)[..., None]


def _shading(whole: NDArray[np.uint8], light: NDArray[np.float64], rng: Rng) -> Field:
    """A factor per pixel: a ramp along the light, and a rim that turns darker or lighter."""
    height, width = whole.shape
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    factor = 1 - np.float32(rng.uniform(0, 0.45)) * (x * np.float32(light[0]) + y * np.float32(light[1]))
    if rng.random() < 0.5:
        depth = cv2.distanceTransform((whole > 127).astype(np.uint8), cv2.DIST_L2, 3)
        rim = np.clip(depth / max(0.25 * float(depth.max()), 1.0), 0, 1)
        factor = factor * (1 + rng.uniform(-0.5, 0.25) * (1 - rim))
    return factor.astype(np.float32)


def _photograph(pixels: Pixels, rng: Rng) -> NDArray[np.uint8]:
    """Uneven light, lens blur, sensor noise and compression."""
    size = len(pixels)
    if rng.random() < 0.7:
        light = 1 + rng.uniform(0.1, 0.8) * (noise(size, size, rng, size / 1.5, 1) - 0.5)
        pixels = pixels * light[..., None]
    if rng.random() < 0.6:
        pixels = cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(0.3, 1.2)) * size / 256)
    grain = rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(rng.uniform(0, 10))
    image = np.clip(pixels + grain, 0, 255).astype(np.uint8)
    quality = int(rng.integers(55, 98))
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


def _visible(canvas: _Canvas, item: _Painted, size: int) -> SceneObject | None:
    mask = canvas.object_ids == item.index
    area = int(mask.sum())
    if area < max(MIN_VISIBLE_PIXELS * (size / 256) ** 2, MIN_VISIBLE_SHARE * item.full_area):
        return None
    parts = tuple(canvas.part_ids == part for part in item.part_ids)
    shown = tuple(part for part in parts if part.sum() >= MIN_VISIBLE_PIXELS)
    extent = "small" if area < 0.01 * size**2 else "large" if area > 0.1 * size**2 else "medium"
    return SceneObject(item.class_name, mask, {**item.attributes, "size": extent}, shown if len(shown) > 1 else ())


def _colour_name(rgb: NDArray[np.float32]) -> str:
    distances = {name: float(np.abs(rgb - np.asarray(value)).sum()) for name, value in COLOURS.items()}
    return min(distances, key=distances.__getitem__)
