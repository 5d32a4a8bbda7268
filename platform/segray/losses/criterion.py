"""What a student's loss is to the loop: counted first over the whole global batch, then computed piece by piece.

A loss that divides by how much there is to learn from (masks, labeled pixels) gives the same value on any number of
workers and micro-batches only when it divides by the global amount. So each criterion says what it counts, the loop
sums that over all pieces of the step, and the pieces' losses add up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """What is in one image: N masks and their classes."""

    classes: torch.Tensor
    """(N,) int64."""
    masks: torch.Tensor
    """(N, h, w) bool, over the whole canvas of the batch at any resolution; padding belongs to no mask."""

    def __len__(self) -> int:
        return len(self.classes)

    def to(self, device: torch.device | str) -> "Targets":
        """On another device."""
        return Targets(classes=self.classes.to(device), masks=self.masks.to(device))


class Criterion(Protocol):
    """A loss over a batch, with every random draw keyed per image."""

    def count(self, targets: Sequence[Any]) -> torch.Tensor:
        """What the losses divide by, (M,) float32 on the targets' device, additive over images."""
        ...

    def __call__(
        self, output: Any, targets: Sequence[Any], *, keys: Sequence[int], count: torch.Tensor
    ) -> Mapping[str, torch.Tensor]:
        """Named weighted scalar losses of a student's output, whose sum is minimised.

        Args:
            output: what the student's forward gave for B images.
            targets: B of them.
            keys: B keys (`segray.keyed_random.key`), for draws of any kind.
            count: the sum of `count` over the global batch, divided by the number of workers (whose gradients DDP
                averages): the losses of all pieces of a step then sum to the loss of the whole.
        """
        ...
