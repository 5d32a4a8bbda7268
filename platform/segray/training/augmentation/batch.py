"""`Batch`: some images of one step on one canvas size, with what is known to be in them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from segray.losses.criterion import Targets
from segray.masks.view import View


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """B images of a step. Geometry is done; colour is not, unless `images` say so."""

    image_ids: tuple[str, ...]
    """Which images; an id may appear twice."""
    keys: tuple[int, ...]
    """One per image, of (seed, step, stream, slot in the global batch): what every draw for it starts from."""
    images: torch.Tensor
    """(B, 3, H, W) uint8 RGB."""
    views: tuple[View, ...]
    """Where each canvas came from in its image, and how much of it (from the upper left) holds image."""
    targets: tuple[Targets, ...]
    """Empty ones for unlabeled images."""

    def __len__(self) -> int:
        return len(self.keys)

    def to(self, device: torch.device | str) -> "Batch":
        """On another device."""
        targets = tuple(one.to(device) for one in self.targets)
        return replace(self, images=self.images.to(device, non_blocking=True), targets=targets)


def collate(samples: Sequence[Batch]) -> Batch:
    """One batch of several, in order."""
    return Batch(
        image_ids=tuple(item for one in samples for item in one.image_ids),
        keys=tuple(item for one in samples for item in one.keys),
        images=torch.cat([one.images for one in samples]),
        views=tuple(item for one in samples for item in one.views),
        targets=tuple(item for one in samples for item in one.targets),
    )
