"""Which query stands for which mask: the cheapest one-to-one matching (Hungarian), as Mask2Former's. Knows no draws."""

from collections.abc import Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

WORST = 1e9
"""Stands for a cost that is no number: matched last."""


def class_costs(logits: Tensor, classes: Tensor) -> Tensor:
    """(B, Q, N) of class logits (B, Q, K + 1) and classes (B, N): the negated probability."""
    return -logits.softmax(-1).gather(2, classes[:, None].expand(-1, logits.shape[1], -1))


def mask_costs(logits: Tensor, inside: Tensor) -> Tensor:
    """Binary cross-entropy (B, Q, N) of each logit row (B, Q, P) with each mask (B, N, P), mean over points."""
    # t * softplus(-x) + (1 - t) * softplus(x) is softplus(x) - t * x: one product for all pairs.
    return (F.softplus(logits).sum(-1, keepdim=True) - logits @ inside.mT) / logits.shape[-1]


def dice_costs(logits: Tensor, inside: Tensor) -> Tensor:
    """Dice loss (B, Q, N), shapes as in `mask_costs`."""
    probabilities = logits.sigmoid()
    areas = probabilities.sum(-1, keepdim=True) + inside.sum(-1)[:, None]
    return 1 - (2 * probabilities @ inside.mT + 1) / (areas + 1)


def assign(costs: Tensor, numbers: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """Per image the matched queries and masks, min(Q, N) of each, of costs (B, Q, N) on the CPU.

    `numbers` are the masks of each image: columns beyond them are padding. Costs that are no numbers do not stop it.
    """
    finite = costs.nan_to_num(nan=WORST, posinf=WORST, neginf=WORST)
    pairs = [linear_sum_assignment(finite[image, :, :number]) for image, number in enumerate(numbers)]
    return [(torch.from_numpy(queries), torch.from_numpy(masks)) for queries, masks in pairs]
