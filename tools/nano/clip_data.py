"""What clip-nano learns from: scenes of both families, and captions that say what is in them, not where.

A caption is a list of phrases, one for each object: its size, colour, texture and class. Scenes that show one of the
HELD_OUT compositions are left out of training. Knows scenes and words; knows no model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from segray import keyed_random
from segray.demo.painter import COLOURS
from segray.demo.shapes import Family
from segray.demo.textures import FAMILY_TEXTURES
from segray.demo.world import FAMILY_CLASSES, Scene, scene
from segray.evidence.nano_clip import SIDE

HELD_OUT: Final = (("ringed", "fish"), ("cellular", "gear"))
"""Texture and class that training never shows together; it shows each with others."""
SIZES: Final = ("small", "medium", "large")
WORDS: Final = tuple(
    dict.fromkeys(
        [*FAMILY_CLASSES["a"], *FAMILY_CLASSES["b"], *COLOURS, *FAMILY_TEXTURES["a"], *FAMILY_TEXTURES["b"], *SIZES]
    )
)
"""All that a caption can say."""
SEED: Final = 200_000
_RENDERED: Final = 256
"""Scenes are drawn at this side, as all others are, and made smaller."""

Phrase = tuple[str, ...]
Caption = Sequence[Mapping[str, str]]


def describe(found: Scene) -> Caption:
    """Each object's words: class, colour, texture and size."""
    return [{"class": item.class_name, **item.attributes} for item in found.objects]


def composed(thing: Mapping[str, str]) -> bool:
    """Whether an object is of a held-out composition."""
    return (thing["texture"], thing["class"]) in HELD_OUT


@dataclass(frozen=True)
class Captioned:
    """Scenes and their captions."""

    images: NDArray[np.uint8]
    """(N, SIDE, SIDE, 3)."""
    captions: Sequence[Caption]


def build_cache(folder: Path, number: int, workers: int) -> Captioned:
    """The training scenes, drawn into `folder` unless they are there; B's classes in every second one."""
    images, captions = folder / f"clip-{number}.npy", folder / f"clip-{number}.json"
    if not captions.exists():
        folder.mkdir(parents=True, exist_ok=True)
        chunks = [range(start, min(start + 32, number)) for start in range(0, number, 32)]
        # Spawned, not forked: a fork of a process whose torch or OpenCV has threads can hang.
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            drawn = [one for chunk in pool.map(_draw, chunks) for one in chunk]
        np.save(images, np.stack([image for image, _ in drawn]))
        captions.write_text(json.dumps([caption for _, caption in drawn]))
    return Captioned(np.load(images, mmap_mode="r"), json.loads(captions.read_text()))


def _draw(numbers: range) -> list[tuple[NDArray[np.uint8], Caption]]:
    cv2.setNumThreads(1)
    return [_usable(number) for number in numbers]


def _usable(number: int) -> tuple[NDArray[np.uint8], Caption]:
    """The first of a row of scenes that shows something, and nothing held out."""
    family: Family = "b" if number % 2 else "a"
    for attempt in range(100):
        found = scene(family, SEED + 100 * number + attempt, _RENDERED)
        caption = describe(found)
        if caption and not any(composed(thing) for thing in caption):
            return shrunk(found.image), caption
    raise RuntimeError(f"none of 100 scenes from seed {SEED + 100 * number} is usable")


def shrunk(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """To the side that clip-nano looks at."""
    return np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


@dataclass(frozen=True)
class CaptionBatch:
    """B images, P phrases, and which are true of which."""

    images: NDArray[np.uint8]
    """(B, SIDE, SIDE, 3)."""
    phrases: Sequence[Phrase]
    truth: NDArray[np.bool_]
    """(B, P) some object of the image has all of the phrase's words."""


def draw_batch(scenes: Captioned, step: int, *, images: int, phrases: int, seed: int) -> CaptionBatch:
    """The batch of a step: scenes turned and mirrored, and phrases of which half are some image's own.

    Of few scenes there may be fewer phrases than asked for.
    """
    rng = keyed_random.rng(seed, "clip", step)
    chosen = rng.choice(len(scenes.images), min(images, len(scenes.images)), replace=False)
    captions = [scenes.captions[at] for at in chosen]
    things = [thing for caption in captions for thing in caption]
    told: dict[Phrase, None] = {}
    for _ in range(8 * phrases):
        if len(told) == phrases:
            break
        thing = dict(things[int(rng.integers(len(things)))])
        if len(told) >= phrases // 2:
            # Nearly true: one of its words is another object's.
            part = str(rng.choice(list(thing)))
            thing[part] = things[int(rng.integers(len(things)))][part]
        told[_phrase(thing, rng)] = None
    truth = [[any(_fits(phrase, thing) for thing in caption) for phrase in told] for caption in captions]
    turned = np.stack([_turned(scenes.images[at], rng) for at in chosen])
    return CaptionBatch(turned, list(told), np.array(truth))


def _phrase(thing: Mapping[str, str], rng: np.random.Generator) -> Phrase:
    """Some of an object's words; the class most of the time."""
    chances = {"class": 0.8, "texture": 0.35, "colour": 0.35, "size": 0.1}
    kept = [part for part, chance in chances.items() if rng.random() < chance]
    return tuple(thing[part] for part in kept or ["class"])


def _fits(phrase: Phrase, thing: Mapping[str, str]) -> bool:
    return set(phrase) <= set(thing.values())


def _turned(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    turned = np.rot90(image, int(rng.integers(4)))
    return np.ascontiguousarray(turned[:, ::-1] if rng.random() < 0.5 else turned)
