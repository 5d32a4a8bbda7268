"""Light on the objects of the photo look: one sun and one sky per scene, relief from outlines, shadows.

Knows masks and colours in linear light. Does not know what is painted nor where it lies in a scene.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segray.demo.textures import Field, Rng

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Light:
    """A distant lamp and what the rest of the world reflects, both as linear RGB."""

    direction: NDArray[np.float32]
    """Unit vector toward the lamp: x right, y down, z toward the camera."""
    lamp: NDArray[np.float32]
    sky: NDArray[np.float32]


def draw_light(rng: Rng, from_above: bool) -> Light:
    """Return a lamp 25 to 60 degrees above the picture's plane, in its upper half if `from_above`, and its sky."""
    azimuth = rng.uniform(-0.85 * np.pi, -0.15 * np.pi) if from_above else rng.uniform(0, 2 * np.pi)
    height = rng.uniform(np.radians(25), np.radians(60))
    direction = np.array([np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height)])
    warmth, share = rng.uniform(-0.03, 0.16), rng.uniform(0.15, 0.4)
    lamp = (1 - share) * 1.55 * np.array([1 + warmth, 1, 1 - 1.2 * warmth])
    sky = share * 1.1 * np.array([1 - 0.5 * warmth, 1, 1 + 0.6 * warmth])
    return Light(*(part.astype(np.float32) for part in (direction, lamp, sky)))


def relief(solid: NDArray[np.bool_], parts: Bytes, roundness: float) -> NDArray[np.float32]:
    """Unit normals (h, w, 3) of a body swollen from its outline: `roundness` 0 is a slab with a bevel, 1 a cushion."""
    whole = _swell(solid.astype(np.uint8), roundness)
    seams = np.zeros_like(whole)
    numbers = np.unique(parts[solid])
    if len(numbers) > 1:
        for number in numbers:
            seams += _swell((parts == number).astype(np.uint8), 0.3 * roundness)
    height = whole + 0.5 * seams
    blur = max(0.6, 0.012 * float(np.sqrt(solid.sum())))
    height = np.asarray(cv2.GaussianBlur(height, (0, 0), blur), np.float32)
    slope_x, slope_y = cv2.Sobel(height, -1, 1, 0, scale=1 / 8), cv2.Sobel(height, -1, 0, 1, scale=1 / 8)
    length = np.sqrt(slope_x**2 + slope_y**2 + 1)
    return np.stack([-slope_x / length, -slope_y / length, 1 / length], axis=2)


def _swell(inside: Bytes, roundness: float) -> Field:
    """Height above the plane, pixels: an arc from the border inward, level from its radius on."""
    padded = cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(0,))
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    radius = max(2.0, roundness * float(depth.max()))
    return np.asarray(0.9 * radius * np.sqrt(1 - (1 - np.minimum(depth / radius, 1)) ** 2), np.float32)


def lit(albedo: NDArray[np.float32], normals: NDArray[np.float32], light: Light, gloss: float) -> NDArray[np.float32]:
    """Linear RGB of a surface (h, w, 3): lamp by angle, sky more from above, and a highlight of strength `gloss`."""
    toward = np.maximum(normals @ light.direction, 0)[..., None]
    open_sky = (0.75 - 0.35 * normals[..., 1:2]) * (0.4 + 0.6 * normals[..., 2:3])
    colours = albedo * (light.lamp * toward + light.sky * open_sky)
    if gloss > 0:
        half = light.direction + np.array([0, 0, 1], np.float32)
        mirror = np.maximum(normals @ (half / np.linalg.norm(half)), 0)[..., None]
        for _ in range(5):
            mirror = mirror * mirror
        colours += gloss * mirror * light.lamp
    return np.asarray(colours, np.float32)


def to_linear(srgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """sRGB in [0, 255] to linear light in [0, 1]."""
    return np.asarray((srgb / 255) ** 2.2, np.float32)
