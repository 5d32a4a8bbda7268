"""Stand-ins for tests and benchmarks, here and in projects that build on segray: a device that sleeps, tiny images.

A stand-in takes the place of what is costly (a model on a device) and leaves the rest real.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from segray.labels.labeler import Labeler
from segray.masks.instances import Instances


@dataclass(frozen=True)
class SleepingGenerator:
    """A device-bound model: takes its time, computes little. One mask per image, of its brighter pixels."""

    seconds: float
    """Per image."""

    def generate(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[Instances]:
        """Masks that depend on nothing but the pixels."""
        time.sleep(self.seconds * len(images))
        grey = [image.mean(2) for image in images]
        return [Instances.from_masks((g > g.mean())[None], provenance="sam:sleeping") for g in grey]


@dataclass(frozen=True, kw_only=True)
class SleepingStage:
    """A stage over a `SleepingGenerator` (see `labels.stage.Stage`)."""

    seconds: float
    images_per_batch: int = 1
    name: str = "masks"

    @property
    def content(self) -> Mapping[str, Any]:
        """The time it takes decides nothing."""
        return {"generator": "sleeping"}

    def build(self) -> Labeler:
        """Threads, no model."""
        return Labeler(
            SleepingGenerator(self.seconds),
            max_pixels=100_000_000,
            images_per_batch=self.images_per_batch,
            decode_threads=1,
        )


def write_images(folder: Path, number: int, *, side: int = 64, seed: int = 0, first: int = 0) -> list[Path]:
    """PNG images of smooth noise, each another one: `folder/00007.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index:05d}.png" for index in range(first, first + number)]
    for index, path in enumerate(paths, first):
        coarse = np.random.default_rng([seed, index]).integers(0, 255, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(path)
    return paths
