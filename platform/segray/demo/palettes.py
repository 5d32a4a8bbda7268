"""Natural colours and the materials made of them: the photo look's counterpart of `textures.draw_palette`.

Knows colours by what they are the colours of. Does not know shapes nor light.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from segray.demo.textures import Material, Rng

Colours = NDArray[np.float32]
"""(K, 3) sRGB colours in [0, 255]."""

GROUND_COLOURS: Final = {
    "wood": ("#8a6642", "#a98458", "#c9a679", "#5d4330", "#b5997a"),
    "stone": ("#8d8a84", "#a8a39a", "#6f6e6d", "#bdb7ac", "#59595c"),
    "sand": ("#d0b98f", "#c2a677", "#b1946b", "#dccaa6"),
    "grass": ("#6c7d43", "#55693a", "#84905a", "#8f9a6b", "#47583a"),
    "cloth": ("#d9d4cb", "#b9b2ab", "#7d8894", "#96615a", "#566377", "#9d8f6c", "#41474f"),
    "plaster": ("#e2dcd0", "#cfc4b2", "#c8cfd2", "#b7c2bb", "#d8c1ae", "#a9b4c0"),
    "sky": ("#a9c4dc", "#c4d6e4", "#8db0d0", "#d8dde0", "#b9bfc6"),
    "soil": ("#6b5140", "#84664d", "#4f3f35", "#927a62"),
}
THING_COLOURS: Final = (
    "#b5523b", "#c98a3e", "#d8b45a", "#6d8448", "#3f6b54", "#3b7a80", "#4a6f9c", "#35486f",
    "#6e5580", "#a35c76", "#d3a59a", "#e6dfd2", "#f2efe8", "#9a9a98", "#5c5f63", "#33343a",
    "#7b5638", "#a97e54", "#8c2f33", "#d9734e", "#88a8b8", "#b9b596",
)  # fmt: skip
"""Ceramics, textiles, painted wood, fruit."""
CLASS_COLOURS: Final = {
    "bottle": ("#4f7346", "#7a4a26", "#3f6a8c", "#8fb2a6"),
    "mushroom": ("#a8452f", "#b98253", "#d6c3a0", "#8a5a3c"),
    "leaf": ("#5f8a3a", "#87983c", "#c28a35", "#9c4f2e"),
    "fish": ("#8fa3ae", "#55789a", "#d0834a", "#b7b9a8"),
    "gear": ("#8c9096", "#b09355", "#8f5f43", "#5d6268"),
    "crescent": ("#dcc070", "#c99a76", "#8b78a6", "#d8d2c0"),
}  # fmt: skip
"""What things of family B's classes tend to be coloured like."""


def draw_colour(rng: Rng, choices: tuple[str, ...]) -> NDArray[np.float64]:
    """One of the colours, a little off: HSV with hue in turns, saturation and value in [0, 1]."""
    text = choices[int(rng.integers(len(choices)))]
    rgb = np.array([int(text[place : place + 2], 16) for place in (1, 3, 5)], np.float32).reshape(1, 1, 3) / 255
    hue, saturation, value = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV).ravel() / (360, 1, 1)
    drift = rng.normal(0, 1, 3) * (0.012, 0.06, 0.06)
    return np.array([hue + drift[0], saturation + drift[1], value + drift[2]])


def draw_colours(rng: Rng, choices: tuple[str, ...], contrast: float, accent: bool) -> Colours:
    """Return three to five shades of one colour, `contrast` apart in value; `accent` puts another colour among them."""
    base = draw_colour(rng, choices)
    shades = np.tile(base, (int(rng.integers(3, 6)), 1))
    shades[:, 2] += contrast * np.linspace(-0.5, 0.5, len(shades))[rng.permutation(len(shades))]
    shades[:, 1] += rng.normal(0, 0.25 * contrast, len(shades))
    shades[:, 0] += rng.normal(0, 0.05 * contrast, len(shades))
    if accent:
        shades[int(rng.integers(len(shades))) :] = draw_colour(rng, choices)
    return to_rgb(shades)


def to_rgb(hsv: NDArray[np.float64]) -> Colours:
    """HSV (K, 3), hue in turns, to sRGB in [0, 255]."""
    hsv = np.stack([360 * (hsv[:, 0] % 1), hsv[:, 1].clip(0, 0.85), hsv[:, 2].clip(0.06, 0.97)], axis=1)
    return np.asarray(cv2.cvtColor(hsv[None].astype(np.float32), cv2.COLOR_HSV2RGB)[0] * 255, np.float32)


Pattern = tuple[float, float, float]
"""How often a material is plain, mildly textured, or patterned in two colours."""
PLAIN: Final[Pattern] = (1.0, 0.0, 0.0)
PATTERNS: Final[dict[str, Pattern]] = {"a": (0.35, 0.4, 0.25), "b": (0.15, 0.35, 0.5)}
GROUND_PATTERNS: Final[dict[str, Pattern]] = {"a": (0.3, 0.5, 0.2), "b": (0.3, 0.6, 0.1)}
CONTRASTS: Final = ((0.02, 0.08), (0.12, 0.35), (0.3, 0.65))


def draw_surface(
    rng: Rng,
    pattern: Pattern,
    extent: float,
    choices: tuple[str, ...],
    kinds: tuple[str, ...],
    shared: Colours | None = None,
) -> Material:
    """A material of one of the textures `kinds` in natural colours, for something `extent` pixels across.

    `shared` are colours of the scene that it takes some of its own from.
    """
    boldness = int(rng.choice(3, p=pattern))
    colours = draw_colours(rng, choices, float(rng.uniform(*CONTRASTS[boldness])), accent=boldness == 2)
    if shared is not None:
        count = int(rng.integers(1, len(colours)))
        colours[rng.choice(len(colours), count, replace=False)] = shared[rng.integers(0, len(shared), count)]
    wavelength = float(np.exp(rng.uniform(np.log(max(4.0, extent / 12)), np.log(max(extent / 3, 5.0)))))
    return Material(str(rng.choice(kinds)), colours, wavelength)
