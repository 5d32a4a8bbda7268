"""Where the objects of the photo look lie or stand: surfaces seen from above, or a ground before a wall or a sky.

Knows materials, edges and the perspective of the ground. Does not know objects nor light.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from segray.demo.lighting import to_linear
from segray.demo.painter import Pixels
from segray.demo.palettes import GROUND_COLOURS, GROUND_PATTERNS, PLAIN, draw_surface
from segray.demo.shapes import Family
from segray.demo.textures import FAMILY_TEXTURES, Material, Rng, colour_table, draw_field, look_up, noise

INDOORS: Final = (("plaster", "cloth", "wood", "stone"), ("wood", "cloth", "stone", "plaster"))
OUTDOORS: Final = (("sky",), ("grass", "sand", "soil", "stone"))
"""What the wall and the ground of a standing scene may be made of."""


@dataclass(frozen=True)
class Setting:
    """What the objects lie or stand on."""

    horizon: int | None
    """First row of the ground, pixels; None where the scene is seen from above."""
    zone_ids: NDArray[np.uint8]
    materials: tuple[Material, ...]
    albedo: Pixels
    """(H, W, 3) linear RGB."""


def linear(material: Material, height: int, width: int, rng: Rng) -> Pixels:
    """Return a (height, width, 3) patch of the material in linear light."""
    return look_up(material, to_linear(colour_table(material)), height, width, rng)


def draw_setting(rng: Rng, family: Family, size: int) -> Setting:
    """A surface seen from above, or a ground before a wall or a sky."""
    return _above(rng, family, size) if rng.random() < 0.45 else _standing(rng, family, size)


def _ground(rng: Rng, family: Family, extent: float, names: tuple[str, ...], plain: bool = False) -> Material:
    colours = GROUND_COLOURS[str(rng.choice(names))]
    return draw_surface(rng, PLAIN if plain else GROUND_PATTERNS[family], extent, colours, FAMILY_TEXTURES[family])


def _above(rng: Rng, family: Family, size: int) -> Setting:
    """One surface, or two or three that meet along nearly straight edges."""
    zone_ids = np.zeros((size, size), np.uint8)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    for index in range(1, int(rng.choice([1, 2, 2, 3]))):
        angle = rng.uniform(0, 2 * np.pi)
        level = np.cos(angle) * (x - rng.uniform(0.2, 0.8)) + np.sin(angle) * (y - rng.uniform(0.2, 0.8))
        wave = noise(size, size, rng, size / 3, 2) - 0.5
        zone_ids[level + float(rng.choice([0, 0.1, 0.5])) * wave > 0] = index
    materials = [_ground(rng, family, size / 2, INDOORS[1] + OUTDOORS[1]) for _ in range(int(zone_ids.max()) + 1)]
    albedo = np.zeros((size, size, 3), np.float32)
    for index, material in enumerate(materials):
        albedo[zone_ids == index] = linear(material, size, size, rng)[zone_ids == index]
    return Setting(None, zone_ids, tuple(materials), albedo)


def _standing(rng: Rng, family: Family, size: int) -> Setting:
    """A ground in perspective up to the horizon, a wall or a sky above it, at times hills between them."""
    outdoors = rng.random() < 0.45
    walls, grounds = OUTDOORS if outdoors else INDOORS
    horizon = int(rng.uniform(0.15, 0.5) * size)
    wall, ground = _ground(rng, family, size, walls, plain=outdoors), _ground(rng, family, size / 2, grounds)
    albedo = linear(wall, size, size, rng)
    zone_ids = np.zeros((size, size), np.uint8)
    materials = [wall, ground]
    if outdoors and rng.random() < 0.6:
        hill = _ground(rng, family, size / 2, ("grass", "soil", "stone"))
        ridge = horizon - size * rng.uniform(0.03, 0.3) * noise(1, size, rng, size / rng.uniform(1, 4), 2)
        behind = np.arange(size)[:, None] >= ridge
        zone_ids[behind] = 2
        haze = float(rng.uniform(0.2, 0.6))
        far = (1 - haze) * linear(hill, size, size, rng) + haze * albedo.mean((0, 1))
        albedo[behind] = far[behind]
        materials.append(hill)
    zone_ids[horizon:] = 1
    field = _in_perspective(draw_field(ground, size, size, rng), horizon, rng)
    albedo[horizon:] = to_linear(colour_table(ground))[field[horizon:]]
    return Setting(horizon, zone_ids, tuple(materials), albedo)


def _in_perspective(texture: NDArray[np.uint8], horizon: int, rng: Rng) -> NDArray[np.uint8]:
    """The texture laid on the ground below the horizon, its far edge two to four times smaller than its near one."""
    size = len(texture)
    middle, near = size / 2, 0.75 * size
    far = near / rng.uniform(2, 4)
    corners = np.array([[0, 0], [size, 0], [size, size], [0, size]], np.float32)
    seen = [[middle - far, horizon], [middle + far, horizon], [middle + near, size], [middle - near, size]]
    matrix = cv2.getPerspectiveTransform(corners, np.array(seen, np.float32))
    laid = cv2.warpPerspective(texture, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(laid, np.uint8)
