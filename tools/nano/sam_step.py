"""One training step of sam-nano: prompts from targets, the decoder batched over images, SAM's losses.

Knows the model and tensors. Does not know where batches come from nor the optimizer. Follows Kirillov et al. 2023
(arXiv 2304.02643), section 3 and appendix A: the best of three masks counts, mean squared error for the predicted
IoU, then a second round with boxes, more points, or points from where the first round was wrong. Only the mask loss is
another.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import EllipsisType
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.modeling import Sam
from torch import Tensor, nn
from torch.nn import functional as F

from segray.sam.backends.segment_anything.nano import STRIDE
from tools.nano.sam_data import PromptBatch

MIN_SHARE: Final = 0.02
"""Smallest share of the image that a target's inside, or outside, counts as."""
RELAXED: Final = 0.1
"""Share of the loss that all three masks get, so that none of them is left without a gradient."""
GROUPING_WEIGHT: Final = 1.0
WINDOW: Final = 16
"""Side of the square of cells whose pairs are compared, in cells of the embedding."""


class GroupingHead(nn.Module):
    """What belongs together, asked of the embedding everywhere at once: for training only.

    A prompt says something about one object; this says something about all of them, at a fraction of the cost, and the
    encoder learns faster for it. Cells of one group are to lie close in a small space and others apart, and the borders
    between groups are to be found at a quarter of the embedding's stride.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, 16, 1)
        self.radius = nn.Parameter(torch.tensor(2.0))
        self.border = nn.Sequential(nn.Conv2d(channels, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 16, 1))

    def affinity(self, embeddings: Tensor, groups: Tensor, corner: tuple[int, int]) -> Tensor:
        """Cross-entropy over all pairs of cells in a window at `corner` (row, column); groups (B, h, w)."""
        window = (..., slice(corner[0], corner[0] + WINDOW), slice(corner[1], corner[1] + WINDOW))
        cells = self.project(embeddings)[window].flatten(2).float().transpose(1, 2)
        label = groups[window].flatten(1)
        together = (label[:, :, None] == label[:, None]).float()
        logits = self.radius - torch.cdist(cells, cells).square()
        return _balanced_cross_entropy(logits, together)

    def borders(self, embeddings: Tensor, groups: Tensor) -> Tensor:
        """Cross-entropy of the borders between groups (B, 8 h, 8 w)."""
        right = F.pad(groups[:, :, 1:] != groups[:, :, :-1], (0, 1))
        below = F.pad(groups[:, 1:] != groups[:, :-1], (0, 0, 0, 1))
        target = F.max_pool2d((right | below).float()[:, None], 2)
        return _balanced_cross_entropy(F.pixel_shuffle(self.border(embeddings), 4).float(), target)


def _balanced_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy in which both answers weigh the same."""
    share = target.mean().clamp(0.01, 0.99)
    weight = torch.where(target > 0, 0.5 / share, 0.5 / (1 - share))
    return F.binary_cross_entropy_with_logits(logits, target, weight)


@dataclass(frozen=True)
class TargetPrompts:
    """N prompts of one kind: `coords` (N, K, 2) x, y pixels with `labels` (N, K), or `boxes` (N, 4) xyxy.

    `logits` (N, 1, h, w) is the mask of an earlier round.
    """

    coords: Tensor | None = None
    labels: Tensor | None = None
    boxes: Tensor | None = None
    logits: Tensor | None = None


def decode(sam: Sam, embeddings: Tensor, image_index: Tensor, prompts: TargetPrompts) -> tuple[Tensor, Tensor]:
    """Logits (N, 4, h, w) and predicted IoU (N, 4): token 0 the single mask, 1 to 3 the alternatives.

    The package's own forward takes one image at a time; here the prompts of several images go through together.
    """
    decoder = sam.mask_decoder
    points = None if prompts.coords is None else (prompts.coords, prompts.labels)
    with torch.autocast("cpu", enabled=False):  # positions need more digits than bf16 has
        sparse, dense = sam.prompt_encoder(points=points, boxes=prompts.boxes, masks=prompts.logits)
        position = sam.prompt_encoder.get_dense_pe().to(embeddings.dtype)
    count = len(sparse)
    output = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).expand(count, -1, -1)
    pixels = embeddings[image_index] + dense.to(embeddings.dtype)
    tokens, pixels_out = decoder.transformer(
        pixels, position.expand(count, -1, -1, -1), torch.cat([output, sparse], dim=1)
    )
    upscaled = decoder.output_upscaling(pixels_out.transpose(1, 2).reshape(pixels.shape))
    heads = enumerate(decoder.output_hypernetworks_mlps)
    kernels = torch.stack([head(tokens[:, 1 + index]) for index, head in heads], dim=1)
    logits = (kernels @ upscaled.flatten(2)).unflatten(2, upscaled.shape[-2:])
    return logits.float(), decoder.iou_prediction_head(tokens[:, 0]).float()


