"""CutMix between the images of a group: one rectangle of the partner's view, in image, labels and all other maps alike.

Yun et al. 2019 (arXiv 1905.04899) as UniMatch uses it (docs/methods/unimatch.md#cutmix). Partners are drawn within
groups of consecutive images, so that they do not depend on the number of workers. Works on the maps' device. Knows no
teacher.
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from segray import keyed_random
from segray.methods.unimatch.config import CutMix

Box = tuple[slice, slice]
"""Rows and columns of a canvas."""


def partners(keys: Sequence[int], group: int) -> list[int]:
    """Whose content each image may get: the next one in the group's drawn order, so never its own.

    Only a rest of one image is its own partner.
    """
    found = [0] * len(keys)
    for start in range(0, len(keys), group):
        order = start + keyed_random.rng(keys[start], "cutmix partners").permutation(min(group, len(keys) - start))
        for image, partner in zip(order, np.roll(order, -1), strict=True):
            found[int(image)] = int(partner)
    return found


def boxes(canvas_hw: tuple[int, int], settings: CutMix, keys: Sequence[int]) -> list[Box | None]:
    """The rectangle that each image gets, by its key; None for those that stay whole."""
    return [_box(canvas_hw, settings, key) for key in keys]


def paste(maps: Tensor, partner: Sequence[int], where: Sequence[Box | None]) -> Tensor:
    """Maps (B, ..., H, W) with each one's rectangle taken from its partner as it was; new memory."""
    mixed = maps.clone()
    for image, (other, box) in enumerate(zip(partner, where, strict=True)):
        if box is not None:
            mixed[image][..., *box] = maps[other][..., *box]
    return mixed


def _box(canvas_hw: tuple[int, int], settings: CutMix, key: int) -> Box | None:
    rng = keyed_random.rng(key, "cutmix")
    if rng.random() >= settings.share:
        return None
    area = rng.uniform(settings.min_area, settings.max_area)
    # Drawn again until it fits, as published: a large rectangle cannot have every shape and place.
    while True:
        aspect = rng.uniform(settings.min_aspect, 1 / settings.min_aspect)
        shares = (area * aspect) ** 0.5, (area / aspect) ** 0.5
        sides = [max(1, round(share * length)) for share, length in zip(shares, canvas_hw, strict=True)]
        starts = [int(rng.integers(length)) for length in canvas_hw]
        if all(start + side <= length for start, side, length in zip(starts, sides, canvas_hw, strict=True)):
            rows, columns = (slice(start, start + side) for start, side in zip(starts, sides, strict=True))
            return rows, columns
