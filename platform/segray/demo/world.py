"""Two procedural worlds, each in two looks, with exact masks.

Knows how a scene is composed: a background, objects back to front (segray.demo.painter and segray.demo.photo), light,
lens and sensor. Does not know files (segray.demo.coco) nor models. The same family, seed, size and look give the same
pixels.

Both looks are frozen, because weights and tables are measured on them. "busy" is the look of all of today's; "photo" is
the next one's, whose scenes the golden test knows by the hash 002df6718ca8183a.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from segray.demo.camera import develop
from segray.demo.painter import Canvas, Painted, Painter, Pixels
from segray.demo.photo import PhotoPainter
from segray.demo.setting import draw_setting
from segray.demo.shapes import FAMILY_SHAPES, Family
from segray.demo.textures import GROUND_CONTRAST, Material, Rng, draw_material, noise, paint

Mask = NDArray[np.bool_]
WorldLook = Literal["busy", "photo"]

FAMILY_CLASSES: Final[dict[str, tuple[str, ...]]] = {name: tuple(shapes) for name, shapes in FAMILY_SHAPES.items()}


@dataclass(frozen=True)
class Composition:
    """How many and how large the objects of a scene are."""

    diameters: tuple[float, float]
    """Smallest and largest extent of an object, as a share of the image side."""
    objects: tuple[int, int]
    """Fewest and most objects of a scene: few in family B, which small students learn from few labels."""
    shared_colours: float
    """How often an object takes some of its colours from the background."""


COMPOSITIONS: Final[dict[WorldLook, dict[Family, Composition]]] = {
    "busy": {
        "a": Composition((28 / 256, 0.65), (3, 9), 0.4),
        "b": Composition((40 / 256, 0.6), (3, 6), 0.4),
    },
    "photo": {
        "a": Composition((32 / 256, 0.7), (3, 9), 0.4),
        "b": Composition((46 / 256, 0.66), (3, 6), 0.6),
    },
}  # fmt: skip
LIGHT: Final[dict[str, tuple[float, float]]] = {"a": (0.5, 1.5), "b": (1.0, 1.9)}
"""How uneven the light is, from even (0) to black corners (2), per family."""
MIN_VISIBLE_PIXELS: Final = 60
MIN_VISIBLE_SHARE: Final = 0.25
"""Objects hidden more than this are in the picture but not in the annotation."""


@dataclass(frozen=True)
class SceneObject:
    """One annotated object; `mask` (H, W) is what can be seen of it, `parts` its visible pieces when it has several."""

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


def scene(family: Family, seed: int, size: int = 256, look: WorldLook = "busy") -> Scene:
    """Draw a scene of a few objects; the same arguments give the same pixels and masks."""
    rng = np.random.default_rng([ord(family), seed, size])
    return _busy(rng, family, size) if look == "busy" else _photo(rng, family, size)


def _busy(rng: Rng, family: Family, size: int) -> Scene:
    composition = COMPOSITIONS["busy"][family]
    zone_ids, materials, background = _background(rng, family, size)
    painter = Painter(rng, family, background)
    for diameter in _diameters(rng, composition, size):
        painter.add(float(diameter), _shared(rng, composition, materials))
    return _annotate(painter, _photograph(painter.pixels, family, rng), zone_ids, len(materials))


def _photo(rng: Rng, family: Family, size: int) -> Scene:
    composition = COMPOSITIONS["photo"][family]
    setting = draw_setting(rng, family, size)
    painter = PhotoPainter(rng, family, setting)
    for diameter, foot in zip(*painter.arrange(_diameters(rng, composition, size)), strict=True):
        painter.add(float(diameter), float(foot), _shared(rng, composition, setting.materials))
    return _annotate(painter, develop(painter.pixels, rng), setting.zone_ids, len(setting.materials))


def _shared(rng: Rng, composition: Composition, materials: Sequence[Material]) -> NDArray[np.float32] | None:
    """Return a background's palette for an object that takes colours from it, else None."""
    return materials[int(rng.integers(len(materials)))].palette if rng.random() < composition.shared_colours else None


