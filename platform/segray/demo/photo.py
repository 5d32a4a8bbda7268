"""The objects of the photo look, rendered in linear light with relief, shadows and a depth of field.

Knows how an object is dressed, lit and laid over what is behind it. Does not know which objects become annotations
(segray.demo.world) nor files.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from segray.demo.lighting import Light, draw_light, lit, relief
from segray.demo.painter import CLASS_LOOKS, Canvas, Patch, Pixels, colour_name, rasterize
from segray.demo.palettes import CLASS_COLOURS, PATTERNS, THING_COLOURS, Colours, draw_surface
from segray.demo.setting import Setting, linear
from segray.demo.shapes import FAMILY_SHAPES, Family, ShapePart, place
from segray.demo.textures import FAMILY_TEXTURES, Field, Material, Rng, noise

UPRIGHT: Final = ("bottle", "mushroom", "crate")
"""Classes that stand on their foot when a scene is seen from the side."""
SMOOTHED: Final = ("blob", "creature")
"""Classes whose outlines lose their finest wiggles."""
DAPPLED: Final = 0.35
"""Share of scenes on which something outside the picture casts soft shadows."""


class PhotoPainter(Canvas):
    """A canvas in linear light with the scene's lamp, camera and surface."""

    def __init__(self, rng: Rng, family: Family, setting: Setting) -> None:
        super().__init__(rng, family, setting.albedo)
        size = len(self.pixels)
        self.horizon = setting.horizon
        self.light: Light = draw_light(rng, from_above=setting.horizon is not None)
        self.aperture = float(rng.choice([0.0, rng.uniform(0.3, 1.0)])) * size / 256
        self.focus = float(rng.uniform(0.3, 1.0))
        self.fall = float(rng.choice([-1, 1]) * rng.uniform(0.12, 0.4))
        self.pool = self._pool()
        self._light_background()

    def _pool(self) -> Field:
        """How much of the lamp's light arrives where, around 1: brighter on the lamp's side, in a soft pool."""
        size, rng = len(self.pixels), self.rng
        y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
        ramp = x * self.light.direction[0] + y * self.light.direction[1]
        clouds = noise(size, size, rng, size / 1.2, 1) - 0.5
        pool = 1 + rng.uniform(0, 1.0) * ramp + rng.uniform(0, 0.9) * clouds
        if rng.random() < DAPPLED:
            leaves = noise(size, size, rng, size / rng.uniform(2, 5), 2)
            pool *= 1 - rng.uniform(0.3, 0.6) * np.clip((leaves - rng.uniform(0.4, 0.6)) * rng.uniform(4, 12), 0, 1)
        return np.asarray(np.clip(pool, 0.2, 2), np.float32)

    def _light_background(self) -> None:
        """Light wall and ground, darken the joint between them, blur what is far from the focus."""
        size = len(self.pixels)
        normals = np.zeros((size, 1, 3), np.float32)
        normals[..., 2] = 1.0
        if self.horizon is not None:
            normals[self.horizon :, :, 1:] = (-0.9, 0.44)
        self.pixels = lit(self.pixels, np.broadcast_to(normals, self.pixels.shape), self.light, 0.0)
        self.pixels *= self.pool[..., None]
        if self.horizon is None:
            return
        rows = np.arange(size, dtype=np.float32)
        joint = 1 - 0.35 * self.rng.random() * np.exp(-np.abs(rows - self.horizon) / (0.05 * size))
        self.pixels *= joint[:, None, None].astype(np.float32)
        if self.aperture > 0:
            soft = cv2.GaussianBlur(self.pixels, (0, 0), 3.5 * self.aperture)
            share = np.clip(np.abs(self._nearness(rows) - self.focus) * 1.4, 0, 1)[:, None, None].astype(np.float32)
            self.pixels = np.asarray(self.pixels * (1 - share) + soft * share, np.float32)

    def _nearness(self, row: NDArray[np.float32] | float) -> NDArray[np.float32]:
        """0 at the horizon and behind it, 1 at the lower edge; the focus when seen from above."""
        if self.horizon is None:
            return np.full_like(row, self.focus, np.float32)
        return np.asarray(np.clip((row - self.horizon) / (len(self.pixels) - self.horizon), 0, 1), np.float32)

    def arrange(self, diameters: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return sizes and rows of objects that are `diameters` across: anywhere when seen from above.

        From the side they stand on the ground, far ones first and smaller.
        """
        size = len(self.pixels)
        if self.horizon is None:
            return diameters, self.rng.uniform(0.05, 0.95, len(diameters)) * size
        depth = np.sort(self.rng.uniform(0.12, 1.02, len(diameters)))
        return diameters * (0.5 + 0.7 * depth), self.horizon + (size - self.horizon) * depth

    def add(self, diameter: float, foot: float, shared: Colours | None) -> None:
        """One object more, over the others: its foot, or its middle from above, in row `foot`."""
        rng, size = self.rng, len(self.pixels)
        shapes = FAMILY_SHAPES[self.family]
        class_name = str(rng.choice(tuple(shapes)))
        parts = self._placed(shapes[class_name](rng), class_name, diameter, foot)
        patch = rasterize(parts, size)
        albedo, part_map, material = self._dress(patch, class_name, diameter, shared)
        solid = patch.whole > 127
        roundness = float(rng.uniform(0.25, 1.0))
        normals = relief(solid, part_map, roundness)
        gloss = float(rng.choice([0.0, 0.04, rng.uniform(0.08, 0.4)]))
        colours = lit(albedo, normals, self.light, gloss)
        self._cast_shadow(patch, diameter * (0.1 + 0.2 * roundness), foot)
        self._lay(patch, colours, float(abs(self._nearness(foot) - self.focus)))
        self._number(patch, part_map)
        colour = colour_name(255 * (albedo[solid].mean(0) if solid.any() else albedo[0, 0]) ** (1 / 2.2))
        self._record(class_name, patch, {"colour": colour, "texture": material.kind})

    def _placed(self, parts: list[ShapePart], class_name: str, diameter: float, foot: float) -> list[ShapePart]:
        rng = self.rng
        if class_name in SMOOTHED:
            parts = [ShapePart(part.name, tuple(map(_smooth, part.contours))) for part in parts]
        standing = self.horizon is not None
        angle = float(rng.normal(0, 0.06)) if standing and class_name in UPRIGHT else None
        x = float(rng.uniform(0.05, 0.95) * len(self.pixels))
        placed = place(parts, rng, (x, foot), diameter, angle)
        if not standing:
            return placed
        lift = np.array([0, max(contour[:, 1].max() for part in placed for contour in part.contours) - foot])
        return [ShapePart(part.name, tuple(contour - lift for contour in part.contours)) for part in placed]

    def _dress(
        self, patch: Patch, class_name: str, diameter: float, shared: Colours | None
    ) -> tuple[Pixels, NDArray[np.uint8], Material]:
        """Colours (h, w, 3), linear, and part numbers of an object, and what its first part is made of."""
        rng = self.rng
        choices = CLASS_COLOURS.get(class_name, THING_COLOURS)
        look = CLASS_LOOKS.get(class_name)
        kinds = look.kinds if look is not None else FAMILY_TEXTURES[self.family]
        material = draw_surface(rng, PATTERNS[self.family], diameter, choices, kinds, shared)
        height, width = patch.whole.shape
        albedo = linear(material, height, width, rng)
        part_map = np.zeros((height, width), np.uint8)
        for number, coverage in enumerate(patch.coverages):
            inside = coverage > 127
            if number > 0 and rng.random() < 0.8:
                other = draw_surface(rng, PATTERNS[self.family], diameter / 2, choices, kinds, None)
                albedo[inside] = linear(other, height, width, rng)[inside]
            part_map[inside] = self._next_part + number
        return albedo, part_map, material

    def _cast_shadow(self, patch: Patch, height: float, foot: float) -> None:
        """Darken what the object keeps the lamp from: beside it from above, along the ground from the side."""
        size = len(self.pixels)
        canvas = np.zeros((size, size), np.uint8)
        whole = patch.whole
        canvas[patch.y0 : patch.y0 + whole.shape[0], patch.x0 : patch.x0 + whole.shape[1]] = whole
        x, y, z = (float(part) for part in self.light.direction)
        if self.horizon is None:
            matrix = np.array([[1, 0, -x / z * 0.7 * height], [0, 1, -y / z * 0.7 * height]])
        else:
            lean = float(np.clip(-x / max(-y, 0.3), -1.2, 1.2)) * 0.7
            matrix = np.array([[1, -lean, lean * foot], [0, self.fall, foot - self.fall * foot]])
        cast = cv2.warpAffine(canvas, matrix, (size, size))
        half = (size // 2, size // 2)
        small, close = (
            cv2.resize(cast, half, interpolation=cv2.INTER_AREA),
            cv2.resize(canvas, half, interpolation=cv2.INTER_AREA),
        )
        soft = cv2.GaussianBlur(small, (0, 0), max(0.5, 0.065 * height)).astype(np.float32) / 255
        close = cv2.GaussianBlur(close, (0, 0), max(0.5, 0.12 * height)).astype(np.float32) / 255
        if self.horizon is not None:
            rows = np.arange(0.5, size, 2, dtype=np.float32)[:, None]
            soft *= np.clip((rows - self.horizon) / 4, 0.25, 1)
            close *= np.exp(-(((rows - foot) / max(2.0, 0.4 * height)) ** 2))
        shade = cv2.resize((1 - 0.62 * soft) * (1 - 0.45 * close), (size, size), interpolation=cv2.INTER_LINEAR)
        self.pixels *= shade[..., None]

    def _lay(self, patch: Patch, colours: Pixels, distance: float) -> None:
        """Put an object's colours over the canvas, blurred by its distance from the focus."""
        margin = int(8 * self.aperture * distance) + 1
        whole, size = patch.whole, len(self.pixels)
        top, left = min(margin, patch.y0), min(margin, patch.x0)
        below = min(margin, size - patch.y0 - whole.shape[0])
        right = min(margin, size - patch.x0 - whole.shape[1])
        window = (
            slice(patch.y0 - top, patch.y0 + whole.shape[0] + below),
            slice(patch.x0 - left, patch.x0 + whole.shape[1] + right),
        )
        alpha = (whole.astype(np.float32) / 255)[..., None]
        layer = np.concatenate(
            [colours * alpha * self.pool[patch.y0 :, patch.x0 :][: len(whole), : whole.shape[1], None], alpha], axis=2
        )
        layer = cv2.copyMakeBorder(layer, top, below, left, right, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
        sigma = 2.5 * self.aperture * distance
        if sigma > 0.3:
            layer = cv2.GaussianBlur(layer, (0, 0), sigma)
        self.pixels[window] = self.pixels[window] * (1 - layer[..., 3:]) + layer[..., :3]


def _smooth(contour: NDArray[np.float64]) -> NDArray[np.float64]:
    """A closed contour without its finest wiggles."""
    weights = np.exp(-0.5 * (np.arange(-6, 7) / 2.5) ** 2)
    turned = [weight * np.roll(contour, shift, axis=0) for weight, shift in zip(weights, range(-6, 7), strict=True)]
    return np.asarray(np.sum(turned, axis=0) / weights.sum())
