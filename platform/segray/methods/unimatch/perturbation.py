"""Feature perturbation: channels that are dropped between encoder and decoder, drawn per image by its key.

Knows feature maps only, so it works on any student (`Student.forward(images, perturb)`). Whole channels go, on all
pixels or tokens of an image.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from segray import keyed_random

Factors = Callable[[int, int], np.ndarray[tuple[int], np.dtype[np.float32]]]
"""What one image's channels are multiplied by, (C,), of the map's number and its number of channels C."""


class ChannelScaling:
    """A `Perturb` over the images of a batch, each by its own factors; None leaves an image as it is."""

    def __init__(self, images: Sequence[Factors | None]) -> None:
        self.images = tuple(images)

    def __call__(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The scaled maps, in new memory."""
        if all(one is None for one in self.images):
            return features
        return tuple(one * self._factors(level, one) for level, one in enumerate(features))

    def _factors(self, level: int, features: Tensor) -> Tensor:
        width = features.shape[1]
        rows = [np.ones(width, np.float32) if one is None else one(level, width) for one in self.images]
        return torch.from_numpy(np.stack(rows)).to(features.device, features.dtype)[:, :, None, None]


def channel_dropout(key: int, rate: float) -> Factors:
    """Draw V1's channel dropout (docs/methods/unimatch.md#channel-dropout): every map loses its own channels."""

    def factors(level: int, width: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        kept = keyed_random.rng(key, "channel dropout", level).random(width) >= rate
        return (kept / (1 - rate)).astype(np.float32)

    return factors


def complementary_dropout(key: int, *, second: bool) -> Factors:
    """Draw one half of V2's pair: what one view loses, the other keeps, and the factors add up to 2.

    Maps of one width lose the same channels, as all of DINOv2's do (docs/methods/unimatch.md#complementary-dropout).
    """

    def factors(_: int, width: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        kept = keyed_random.rng(key, "complementary dropout", width).random(width) < 0.5
        return np.where(kept != second, 2.0, 0.0).astype(np.float32)

    return factors


def unperturbed(keys: Sequence[int], group: int) -> list[bool]:
    """Which images keep all channels in both views: half of each group of consecutive ones, by its first one's key."""
    found = [False] * len(keys)
    for start in range(0, len(keys), group):
        number = min(group, len(keys) - start)
        for index in keyed_random.rng(keys[start], "unperturbed").permutation(number)[: number // 2]:
            found[start + int(index)] = True
    return found
