"""Procedural textures: a seeded generator -> float32 RGB patches in [0, 255].

Knows pixels and palettes; does not know shapes, scenes or families beyond two tuples of kinds. A texture is a scalar
field in [0, 1] looked up in a palette of two to four colours, so that one object holds several colours.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Rng = np.random.Generator


@dataclass(frozen=True)
class Material:
    """What an object or a background zone is made of."""

    kind: str
    palette: NDArray[np.float32]
    """(K, 3) RGB colours in [0, 255], looked up from field 0 to field 1."""
    wavelength: float
    """Size of one repetition, pixels."""


def noise(height: int, width: int, rng: Rng, wavelength: float, octaves: int = 3) -> Field:
    """Band-limited noise scaled to [0, 1]; `wavelength` is the coarsest octave's cell, pixels."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        cell = max(wavelength / 2**octave, 1.0)
        grid = rng.random((int(height / cell) + 2, int(width / cell) + 2), dtype=np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * 0.5**octave
    low, high = float(total.min()), float(total.max())
    return (total - low) / max(high - low, 1e-6)


def _axes(height: int, width: int, rng: Rng) -> tuple[Field, Field]:
    """Coordinates along a random direction and across it, pixels."""
    angle = rng.uniform(0, np.pi)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    along = x * np.cos(angle, dtype=np.float32) + y * np.sin(angle, dtype=np.float32)
    across = y * np.cos(angle, dtype=np.float32) - x * np.sin(angle, dtype=np.float32)
    return along, across


def _wave(phase: Field) -> Field:
    return np.asarray(0.5 + 0.5 * np.sin(2 * np.pi * phase, dtype=np.float32), np.float32)


def _sharpen(field: Field, rng: Rng) -> Field:
    """Soft waves become anything up to hard edges."""
    gain = rng.uniform(1.0, 6.0)
    return np.asarray(np.clip((field - 0.5) * gain + 0.5, 0, 1), np.float32)


def _clouds(height: int, width: int, rng: Rng, wavelength: float) -> Field:
    return noise(height, width, rng, 2 * wavelength, octaves=4)


def _gradient(height: int, width: int, rng: Rng, wavelength: float) -> Field:
    along, _ = _axes(height, width, rng)
    ramp = (along - along.min()) / max(float(np.ptp(along)), 1.0)
    return np.asarray(np.clip(ramp + 0.25 * (noise(height, width, rng, wavelength, 2) - 0.5), 0, 1), np.float32)


def _stripes(height: int, width: int, rng: Rng, wavelength: float) -> Field:
    along, _ = _axes(height, width, rng)
    bend = noise(height, width, rng, 4 * wavelength, 1) * rng.uniform(0, 1.5)
    return _sharpen(_wave(along / wavelength + bend), rng)


def _checks(height: int, width: int, rng: Rng, wavelength: float) -> Field:
    along, across = _axes(height, width, rng)
    return _sharpen(0.5 + 0.5 * (2 * _wave(along / wavelength) - 1) * (2 * _wave(across / wavelength) - 1), rng)


def _dots(height: int, width: int, rng: Rng, wavelength: float) -> Field:
    along, across = _axes(height, width, rng)
    spots = _wave(along / wavelength) * _wave(across / wavelength)
    return np.asarray(np.clip((spots - rng.uniform(0.2, 0.6)) * 5 + 0.5, 0, 1), np.float32)


def _grain(height: int, width: int, rng: Rng, wavelength: float) -> Field:
    return _sharpen(noise(height, width, rng, max(wavelength / 4, 1.5), 2), rng)


def _patches(height: int, width: int, rng: Rng, wavelength: float) -> Field:
    levels = int(rng.integers(3, 6))
    steps = np.floor(noise(height, width, rng, 2 * wavelength, 2) * levels * 0.999)
    return np.asarray(steps / np.float32(levels - 1), np.float32)


def _wood(height: int, width: int, rng: Rng, wavelength: float) -> Field:
    along, across = _axes(height, width, rng)
    bend = noise(height, width, rng, 6 * wavelength, 2) * 3
    fibre = noise(height, width, rng, max(wavelength / 3, 1.5), 1) * 0.3
    return np.clip(0.8 * _wave(along / wavelength + bend) + fibre + 0 * across, 0, 1)


def _marble(height: int, width: int, rng: Rng, wavelength: float) -> Field:
    along, _ = _axes(height, width, rng)
    bend = noise(height, width, rng, 3 * wavelength, 4) * rng.uniform(3, 6)
    return np.abs(2 * _wave(along / (2 * wavelength) + bend) - 1).astype(np.float32)


def _nearest_seed(height: int, width: int, rng: Rng, wavelength: float) -> tuple[NDArray[np.int32], Field]:
    """Index of and distance (in wavelengths) to the nearest of random seed points."""
    count = max(int(height * width / wavelength**2), 2)
    canvas = np.ones((height, width), np.uint8)
    canvas[rng.integers(0, height, count), rng.integers(0, width, count)] = 0
    distance, label = cv2.distanceTransformWithLabels(canvas, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    return label.astype(np.int32), (distance / wavelength).astype(np.float32)


def _cells(height: int, width: int, rng: Rng, wavelength: float) -> Field:
    label, distance = _nearest_seed(height, width, rng, wavelength)
    shade = rng.random(int(label.max()) + 1, dtype=np.float32)[label]
    return np.clip(0.8 * shade + 0.4 * distance, 0, 1)


def _scales(height: int, width: int, rng: Rng, wavelength: float) -> Field:
    along, across = _axes(height, width, rng)
    row = np.floor(along / wavelength)
    u = np.mod(across / wavelength + 0.5 * np.mod(row, 2), 1) - 0.5
    v = np.mod(along / wavelength, 1)
    return np.asarray(np.clip(1.1 - np.sqrt(u * u + v * v), 0, 1), np.float32)


def _rings(height: int, width: int, rng: Rng, wavelength: float) -> Field:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    cy, cx = rng.uniform(0.2, 0.8, 2)
    radius = np.hypot(y - cy * height, x - cx * width)
    return _sharpen(_wave(radius / wavelength + noise(height, width, rng, 3 * wavelength, 2)), rng)


def _weave(height: int, width: int, rng: Rng, wavelength: float) -> Field:
    along, across = _axes(height, width, rng)
    over = np.mod(np.floor(along / wavelength) + np.floor(across / wavelength), 2)
    thread = np.where(over > 0, np.mod(along / wavelength, 1), np.mod(across / wavelength, 1))
    return np.asarray(0.25 * over + 0.75 * (1 - np.abs(2 * thread - 1)), np.float32)


def _veins(height: int, width: int, rng: Rng, wavelength: float) -> Field:
    ridge = 1 - np.abs(2 * noise(height, width, rng, 2 * wavelength, 3) - 1)
    return np.clip(ridge**3 * 1.4 + 0.1, 0, 1).astype(np.float32)


FIELDS: Final[dict[str, Callable[[int, int, Rng, float], Field]]] = {
    "cloudy": _clouds, "shaded": _gradient, "striped": _stripes, "checked": _checks, "dotted": _dots,
    "grainy": _grain, "patchy": _patches, "wooden": _wood,
    "marbled": _marble, "cellular": _cells, "scaly": _scales, "ringed": _rings, "woven": _weave, "veined": _veins,
}  # fmt: skip
CONTRAST: Final[dict[str, tuple[float, float]]] = {"a": (0.05, 0.32), "b": (0.8, 1.2)}
"""How far apart the colours of one material are: less than light and shadow move them, as in photographs."""
GROUND_CONTRAST: Final[dict[str, tuple[float, float]]] = {"a": CONTRAST["a"], "b": (0.06, 0.24)}
"""The same for backgrounds: B's are calm."""
HUE_SPREAD: Final = 0.4
HUE_SCATTER: Final = 0.04
FAMILY_TEXTURES: Final[dict[str, tuple[str, ...]]] = {
    "a": ("cloudy", "shaded", "striped", "checked", "dotted", "grainy", "patchy", "wooden"),
    "b": ("marbled", "cellular", "scaly", "ringed", "woven", "veined"),
}


@dataclass(frozen=True)
class Look:
    """What things of one class tend to look like, as leaves tend to be green and veined."""

    kinds: tuple[str, ...]
    hue: float
    """Turns of the colour wheel; drawn hues scatter around it by HUE_SCATTER."""


def draw_palette(
    rng: Rng, contrast_range: tuple[float, float], shared: NDArray[np.float32] | None = None, look: Look | None = None
) -> NDArray[np.float32]:
    """Three to five colours, further apart the higher the contrast, (K, 3) RGB.

    `shared` is a palette already in the scene: some of its colours take the place of drawn ones.
    """
    hue, saturation, value = rng.uniform(0, 1), rng.beta(1.2, 1.5), rng.uniform(0.1, 0.95)
    if look is not None:
        hue, saturation = look.hue + rng.normal(0, HUE_SCATTER), rng.uniform(0.45, 0.95)
    contrast = rng.uniform(*contrast_range)
    colours = []
    for _ in range(int(rng.integers(3, 6))):
        colours.append(colorsys.hsv_to_rgb(hue % 1.0, float(np.clip(saturation, 0, 1)), float(value)))
        hue += rng.normal(0, HUE_SPREAD * contrast if look is None else HUE_SCATTER / 2)
        saturation = np.clip(saturation + rng.normal(0, 0.6 * contrast), 0 if look is None else 0.3, 1)
        value = (value + rng.choice([-1, 1]) * contrast * rng.uniform(0.4, 0.8)) % 1.7
        value = float(np.clip(value if value <= 1 else 1.7 - value, 0.06, 1))
    palette = np.asarray(colours, np.float32) * 255
    if shared is not None:
        count = int(rng.integers(1, len(palette)))
        palette[rng.choice(len(palette), count, replace=False)] = shared[rng.integers(0, len(shared), count)]
    return palette


def draw_material(
    rng: Rng,
    family: str,
    extent: float,
    shared: NDArray[np.float32] | None = None,
    look: Look | None = None,
    contrast: tuple[float, float] | None = None,
) -> Material:
    """A random material of a family, or of a class's look, for something `extent` pixels across.

    `contrast` is the range to draw from; the family's where not given.
    """
    kind = str(rng.choice(look.kinds if look is not None else FAMILY_TEXTURES[family]))
    finest, coarsest = max(4.0, extent / 12), max(extent / 3, 5.0)
    wavelength = float(np.exp(rng.uniform(np.log(finest), np.log(coarsest))))
    palette = draw_palette(rng, contrast or CONTRAST[family], shared, look)
    return Material(kind, palette, wavelength)


def paint(material: Material, height: int, width: int, rng: Rng) -> NDArray[np.float32]:
    """A (height, width, 3) patch of the material."""
    return look_up(material, colour_table(material), height, width, rng)


def colour_table(material: Material) -> NDArray[np.float32]:
    """Return the (256, 3) sRGB colours in [0, 255] of the material's texture, from field 0 to field 1."""
    stops = np.linspace(0, 1, len(material.palette))
    steps = np.linspace(0, 1, 256)
    table = np.stack([np.interp(steps, stops, material.palette[:, channel]) for channel in range(3)], axis=1)
    return table.astype(np.float32)


def look_up(material: Material, table: NDArray[np.float32], height: int, width: int, rng: Rng) -> NDArray[np.float32]:
    """Return a (height, width, 3) patch of the material's texture with colours from a (256, 3) table."""
    return table[draw_field(material, height, width, rng)]


def draw_field(material: Material, height: int, width: int, rng: Rng) -> NDArray[np.uint8]:
    """Return a (height, width) patch of the material's texture, 0 to 255."""
    return (FIELDS[material.kind](height, width, rng, material.wavelength) * 255).astype(np.uint8)
