"""Points on masks: drawing them per image, and reading there what a mask says. Knows no loss.

Coordinates are (x, y) in [0, 1] over the canvas, so that maps of any resolution are asked at the same places; pixel
centres lie at (i + 0.5) / size, and outside a map everything is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F


def random_points(keys: Sequence[int], numbers: Sequence[int], num_points: int, device: torch.device) -> Tensor:
    """Uniform points: `numbers[b]` sets of `num_points` for image b, of its key; (sum of numbers, num_points, 2)."""
    sets = [
        torch.rand(number, num_points, 2, device=device, generator=torch.Generator(device).manual_seed(key))
        for key, number in zip(keys, numbers, strict=True)
    ]
    return torch.cat(sets)


def values_at(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear values (R, C, P) of maps (R, C, h, w) at points (R, P, 2)."""
    values = F.grid_sample(maps, 2 * points[:, None] - 1, mode="bilinear", padding_mode="zeros", align_corners=False)
    return values[:, :, 0]


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskStack:
    """M binary masks of any sizes, one after the other in one row of pixels."""

    pixels: Tensor
    """(sum of h * w,) bool."""
    starts: Tensor
    """(M,) int64, where each mask begins."""
    sizes_hw: Tensor
    """(M, 2) int64."""

    @classmethod
    def of(cls, masks: Sequence[Tensor]) -> Self:
        """Of several images' masks (N, h, w), in order."""
        device = masks[0].device
        sizes = torch.tensor([one.shape[1:] for one in masks for _ in one], dtype=torch.int64).view(-1, 2)
        areas = sizes.prod(dim=1)
        return cls(
            pixels=torch.cat([one.flatten() for one in masks]),
            starts=(areas.cumsum(0) - areas).to(device),
            sizes_hw=sizes.to(device),
        )

    def values_at(self, rows: Tensor, points: Tensor) -> Tensor:
        """Bilinear values (R, P) float32 of the masks `rows` (R,), each at its own points (R, P, 2)."""
        height, width = (side[:, None] for side in self.sizes_hw[rows].unbind(1))
        x, y = points[..., 0] * width - 0.5, points[..., 1] * height - 0.5
        left, top = x.floor().long(), y.floor().long()
        total = torch.zeros_like(x)
        for column, row in ((left, top), (left + 1, top), (left, top + 1), (left + 1, top + 1)):
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            place = self.starts[rows, None] + torch.where(inside, row * width + column, 0)
            share = (1 - (x - column).abs()) * (1 - (y - row).abs())
            total += share * (self.pixels[place] & inside)
        return total


@torch.no_grad()
def most_uncertain(maps: Tensor, points: Tensor, number: int) -> Tensor:
    """The `number` of points (R, P, 2) at which logits (R, 1, h, w) are nearest to 0 (PointRend), (R, number, 2)."""
    nearest = values_at(maps, points)[:, 0].abs().topk(number, dim=1, largest=False).indices
    return points.gather(1, nearest[..., None].expand(-1, -1, 2))