def mask_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Balanced cross-entropy plus dice per mask, (N, M), of logits (N, M, h, w) against soft targets (N, h, w).

    A target's inside and outside weigh the same: with SAM's focal loss, masks are empty for hundreds of steps.
    """
    target = targets[:, None].expand_as(logits)
    probability = logits.sigmoid()
    share = target.mean((2, 3), keepdim=True).clamp(MIN_SHARE, 1 - MIN_SHARE)
    cross_entropy = F.softplus(logits) - logits * target
    balanced = (cross_entropy * (0.5 * target / share + 0.5 * (1 - target) / (1 - share))).mean((2, 3))
    overlap = (probability * target).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (probability.sum((2, 3)) + target.sum((2, 3)) + 1)
    return balanced + dice


def mask_iou(logits: Tensor, targets: Tensor) -> Tensor:
    """IoU per mask, (N, M), of thresholded logits against thresholded targets (N, h, w)."""
    predicted, target = logits > 0, (targets > 0.5)[:, None]
    return (predicted & target).sum((2, 3)) / (predicted | target).sum((2, 3)).clamp(min=1)


def prompt_loss(logits: Tensor, iou: Tensor, targets: Tensor, single_weight: float) -> tuple[Tensor, Tensor]:
    """The loss of a round and the best-of-three IoU (N,); `single_weight` is how much the single mask counts."""
    losses = mask_losses(logits, targets)
    actual = mask_iou(logits.detach(), targets)
    several = losses[:, 1:]
    best = (1 - RELAXED) * several.min(1).values + RELAXED * several.mean(1)
    iou_loss = F.mse_loss(iou, actual)
    return (best + single_weight * losses[:, 0]).mean() + iou_loss, actual[:, 1:].amax(1)


def step_losses(
    sam: Sam, head: GroupingHead, batch: PromptBatch, rng: np.random.Generator, second_round: int, side: int
) -> dict[str, Tensor]:
    """Named losses and figures of a batch; `loss` is the one to minimise, `second_round` prompts per image go twice.

    The images are reduced to `side` pixels; prompts stay in the pixels of the batch, whose positions are relative.
    """
    images = torch.from_numpy(batch.images).permute(0, 3, 1, 2).float()
    images = F.interpolate(images, (side, side), mode="area") if side < images.shape[-1] else images
    per_image = len(batch.masks) // len(images)
    index = torch.arange(len(images)).repeat_interleave(per_image)
    full = torch.from_numpy(batch.masks).float()
    embeddings = sam.image_encoder((images - sam.pixel_mean) / sam.pixel_std)
    cells = embeddings.shape[-1]
    sam.prompt_encoder.image_embedding_size = (cells, cells)
    targets = F.adaptive_avg_pool2d(full[:, None], 4 * cells)[:, 0]
    first = TargetPrompts(*_points([(mask, np.zeros_like(mask)) for mask in batch.masks], 1, rng))
    logits, iou = decode(sam, embeddings, index, first)
    thin = _every_other(rng)
    loss, best = prompt_loss(logits[thin], iou, targets[thin], single_weight=0.3)
    again = np.flatnonzero(np.arange(len(full)) % per_image < second_round)
    second = _second_prompts(batch.masks[again], _take(first, again), logits.detach()[again], iou.detach()[again], rng)
    logits, iou = decode(sam, embeddings, index[again], second)
    loss_again, best_again = prompt_loss(logits[thin], iou, targets[again][thin], single_weight=1.0)
    share = len(again) / len(full)
    pairs, borders = _grouping(head, embeddings, batch, rng)
    total = loss + share * loss_again + GROUPING_WEIGHT * (pairs + borders)
    return {"loss": total, "affinity": pairs, "borders": borders, "iou": best.mean(), "iou_again": best_again.mean()}


def _every_other(rng: np.random.Generator) -> tuple[EllipsisType, slice, slice]:
    """Return an index of every other row and column of masks, from a random corner: a quarter of the losses' work."""
    return (..., slice(int(rng.integers(2)), None, 2), slice(int(rng.integers(2)), None, 2))