def _annotate(canvas: Canvas, image: NDArray[np.uint8], zone_ids: NDArray[np.uint8], num_zones: int) -> Scene:
    objects = tuple(found for item in canvas.painted if (found := _visible(canvas, item)) is not None)
    bare = canvas.object_ids == 0
    zones = tuple(bare & (zone_ids == index) for index in range(num_zones))
    return Scene(image, objects, tuple(zone for zone in zones if zone.sum() >= MIN_VISIBLE_PIXELS))


def _diameters(rng: Rng, composition: Composition, size: int) -> NDArray[np.float64]:
    """Log-uniform extents in pixels, mostly large ones first (further back)."""
    low, high = composition.diameters
    fewest, most = composition.objects
    count = int(rng.integers(fewest, most + 1))
    extents = np.exp(rng.uniform(np.log(low), np.log(high), count)) * size
    order = np.argsort(-extents * np.exp(rng.normal(0, 0.5, count)))
    return extents[order]


def _background(rng: Rng, family: Family, size: int) -> tuple[NDArray[np.uint8], list[Material], Pixels]:
    """One to three zones divided by wavy lines or soft blotches, each of its own material, with some litter."""
    zone_ids = np.zeros((size, size), np.uint8)
    for index in range(1, int(rng.choice([1, 1, 2, 2, 3]))):
        y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
        angle = rng.uniform(0, 2 * np.pi)
        level = np.cos(angle) * (x - rng.uniform(0.2, 0.8)) + np.sin(angle) * (y - rng.uniform(0.2, 0.8))
        wave = noise(size, size, rng, size / 3, 3) - 0.5
        zone_ids[level + rng.uniform(0, 0.8) * wave > 0] = index
    materials, pixels = [], np.zeros((size, size, 3), np.float32)
    for index in range(int(zone_ids.max()) + 1):
        material = draw_material(rng, family, size / 2, contrast=GROUND_CONTRAST[family])
        pixels[zone_ids == index] = paint(material, size, size, rng)[zone_ids == index]
        materials.append(material)
    pixels = _litter(pixels, rng, family)
    return zone_ids, materials, np.ascontiguousarray(pixels)


def _litter(pixels: Pixels, rng: Rng, family: Family) -> Pixels:
    """Thin strokes and specks that are nobody's object: straight in family A, curled in family B."""
    size = len(pixels)
    for _ in range(int(rng.choice([0, 0, int(rng.integers(5, 60))]))):
        start, reach = rng.uniform(0, size, 2), rng.uniform(0.01, 0.12) * size
        turn = np.linspace(0, rng.uniform(1, 4) if family == "b" else 0, 6) + rng.uniform(0, 6.28)
        path = start + np.cumsum(np.stack([np.cos(turn), np.sin(turn)], 1) * reach / 6, axis=0)
        colour = pixels[int(start[1]), int(start[0])] * rng.uniform(0.5, 1.5)
        points = np.round(path * 16).astype(np.int32)
        cv2.polylines(pixels, [points], False, colour.tolist(), 1, cv2.LINE_AA, 4)
    return pixels


def _photograph(pixels: Pixels, family: Family, rng: Rng) -> NDArray[np.uint8]:
    """Uneven light, lens blur, sensor noise and compression."""
    size = len(pixels)
    light = 1 + rng.uniform(*LIGHT[family]) * (noise(size, size, rng, size / 1.5, 1) - 0.5)
    pixels = pixels * light[..., None]
    if rng.random() < 0.6:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(0.3, 1.2)) * size / 256), np.float32)
    grain = rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(rng.uniform(0, 10))
    image = np.clip(pixels + grain, 0, 255).astype(np.uint8)
    quality = int(rng.integers(55, 98))
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


def _visible(painter: Canvas, item: Painted) -> SceneObject | None:
    """The annotation of an object, unless too little of it can be seen."""
    size = len(painter.pixels)
    mask = painter.object_ids == item.index
    area = int(mask.sum())
    if area < max(MIN_VISIBLE_PIXELS * (size / 256) ** 2, MIN_VISIBLE_SHARE * item.full_area):
        return None
    parts = tuple(painter.part_ids == part for part in item.part_ids)
    shown = tuple(part for part in parts if part.sum() >= MIN_VISIBLE_PIXELS)
    extent = "small" if area < 0.01 * size**2 else "large" if area > 0.1 * size**2 else "medium"
    return SceneObject(item.class_name, mask, {**item.attributes, "size": extent}, shown if len(shown) > 1 else ())
