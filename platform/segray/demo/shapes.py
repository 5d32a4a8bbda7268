"""Outlines of the objects of the two families, in unit coordinates.

Knows geometry only. A shape is a list of parts, painted in order; a part is a list of closed contours ((N, 2) float
arrays of x, y, about [-1, 1]) filled even-odd, so that a second contour is a hole. The two families share no class and
no generator: family A is meant to be as varied as possible, family B to look like things A has not shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Family = Literal["a", "b"]
Contour = NDArray[np.float64]
Rng = np.random.Generator


@dataclass(frozen=True)
class ShapePart:
    """One separately coloured piece of an object."""

    name: str
    contours: tuple[Contour, ...]


def _polar(radius: NDArray[np.float64], angle: NDArray[np.float64]) -> Contour:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _angles(count: int) -> NDArray[np.float64]:
    return np.linspace(0, 2 * np.pi, count, endpoint=False)


def _move(contour: Contour, scale: tuple[float, float], angle: float, shift: tuple[float, float]) -> Contour:
    """Scale along the axes, rotate (radians), then shift."""
    cos, sin = np.cos(angle), np.sin(angle)
    rotated: Contour = (contour * scale) @ np.array([[cos, sin], [-sin, cos]]) + shift
    return rotated


def _fourier(rng: Rng, roughness: float, harmonics: int = 7) -> Contour:
    """A star-convex curve; roughness 0 is a circle."""
    angle = _angles(72)
    radius = np.ones_like(angle)
    for k in range(2, 2 + harmonics):
        radius += roughness * rng.normal() / k * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    return _polar(np.clip(radius, 0.25, 1.8), angle)


def _ribbon(spine: Contour, half_width: NDArray[np.float64]) -> Contour:
    """The outline of a curve with a width at each of its points, with a rounded end."""
    tangent = np.gradient(spine, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1) * half_width[:, None]
    turn = np.linspace(np.pi / 2, -np.pi / 2, 9)[1:-1, None]
    caps = []
    for end, sign in ((-1, 1.0), (0, -1.0)):
        forward = tangent[end] * half_width[end] * sign
        side = np.array([-forward[1], forward[0]])
        caps.append(spine[end] + np.cos(turn) * forward + np.sin(turn) * side)
    return np.concatenate([spine + normal, caps[0], (spine - normal)[::-1], caps[1]])


def _arc(rng: Rng, bend: float) -> Contour:
    """A spine from (-1, 0) to (1, 0) that sags by `bend` and wiggles."""
    t = np.linspace(-1, 1, 24)
    wiggle = 0.3 * bend * np.sin(np.pi * t * rng.uniform(1, 2.5) + rng.uniform(0, 6.28))
    return np.stack([t, bend * (1 - t * t) + wiggle], axis=1)


def _spots(rng: Rng, body: Contour) -> list[ShapePart]:
    """Up to three small patches inside a body, so that a body has parts."""
    spots = []
    for _ in range(int(rng.integers(0, 4))):
        scale = rng.uniform(0.12, 0.4)
        shift = rng.uniform(-0.4, 0.4, 2)
        spots.append(ShapePart("spot", (_move(_fourier(rng, 0.4), (scale, scale), 0.0, (shift[0], shift[1])),)))
    return [ShapePart("body", (body,)), *spots]


def blob(rng: Rng) -> list[ShapePart]:
    """A closed curve from nearly round to ragged."""
    return _spots(rng, _fourier(rng, float(rng.uniform(0.0, 1.1))))


def shard(rng: Rng) -> list[ShapePart]:
    """A polygon of 3 to 9 corners, regular or not, sometimes cut in two along a diagonal."""
    count = int(rng.integers(3, 10))
    irregular = rng.uniform(0, 0.8)
    angle = _angles(count) + irregular * rng.uniform(-0.5, 0.5, count) * 2 * np.pi / count
    corners = _polar(1 - 0.7 * irregular * rng.random(count), angle)
    if count >= 4 and rng.random() < 0.4:
        cut = int(rng.integers(2, count - 1))
        return [ShapePart("body", (corners,)), ShapePart("half", (corners[: cut + 1],))]
    return _spots(rng, corners) if rng.random() < 0.5 else [ShapePart("body", (corners,))]


def star(rng: Rng) -> list[ShapePart]:
    """Pointed or petalled, with or without a core."""
    spikes, inner = int(rng.integers(3, 10)), rng.uniform(0.35, 0.8)
    if rng.random() < 0.5:
        body = _polar(np.where(np.arange(2 * spikes) % 2 == 0, 1.0, inner), _angles(2 * spikes))
    else:
        angle = _angles(120)
        body = _polar(inner + (1 - inner) * np.abs(np.cos(spikes * angle / 2)) ** rng.uniform(0.4, 2), angle)
    core = ShapePart("core", (_polar(np.full(32, inner * rng.uniform(0.3, 0.9)), _angles(32)),))
    return [ShapePart("body", (body,)), core] if rng.random() < 0.5 else [ShapePart("body", (body,))]


def rod(rng: Rng) -> list[ShapePart]:
    """A straight or bent bar with rounded ends, tapered or swollen, sometimes with a band or a cap."""
    spine = _arc(rng, float(rng.choice([0.0, 0.0, rng.uniform(0, 0.9)])))
    t = np.linspace(0, 1, len(spine))
    width = rng.uniform(0.07, 0.4) * (1 + rng.uniform(-0.7, 1.0) * t + rng.uniform(-0.3, 0.6) * np.sin(np.pi * t))
    width = np.clip(width, 0.05, 0.6)
    parts = [ShapePart("body", (_ribbon(spine, width),))]
    if rng.random() < 0.5:
        start = int(rng.integers(0, 16))
        stop = start + int(rng.integers(4, 8))
        parts.append(ShapePart("band", (_ribbon(spine[start:stop], width[start:stop]),)))
    return parts


def ring(rng: Rng) -> list[ShapePart]:
    """A closed frame with a hole, round or cornered, or an open one."""
    kind = rng.random()
    if kind < 0.3:
        angle = np.linspace(0, rng.uniform(3.5, 5.8), 48)
        return [ShapePart("body", (_ribbon(_polar(np.full(48, 0.8), angle), np.full(48, rng.uniform(0.1, 0.28))),))]
    outer = _fourier(rng, float(rng.uniform(0, 0.6)))
    if kind > 0.65:
        count = int(rng.integers(3, 7))
        outer = _polar(np.ones(count), _angles(count))
    inner = rng.uniform(0.35, 0.75)
    return [ShapePart("body", (outer, outer * inner))]


def creature(rng: Rng) -> list[ShapePart]:
    """A body with limbs and a head: an object of several parts that stick out."""
    parts = []
    for _ in range(int(rng.integers(1, 6))):
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 0.6)
        centre = (float(0.65 * np.cos(angle)), float(0.65 * np.sin(angle)))
        spine = _arc(rng, float(rng.uniform(0, 0.5)))
        limb = _ribbon(spine, np.linspace(rng.uniform(0.15, 0.4), rng.uniform(0.1, 0.3), len(spine)))
        parts.append(ShapePart("limb", (_move(limb, (length, length), angle, centre),)))
    body = _move(
        _fourier(rng, 0.5), (rng.uniform(0.5, 0.8), rng.uniform(0.35, 0.65)), rng.uniform(0, np.pi), (0.0, 0.0)
    )
    parts.append(ShapePart("body", (body,)))
    if rng.random() < 0.7:
        angle, size = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.4)
        head = _move(_fourier(rng, 0.4), (size, size), 0.0, (float(0.6 * np.cos(angle)), float(0.6 * np.sin(angle))))
        parts.append(ShapePart("head", (head,)))
    return parts


def crate(rng: Rng) -> list[ShapePart]:
    """A box seen from a corner: three faces."""
    width, height, depth = rng.uniform(0.4, 0.9, 3)
    skew = np.array([depth * rng.uniform(0.3, 0.8), -depth * rng.uniform(0.3, 0.8)])
    front = np.array([[-width, height], [width, height], [width, -height], [-width, -height]]) * 0.7
    top = np.array([front[3], front[2], front[2] + skew, front[3] + skew])
    side = np.array([front[2], front[1], front[1] + skew, front[2] + skew])
    return [ShapePart("front", (front,)), ShapePart("top", (top,)), ShapePart("side", (side,))]


def leaf(rng: Rng) -> list[ShapePart]:
    """A pointed blade, sometimes lobed, on a stalk."""
    t = np.linspace(0, 1, 40)
    lobes = 1 + rng.choice([0.0, 0.25]) * np.cos(2 * np.pi * rng.integers(3, 6) * t)
    width = rng.uniform(0.35, 0.75) * np.sin(np.pi * t ** rng.uniform(0.6, 1.2)) * lobes
    curve = rng.uniform(-0.3, 0.3) * np.sin(np.pi * t)
    blade = np.concatenate([np.stack([2 * t - 1, curve + width], 1), np.stack([2 * t - 1, curve - width], 1)[::-1]])
    stalk = np.array([[-1.3, -0.05], [-0.8, -0.07], [-0.8, 0.07], [-1.3, 0.05]])
    return [ShapePart("stalk", (stalk,)), ShapePart("blade", (blade,))]


def crescent(rng: Rng) -> list[ShapePart]:
    """A moon: one disc less another."""
    depth = rng.uniform(0.1, 0.6)
    angle = np.linspace(0.35, 2 * np.pi - 0.35, 48)
    outer = _polar(np.ones(48), angle)
    tip_x, tip_y = outer[0]
    t = np.linspace(1, -1, 32)[1:-1]
    inner = np.stack([tip_x - (tip_x + depth) * (1 - t * t) ** 0.6, -tip_y * t], axis=1)
    return [ShapePart("body", (np.concatenate([outer, inner]),))]


def gear(rng: Rng) -> list[ShapePart]:
    """A wheel with square teeth and a hub, sometimes bored through."""
    teeth, depth = int(rng.integers(6, 13)), rng.uniform(0.12, 0.28)
    angle = _angles(teeth * 8)
    outline = _polar(np.where(np.arange(teeth * 8) % 8 < 4, 1.0, 1.0 - depth), angle)
    hub = _polar(np.full(32, rng.uniform(0.25, 0.45)), _angles(32))
    if rng.random() < 0.4:
        return [ShapePart("wheel", (outline, hub))]
    return [ShapePart("wheel", (outline,)), ShapePart("hub", (hub,))]


def bottle(rng: Rng) -> list[ShapePart]:
    """A turned body with shoulder and neck, a cap and sometimes a label."""
    half, neck = rng.uniform(0.3, 0.5), rng.uniform(0.1, 0.2)
    y = np.linspace(1, -0.75, 30)
    shoulder = rng.uniform(-0.35, 0.1)
    width = neck + (half - neck) / (1 + np.exp(-(y - shoulder) * rng.uniform(8, 20)))
    body = np.concatenate([np.stack([width, y], 1), np.stack([-width, y], 1)[::-1]])
    cap_width = neck * rng.uniform(1.0, 1.5)
    cap = np.array([[-cap_width, -0.7], [cap_width, -0.7], [cap_width, -1.0], [-cap_width, -1.0]])
    label = np.array([[-half, 0.75], [half, 0.75], [half, 0.3], [-half, 0.3]]) * (0.96, 1)
    parts = [ShapePart("body", (body,)), ShapePart("cap", (cap,))]
    return [*parts, ShapePart("label", (label,))] if rng.random() < 0.5 else parts


def mushroom(rng: Rng) -> list[ShapePart]:
    """A domed cap on a stem."""
    t = np.linspace(np.pi, 2 * np.pi, 32)
    height, brim = rng.uniform(0.6, 1.0), rng.uniform(0, 0.2)
    cap = np.stack([np.cos(t), height * np.sin(t)], 1)
    rim = np.stack([np.linspace(1, -1, 16)[1:-1], brim * (1 - np.linspace(1, -1, 16)[1:-1] ** 2)], axis=1)
    top, foot = rng.uniform(0.15, 0.3), rng.uniform(0.2, 0.45)
    stem = np.array([[-top, -0.1], [top, -0.1], [foot, 1.0], [-foot, 1.0]])
    return [ShapePart("stem", (stem,)), ShapePart("cap", (np.concatenate([cap, rim]),))]


def fish(rng: Rng) -> list[ShapePart]:
    """A lens with a forked tail and a fin."""
    t = np.linspace(0, 1, 32)
    half = rng.uniform(0.3, 0.55) * np.sin(np.pi * t) ** 0.8
    body = np.concatenate([np.stack([1.5 * t - 0.5, half], 1), np.stack([1.5 * t - 0.5, -half], 1)[::-1]])
    spread, fork = rng.uniform(0.25, 0.55), rng.uniform(0.6, 0.9)
    tail = np.array([[-0.4, 0.07], [-1.0, spread], [-fork, 0.0], [-1.0, -spread], [-0.4, -0.07]])
    fin = np.array([[0.0, -0.25], [0.5, -0.25], [rng.uniform(-0.1, 0.1), -rng.uniform(0.55, 0.8)]])
    return [ShapePart("tail", (tail,)), ShapePart("fin", (fin,)), ShapePart("body", (body,))]


FAMILY_SHAPES: Final[dict[str, dict[str, Callable[[Rng], list[ShapePart]]]]] = {
    "a": {"blob": blob, "shard": shard, "star": star, "rod": rod, "ring": ring, "creature": creature, "crate": crate},
    "b": {"leaf": leaf, "crescent": crescent, "gear": gear, "bottle": bottle, "mushroom": mushroom, "fish": fish},
}


def place(
    parts: list[ShapePart], rng: Rng, centre: tuple[float, float], diameter: float, angle: float | None = None
) -> list[ShapePart]:
    """Return the parts turned by `angle`, stretched a little, and put at `centre` (x, y).

    The bounding box's longer side before turning fits `diameter`; all in pixels, `angle` in radians, random where None.
    """
    turn, stretch = rng.uniform(0, 2 * np.pi), rng.uniform(0.7, 1.4)
    angle = turn if angle is None else angle
    points = np.concatenate([contour for part in parts for contour in part.contours])
    middle, span = (points.max(0) + points.min(0)) / 2, float(np.max(np.ptp(points, axis=0)))
    scale = diameter / span
    scales = (scale * stretch**0.5, scale / stretch**0.5)
    return [
        ShapePart(part.name, tuple(_move(contour - middle, scales, angle, centre) for contour in part.contours))
        for part in parts
    ]
