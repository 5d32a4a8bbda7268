"""ARP, augmentation with refined pseudo-labels: instances pasted between pairs of images (docs/methods/s4m.md#arp).

Pixels come from and go into views without colour augmentation. Every pixel of a mixed image belongs to one mask at
most: the one pasted or listed last. Works on the images' device. Knows no teacher, no SAM.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import interpolate

from segray import keyed_random
from segray.losses.criterion import Targets
from segray.methods.s4m.config import Arp

_FEWEST = 3
"""Images among which there is a pair to mix and one to leave alone."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Cutting:
    """Instances on their way into another image, where they will be."""

    image: torch.Tensor
    """(3, H, W) uint8; counts where a mask is, the latest instance on top."""
    masks: torch.Tensor
    """(N, H, W) bool."""
    classes: torch.Tensor
    """(N,)."""


def paste_instances(
    images: torch.Tensor, targets: Sequence[Targets], settings: Arp, keys: Sequence[int]
) -> tuple[torch.Tensor, list[Targets], list[int]]:
    """Paste instances between drawn pairs of each group of consecutive images.

    Args:
        images: (B, 3, H, W) uint8, left as they are.
        targets: masks at the images' resolution.
        settings: group size, mode, areas, scales.
        keys: one per image; a group's pairs follow from its first image's, what is cut out of an image from its own.

    Returns:
        New images, new targets, and how many instances each image got. Images that got none come back unchanged, as do
        those of a rest of fewer than three.
    """
    mixed, labels, pasted = images.clone(), list(targets), [0] * len(images)
    for first, second in _pairs(keys, settings.group):
        # Both are cut before either is edited.
        cuttings = {
            host: _cut(images[source], targets[source], settings, keys[source])
            for host, source in ((first, second), (second, first))
        }
        for host, cutting in cuttings.items():
            if len(cutting.classes):
                mixed[host], labels[host], pasted[host] = _pasted(images[host], targets[host], cutting)
    return mixed, labels, pasted


def _pairs(keys: Sequence[int], group: int) -> Iterator[tuple[int, int]]:
    """max(1, a quarter) disjoint pairs of each group, as indices of images."""
    for start in range(0, len(keys), group):
        number = min(group, len(keys) - start)
        if number >= _FEWEST:
            order = start + keyed_random.rng(keys[start], "arp pairs").permutation(number)
            for pair in range(max(1, number // 4)):
                yield int(order[2 * pair]), int(order[2 * pair + 1])


def _cut(image: torch.Tensor, targets: Targets, settings: Arp, key: int) -> _Cutting:
    """All of an image's instances that are large enough, where they will lie in the other one."""
    large = targets.masks.flatten(1).sum(1) >= max(1.0, settings.min_area * image[0].numel())
    masks, classes = targets.masks[large], targets.classes[large]
    if settings.mode == "static":
        return _Cutting(image=image, masks=masks, classes=classes)
    rng = keyed_random.rng(key, "arp placing")
    canvas, placed = torch.zeros_like(image), torch.zeros_like(masks)
    for mask, onto in zip(masks, placed, strict=True):
        there, pixels, inside = _placed(image, mask, settings, rng)
        onto[*there] = inside
        canvas[:, *there] = torch.where(inside, pixels, canvas[:, *there])
    return _Cutting(image=canvas, masks=placed, classes=classes)


def _placed(
    image: torch.Tensor, mask: torch.Tensor, settings: Arp, rng: np.random.Generator
) -> tuple[list[slice], torch.Tensor, torch.Tensor]:
    """Where one instance goes, anywhere on the canvas, and its box there, resized: pixels and mask.

    A window of it where it is larger than the canvas.
    """
    rows, columns = (torch.nonzero(mask.any(dim)).flatten() for dim in (1, 0))
    box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    scale = rng.uniform(settings.min_scale, settings.max_scale)
    size = [max(1, round((one.stop - one.start) * scale)) for one in box]
    pixels = interpolate(image[:, *box][None].float(), size, mode="bilinear", antialias=True)[0]
    inside = interpolate(mask[box][None, None].float(), size, mode="nearest-exact")[0, 0] > 0
    sides = list(zip(size, mask.shape, strict=True))
    starts = [_start(whole - own, rng) for own, whole in sides]
    there = [slice(max(0, at), min(whole, at + own)) for at, (own, whole) in zip(starts, sides, strict=True)]
    here = [slice(one.start - at, one.stop - at) for one, at in zip(there, starts, strict=True)]
    return there, pixels[:, *here].round().to(torch.uint8), inside[*here]


def _start(free: int, rng: np.random.Generator) -> int:
    """Where something begins that leaves `free` pixels of a side; less than 0 of them: how far it begins before it."""
    return int(rng.integers(min(0, free), max(0, free) + 1))


def _pasted(image: torch.Tensor, host: Targets, cutting: _Cutting) -> tuple[torch.Tensor, Targets, int]:
    """The cutting over an image. Every mask loses what later ones cover; those that lose all are dropped."""
    masks = torch.cat([host.masks, cutting.masks])
    classes = torch.cat([host.classes, cutting.classes])
    owner = torch.full(masks.shape[1:], -1, dtype=torch.int32, device=masks.device)
    for index, mask in enumerate(masks):
        owner.masked_fill_(mask, index)
    masks = owner == torch.arange(len(masks), dtype=torch.int32, device=masks.device)[:, None, None]
    kept = masks.flatten(1).any(1)
    targets = Targets(classes=classes[kept], masks=masks[kept])
    return torch.where(owner >= len(host), cutting.image, image), targets, int(kept[len(host) :].sum())