def _grouping(
    head: GroupingHead, embeddings: Tensor, batch: PromptBatch, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """The affinity loss in a random window, each cell labelled by the pixel at its centre, and the border loss."""
    cells = embeddings.shape[-1]
    skip = batch.groups.shape[-1] // (STRIDE * cells)
    groups = torch.from_numpy(batch.groups[:, ::skip, ::skip].astype(np.int64))
    stride = groups.shape[-1] // cells
    corner = (int(rng.integers(cells - WINDOW + 1)), int(rng.integers(cells - WINDOW + 1)))
    centres = groups[:, stride // 2 :: stride, stride // 2 :: stride]
    return head.affinity(embeddings, centres, corner), head.borders(embeddings, groups)


def _take(prompts: TargetPrompts, chosen: NDArray[np.intp]) -> TargetPrompts:
    assert prompts.coords is not None
    assert prompts.labels is not None
    return TargetPrompts(prompts.coords[chosen], prompts.labels[chosen])


def _points(
    regions: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]], count: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """`count` points per (inside, outside) pair of regions, at random among both; coords (N, K, 2), labels (N, K)."""
    coords = np.zeros((len(regions), count, 2), np.float32)
    labels = np.zeros((len(regions), count), np.float32)
    for row, (inside, outside) in enumerate(regions):
        places = np.flatnonzero(inside | outside)
        if len(places) == 0:
            labels[row] = -1
            continue
        chosen = rng.choice(places, count)
        y, x = np.divmod(chosen, inside.shape[1])
        coords[row] = np.stack([x, y], axis=1) + 0.5
        labels[row] = inside.ravel()[chosen]
    return torch.from_numpy(coords), torch.from_numpy(labels)


def _second_prompts(
    masks: NDArray[np.bool_], first: TargetPrompts, logits: Tensor, iou: Tensor, rng: np.random.Generator
) -> TargetPrompts:
    """What a round after the first one asks with: a box, several points at once, or corrections of the first round."""
    kind = rng.random()
    if kind < 0.25:
        return TargetPrompts(boxes=_boxes(masks, rng))
    if kind < 0.45:
        return TargetPrompts(*_points([(mask, np.zeros_like(mask)) for mask in masks], int(rng.integers(2, 10)), rng))
    best = logits[:, 1:][torch.arange(len(logits)), iou[:, 1:].argmax(1)][:, None]
    predicted = F.interpolate(best, masks.shape[1:], mode="bilinear", align_corners=False)[:, 0].numpy() > 0
    wrong = [(mask & ~guess, guess & ~mask) for mask, guess in zip(masks, predicted, strict=True)]
    coords, labels = _points(wrong, int(rng.choice([1, 1, 2, 3, 5, 8])), rng)
    assert first.coords is not None
    assert first.labels is not None
    coords, labels = torch.cat([first.coords, coords], 1), torch.cat([first.labels, labels], 1)
    return TargetPrompts(coords, labels, logits=best if rng.random() < 0.5 else None)


def _boxes(masks: NDArray[np.bool_], rng: np.random.Generator) -> Tensor:
    """Bounding boxes (N, 4) xyxy, each side moved by up to a tenth of the extent (at most 20 px)."""
    boxes = np.zeros((len(masks), 4), np.float32)
    for row, mask in enumerate(masks):
        columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        extent = np.tile([box[2] - box[0], box[3] - box[1]], 2)
        boxes[row] = box + np.clip(rng.normal(0, 0.1, 4) * extent, -20, 20)
    return torch.from_numpy(boxes.clip(0, masks.shape[1]))
