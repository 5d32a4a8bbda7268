"""Training batches for sam-nano: a memory-mapped cache of family-A scenes, augmented and turned into prompts' targets.

Knows scenes and arrays; knows nothing of the model. Every batch is a function of (cache, seed, step), so a resumed
training sees exactly what an uninterrupted one would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from segray.demo.world import WorldLook, scene

NUM_LEVELS: Final = 3
"""Objects, parts of objects, zones of the background."""
LEVEL_WEIGHTS: Final = (0.72, 0.18, 0.10)
"""How often a prompt asks for each level, where the image has it."""
PADDING: Final = (124, 116, 104)
MIN_TARGET_PIXELS: Final = 48
FIELD_BYTES: Final = NUM_LEVELS + 3


@dataclass(frozen=True)
class PromptBatch:
    """B images and B x P targets in them."""

    images: NDArray[np.uint8]
    """(B, S, S, 3) RGB."""
    masks: NDArray[np.bool_]
    """(B * P, S, S), the targets of one image after another."""
    groups: NDArray[np.uint8]
    """(B, S, S) what each pixel belongs to: an object, or else a zone of the background."""


def build_cache(path: Path, num_scenes: int, size: int, workers: int, look: WorldLook) -> None:
    """Write `num_scenes` family-A scenes to `path` unless it is there: npy of (N, S, S, 6) uint8, RGB then ids."""
    if path.exists():
        return
    partial = path.with_suffix(".partial")
    cache = np.lib.format.open_memmap(partial, "w+", np.uint8, (num_scenes, size, size, FIELD_BYTES))
    chunks = [range(start, min(start + 64, num_scenes)) for start in range(0, num_scenes, 64)]
    # Spawned, not forked: a fork of a process whose torch or OpenCV has threads can hang.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for chunk, fields in zip(chunks, pool.map(_render, chunks, repeat(size), repeat(look)), strict=True):
            cache[chunk.start : chunk.stop] = fields
    cache.flush()
    partial.replace(path)


def _render(seeds: range, size: int, look: WorldLook) -> NDArray[np.uint8]:
    cv2.setNumThreads(1)
    fields = np.zeros((len(seeds), size, size, FIELD_BYTES), np.uint8)
    for field, seed in zip(fields, seeds, strict=True):
        found = scene("a", seed, size, look)
        field[..., :3] = found.image
        levels = (
            [item.mask for item in found.objects],
            [part for item in found.objects for part in item.parts],
            found.zones,
        )
        for level, masks in enumerate(levels):
            for number, mask in enumerate(masks, start=1):
                field[..., 3 + level][mask] = number
    return fields


def draw_batch(cache: NDArray[np.uint8], key: Sequence[int], num_images: int, prompts_per_image: int) -> PromptBatch:
    """The batch of a key (seed, step, shard): different images each, moved and recoloured."""
    rng = np.random.default_rng(key)
    images, masks, groups = [], [], []
    for index in rng.choice(len(cache), num_images, replace=False):
        image, ids = _move(cache[index], rng)
        images.append(_recolour(image, rng))
        masks.extend(_draw_targets(ids, prompts_per_image, rng))
        groups.append(np.where(ids[..., 0] > 0, ids[..., 0], ids[..., 2] + np.uint8(128)))
    return PromptBatch(np.stack(images), np.stack(masks), np.stack(groups))


def _move(field: NDArray[np.uint8], rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Flip, turn, zoom and shift; outside the scene is the grey that Sam pads with."""
    size = len(field)
    quarter = rng.integers(0, 4) * np.pi / 2
    angle = quarter + (rng.uniform(-0.4, 0.4) if rng.random() < 0.3 else 0.0)
    zoom = float(np.exp(rng.uniform(np.log(0.8), np.log(1.6))))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * zoom
    turn[:, 0] *= rng.choice([-1, 1])
    middle = (size - 1) / 2
    shift = middle - turn @ (middle, middle) + rng.uniform(-0.15, 0.15, 2) * size
    matrix = np.concatenate([turn, shift[:, None]], axis=1)
    pixels, levels = np.ascontiguousarray(field[..., :3]), np.ascontiguousarray(field[..., 3:])
    image = cv2.warpAffine(pixels, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=PADDING)
    ids = cv2.warpAffine(levels, matrix, (size, size), flags=cv2.INTER_NEAREST)
    return np.asarray(image, np.uint8), np.asarray(ids, np.uint8)


def _recolour(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Channel order, per-channel gain and offset, gamma, at times grey; one table look-up per channel."""
    if rng.random() < 0.1:
        image = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    image = image[..., rng.permutation(3)]
    levels = np.arange(256) / 255
    gain, offset = rng.uniform(0.75, 1.3, 3), rng.uniform(-0.12, 0.12, 3)
    tone = levels[:, None] ** rng.uniform(0.7, 1.4)
    table = np.clip((tone * gain + offset) * 255, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(np.ascontiguousarray(image), table[None]), np.uint8)


def _draw_targets(ids: NDArray[np.uint8], count: int, rng: np.random.Generator) -> list[NDArray[np.bool_]]:
    """`count` masks (S, S), different ones while there are enough."""
    areas = [np.bincount(ids[..., level].ravel(), minlength=2) for level in range(NUM_LEVELS)]
    found = [
        (level, int(n))
        for level in range(NUM_LEVELS)
        for n in np.flatnonzero(areas[level][1:] >= MIN_TARGET_PIXELS) + 1
    ]
    if not found:
        return [np.ones(ids.shape[:2], np.bool_)] * count
    per_level = np.bincount([level for level, _ in found], minlength=NUM_LEVELS)
    weights = np.array([LEVEL_WEIGHTS[level] / per_level[level] for level, _ in found])
    chosen = rng.choice(len(found), count, replace=len(found) < count, p=weights / weights.sum())
    return [ids[..., found[k][0]] == found[k][1] for k in chosen]
