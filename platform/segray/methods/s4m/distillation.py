"""Structural distillation, the student's side: its features are to be alike where SAM's are (S4M, arXiv 2504.05301).

Only similarities between places of one image are compared, never features, so that the student's own meaning of them
survives (the sampled form of the released code). Knows of SAM only the similarities it gave.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True, eq=False)
class Structure:
    """How alike SAM found Q cells of one image's canvas and all its cells."""

    grid_hw: tuple[int, int]
    """Cells over the canvas; the same for all images of a batch."""
    cells: Tensor
    """(Q,) int64, row by row."""
    similarities: Tensor
    """(Q, h * w) float32 cosines."""


class FeatureOutput(Protocol):
    """What a student makes of B images."""

    @property
    def mask_features(self) -> Tensor:
        """(B, C, h, w) over the canvas."""
        ...


def rows(features: Tensor, cells: Tensor) -> Tensor:
    """Cosines (B, Q, h * w) between the features (B, C, h, w) of cells (B, Q) and those of all cells."""
    directions = F.normalize(features.flatten(2), dim=1)
    chosen = directions.gather(2, cells[:, None].expand(-1, directions.shape[1], -1))
    return chosen.mT @ directions


@dataclass(frozen=True, kw_only=True)
class StructureCriterion:
    """A `Criterion` over `Structure`: smooth L1 (beta 1), mean over images, queries and cells. Loss: "structure"."""

    weight: float

    def count(self, targets: Sequence[Structure]) -> Tensor:
        """(1,): number of images."""
        return torch.tensor([len(targets)], dtype=torch.float32, device=targets[0].cells.device)

    def __call__(
        self, output: FeatureOutput, targets: Sequence[Structure], *, keys: Sequence[int], count: Tensor
    ) -> dict[str, Tensor]:
        """See `Criterion`; nothing is drawn."""
        del keys
        features, grid_hw = output.mask_features, targets[0].grid_hw
        with torch.autocast(features.device.type, enabled=False):
            coarse = F.interpolate(features.float(), grid_hw, mode="bilinear", align_corners=False)
            found = rows(coarse, torch.stack([one.cells for one in targets]))
            wanted = torch.stack([one.similarities for one in targets])
            of_images = F.smooth_l1_loss(found, wanted, beta=1.0, reduction="none").mean((1, 2))
        return {"structure": self.weight * of_images.sum() / count[0]}
