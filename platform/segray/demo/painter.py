"""Paints the objects of a scene one after another, with their shadows, and keeps track of whose each pixel is.

Knows materials, outlines and light; does not know backgrounds, cameras or which scene this is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from segray.demo.shapes import FAMILY_SHAPES, Family, ShapePart, place
from segray.demo.textures import Field, Look, Rng, draw_material, paint

Pixels = NDArray[np.float32]

COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "black": (25, 25, 25), "grey": (128, 128, 128), "white": (235, 235, 235), "red": (200, 40, 40),
    "orange": (230, 130, 40), "yellow": (220, 210, 60), "green": (60, 150, 60), "teal": (50, 150, 150),
    "blue": (50, 80, 190), "purple": (130, 60, 170), "pink": (230, 140, 180), "brown": (120, 80, 45),
}  # fmt: skip


CLASS_LOOKS: Final = {
    name: Look(kinds=kinds, hue=index / 6)
    for index, (name, kinds) in enumerate(
        {
            "bottle": ("cellular", "woven"), "mushroom": ("ringed", "marbled"), "leaf": ("veined", "scaly"),
            "fish": ("scaly", "ringed"), "gear": ("woven", "cellular"), "crescent": ("marbled", "veined"),
        }.items()
    )
}  # fmt: skip
"""Family B's classes have typical colours and textures, as real ones do; family A's have none: it is for masks only."""


@dataclass(frozen=True)
class Painted:
    """What was painted as object number `index`, before later objects hid some of it."""

    index: int
    class_name: str
    full_area: int
    part_ids: tuple[int, ...]
    attributes: dict[str, str]


@dataclass(frozen=True)
class Patch:
    """The rectangle of the canvas that holds an object, and how much of each pixel each of its parts covers."""

    x0: int
    y0: int
    coverages: tuple[NDArray[np.uint8], ...]

    @property
    def whole(self) -> NDArray[np.uint8]:
        """Coverage of the object, (h, w) in 0..255."""
        return np.asarray(np.maximum.reduce(self.coverages), np.uint8)


class Canvas:
    """What has been painted so far: `pixels`, and the object and part that each pixel shows, 0 for none."""

    def __init__(self, rng: Rng, family: Family, background: Pixels) -> None:
        size = len(background)
        self.rng = rng
        self.family: Family = family
        self.pixels = background
        self.object_ids = np.zeros((size, size), np.uint8)
        self.part_ids = np.zeros((size, size), np.uint8)
        self.painted: list[Painted] = []
        self._next_part = 1

    def _number(self, patch: Patch, part_map: NDArray[np.uint8]) -> None:
        """Give the next object's number, and its parts', to the pixels that it covers more than half of."""
        whole = patch.whole
        window = (slice(patch.y0, patch.y0 + whole.shape[0]), slice(patch.x0, patch.x0 + whole.shape[1]))
        solid = whole > 127
        self.object_ids[window][solid] = len(self.painted) + 1
        self.part_ids[window][solid] = part_map[solid]

    def _record(self, class_name: str, patch: Patch, attributes: dict[str, str]) -> None:
        """Remember the object whose pixels were just numbered."""
        part_ids = tuple(range(self._next_part, self._next_part + len(patch.coverages)))
        area = int((patch.whole > 127).sum())
        self.painted.append(Painted(len(self.painted) + 1, class_name, area, part_ids, attributes))
        self._next_part += len(patch.coverages)


class Painter(Canvas):
    """A canvas and one light for all objects."""

    def __init__(self, rng: Rng, family: Family, background: Pixels) -> None:
        super().__init__(rng, family, background)
        angle = rng.uniform(0, 2 * np.pi)
        self.light = np.array([np.cos(angle), np.sin(angle)])

    def add(self, diameter: float, shared: NDArray[np.float32] | None) -> None:
        """One object more, over the others; `shared` is a palette of the scene that it takes colours from."""
        rng, size = self.rng, len(self.pixels)
        shapes = FAMILY_SHAPES[self.family]
        class_name = str(rng.choice(tuple(shapes)))
        centre = rng.uniform(0.05, 0.95, 2) * size
        parts = place(shapes[class_name](rng), rng, (float(centre[0]), float(centre[1])), diameter)
        patch = rasterize(parts, size)
        whole = patch.whole
        height, width = whole.shape
        self._cast_shadow(patch, diameter)
        look = CLASS_LOOKS.get(class_name)
        material = draw_material(rng, self.family, diameter, shared, look)
        colours = paint(material, height, width, rng)
        part_map = np.zeros((height, width), np.uint8)
        for number, coverage in enumerate(patch.coverages):
            inside = coverage > 127
            if number > 0 and rng.random() < 0.7:
                again = material.palette if rng.random() < 0.5 else None
                other = draw_material(rng, self.family, diameter / 2, again, look)
                colours[inside] = paint(other, height, width, rng)[inside]
            part_map[inside] = self._next_part + number
        colours *= self._shading(whole)[..., None]
        self._lay(patch, colours, part_map)
        solid = whole > 127
        colour = colour_name(colours[solid].mean(0) if solid.any() else colours[0, 0])
        self._record(class_name, patch, {"colour": colour, "texture": material.kind})

    def _lay(self, patch: Patch, colours: Pixels, part_map: NDArray[np.uint8]) -> None:
        """Put an object's colours over the canvas, and its numbers where it covers more than half of a pixel."""
        whole = patch.whole
        window = (slice(patch.y0, patch.y0 + whole.shape[0]), slice(patch.x0, patch.x0 + whole.shape[1]))
        alpha = (whole.astype(np.float32) / 255)[..., None]
        self.pixels[window] = self.pixels[window] * (1 - alpha) + colours * alpha
        self._number(patch, part_map)

    def _cast_shadow(self, patch: Patch, diameter: float) -> None:
        """Darken what lies beside the object, away from the light; one object in three casts none."""
        rng, size = self.rng, len(self.pixels)
        strength = float(rng.choice([0.0, rng.uniform(0.1, 0.6), rng.uniform(0.1, 0.6)]))
        if strength == 0.0:
            return
        reach = int(max(2, 0.12 * diameter))
        shift = np.round(self.light * reach).astype(int)
        soft = cv2.copyMakeBorder(patch.whole, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=(0,))
        soft = cv2.blur(cv2.blur(soft, (reach, reach)), (reach, reach))
        top, left = patch.y0 - reach + int(shift[1]), patch.x0 - reach + int(shift[0])
        y_from, x_from = max(top, 0), max(left, 0)
        y_to, x_to = min(top + soft.shape[0], size), min(left + soft.shape[1], size)
        if y_from >= y_to or x_from >= x_to:
            return
        shade = soft[y_from - top : y_to - top, x_from - left : x_to - left].astype(np.float32) / 255
        self.pixels[y_from:y_to, x_from:x_to] *= (1 - strength * shade)[..., None]

    def _shading(self, whole: NDArray[np.uint8]) -> Field:
        """A factor per pixel: a ramp along the light, and a rim that turns darker or lighter."""
        rng, light = self.rng, self.light
        height, width = whole.shape
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        x = np.linspace(-1, 1, width, dtype=np.float32)[None]
        factor = 1 - np.float32(rng.uniform(0.2, 0.7)) * (x * np.float32(light[0]) + y * np.float32(light[1]))
        depth = cv2.distanceTransform((whole > 127).astype(np.uint8), cv2.DIST_L2, 3)
        rim = np.clip(depth / np.clip(0.25 * float(depth.max()), 2.0, 8.0), 0, 1)
        change = rng.choice([rng.uniform(-0.6, -0.1), rng.uniform(0.1, 0.4)], p=[0.7, 0.3])
        return np.asarray(np.maximum(factor, 0.25) * (1 + change * (1 - rim)), np.float32)


def rasterize(parts: list[ShapePart], size: int) -> Patch:
    """Return the parts on the smallest patch of a (size, size) canvas that holds them."""
    points = np.concatenate([contour for part in parts for contour in part.contours])
    x0, y0 = (int(side) for side in np.clip(np.floor(points.min(0)) - 1, 0, size - 1))
    x1, y1 = (int(side) for side in np.clip(np.ceil(points.max(0)) + 2, 1, size))
    shape = (max(y1 - y0, 1), max(x1 - x0, 1))
    coverages = []
    for part in parts:
        coverage = np.zeros(shape, np.uint8)
        contours = [np.round((contour - (x0, y0)) * 16).astype(np.int32) for contour in part.contours]
        cv2.fillPoly(coverage, contours, 255, cv2.LINE_AA, 4)
        coverages.append(coverage)
    return Patch(x0, y0, tuple(coverages))


def colour_name(rgb: NDArray[np.float32]) -> str:
    """Return the name of the nearest of COLOURS."""
    distances = {name: float(np.abs(rgb - np.asarray(value)).sum()) for name, value in COLOURS.items()}
    return min(distances, key=distances.__getitem__)
