"""Outputs and targets of a small student."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from segray.losses.criterion import Targets
from segray.losses.set_loss import SetCriterion

CLASSES, QUERIES, POINTS = 3, 5, 40


@dataclass(frozen=True, kw_only=True)
class Output:
    class_logits: tuple[Tensor, ...]
    mask_logits: tuple[Tensor, ...]
    boxes: tuple[Tensor, ...] = ()

    def images(self, chosen: Sequence[int]) -> "Output":
        return Output(
            class_logits=tuple(one[chosen] for one in self.class_logits),
            mask_logits=tuple(one[chosen] for one in self.mask_logits),
        )

    def leaves(self) -> tuple[Tensor, ...]:
        return self.class_logits + self.mask_logits


def make_output(images: int, *, outputs: int = 3, seed: int = 0) -> Output:
    generator = torch.Generator().manual_seed(seed)

    def leaf(*shape: int) -> Tensor:
        return (3 * torch.randn(images, QUERIES, *shape, generator=generator)).requires_grad_()

    return Output(
        class_logits=tuple(leaf(CLASSES + 1) for _ in range(outputs)),
        mask_logits=tuple(leaf(6, 7) for _ in range(outputs)),
    )


def make_targets(numbers: Sequence[int], sizes: Sequence[tuple[int, int]], *, seed: int = 1) -> list[Targets]:
    generator = torch.Generator().manual_seed(seed)
    return [
        Targets(
            classes=torch.randint(CLASSES, (number,), generator=generator),
            masks=torch.rand(number, *size, generator=generator) > 0.6,
        )
        for number, size in zip(numbers, sizes, strict=True)
    ]


@pytest.fixture
def criterion() -> SetCriterion:
    return SetCriterion(
        num_classes=CLASSES,
        num_queries=QUERIES,
        class_weight=2.0,
        mask_weight=5.0,
        dice_weight=4.0,
        no_object_weight=0.1,
        num_points=POINTS,
        oversample_ratio=3.0,
        importance_sample_ratio=0.75,
    )
