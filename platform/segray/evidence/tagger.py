"""A classifier of image-level tags, and its class activations.

TransCAM without its transformer branch (docs/methods/sepl.md#class-activation-maps).
Trained by the multi-label soft margin on tags alone. A class's activation is what its weights say of each place, summed
over scales and mirrors, clipped at 0, and divided by its greatest value. Knows tensors and pixels, no file of images.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from segray import keyed_random
from segray.config.evidence import TaggerConfig
from segray.evidence.encoders import build_encoder, normalised
from segray.evidence.fitting import FitPlan, fit
from segray.masks.semantic import BACKGROUND_INDEX
from segray.nets.weights import load_into, load_state

Pixels = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float32]
ReadImage = Callable[[int], Pixels]
"""Pixels (H, W, 3) of one of the images to learn from."""


class Tagger(nn.Module):
    """An encoder and a linear layer on its map."""

    def __init__(self, config: TaggerConfig, num_classes: int, *, load: bool) -> None:
        super().__init__()
        self.encoder = build_encoder(config.encoder, load=load)
        self.head = nn.Conv2d(self.encoder.channels, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of each class at each place (B, C, h, w); their mean is the image's."""
        out: Tensor = self.head(self.encoder(images))
        return out


def train(
    config: TaggerConfig,
    read: ReadImage,
    tags: Sequence[tuple[int, ...]],
    num_classes: int,
    weights: Path,
    device: torch.device,
) -> None:
    """Train on images of known tags, from where it was stopped, and leave the weights as safetensors."""
    torch.manual_seed(keyed_random.key(config.seed, "tagger"))
    tagger = Tagger(config, num_classes, load=True).to(device)
    truth = torch.zeros(len(tags), num_classes)
    for row, present in zip(truth, tags, strict=True):
        row[list(present)] = 1
    with ThreadPoolExecutor(2) as threads:

        def loss(step: int) -> Tensor:
            rng = keyed_random.rng(config.seed, "tagger", step)
            chosen = rng.choice(len(tags), min(config.batch, len(tags)), replace=False)
            seen = threads.map(
                lambda at: _view(read(at), keyed_random.rng(config.seed, "tagger", step, int(at)), config), chosen
            )
            images = torch.from_numpy(np.stack(list(seen))).to(device)
            logits = tagger(normalised(images)).mean((2, 3))
            return F.multilabel_soft_margin_loss(logits, truth[chosen].to(device))

        plan = FitPlan(steps=config.steps, learning_rate=config.learning_rate)
        fit(tagger, loss, plan, weights.with_suffix(".checkpoint"))
    partial = weights.with_suffix(".partial")
    save_file({name: value.contiguous() for name, value in tagger.state_dict().items()}, partial)
    partial.replace(weights)


def load(config: TaggerConfig, num_classes: int, weights: str, device: torch.device) -> Tagger:
    """A trained classifier, frozen.

    Raises:
        BackendError: the weights are missing or of another architecture.
    """
    tagger = Tagger(config, num_classes, load=False)
    load_into(tagger, load_state(weights), f"the tagger's weights {weights}")
    return tagger.eval().requires_grad_(False).to(device)


@torch.no_grad()
def activations(tagger: Tagger, image: Pixels, present: Sequence[int], side: int, scales: Sequence[float]) -> Scores:
    """Of each class that is present a map (C, h, w) in [0, 1], on the finest scale's grid, which spans the image."""
    if not present:
        return np.zeros((0, 1, 1), dtype=np.float32)
    device, found = next(tagger.parameters()).device, []
    for scale in sorted(scales, reverse=True):
        resized = _resized(image, max(32, round(side * scale / 32) * 32))
        both = normalised(torch.from_numpy(np.stack([resized, resized[:, ::-1]])).to(device))
        plain, mirrored = tagger(both)[:, list(present)]
        found.append(F.relu(plain) + F.relu(mirrored.flip(-1)))
    size = found[0].shape[-2:]
    total = sum(F.interpolate(one[None], size=size, mode="bilinear", align_corners=False)[0] for one in found)
    assert isinstance(total, Tensor)
    return np.asarray((total / total.amax((1, 2), keepdim=True).clamp_min(1e-6)).cpu().numpy(), dtype=np.float32)


def label_map(
    scores: Scores, present: Sequence[int], threshold: float, size_hw: tuple[int, int]
) -> tuple[npt.NDArray[np.uint8], Scores]:
    """Class ids (H, W), from 1 as the background is 0, and how sure each pixel is.

    `scores` (C, h, w) are those of the classes `present` (from 0); the background's is the threshold everywhere.
    """
    labels, sure = np.zeros(size_hw, dtype=np.uint8), np.full(size_hw, threshold, dtype=np.float32)
    for one, index in zip(scores, present, strict=True):
        large = cv2.resize(one, size_hw[::-1], interpolation=cv2.INTER_LINEAR)
        better = large > sure
        labels[better], sure[better] = index + 1, large[better]
    # How sure the background is grows as the scores of all classes fall.
    return labels, np.where(labels == BACKGROUND_INDEX, 1 - _greatest(scores, size_hw), sure).astype(np.float32)


def _greatest(scores: Scores, size_hw: tuple[int, int]) -> Scores:
    if not len(scores):
        return np.zeros(size_hw, dtype=np.float32)
    return np.asarray(cv2.resize(scores.max(0), size_hw[::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _view(image: Pixels, rng: np.random.Generator, config: TaggerConfig) -> Pixels:
    """A crop of at least `min_crop` of each side, resized to the square, at times mirrored."""
    sides = [max(1, round(side * rng.uniform(config.min_crop, 1))) for side in image.shape[:2]]
    y, x = (int(rng.integers(0, side - own + 1)) for side, own in zip(image.shape[:2], sides, strict=True))
    crop = _resized(image[y : y + sides[0], x : x + sides[1]], config.side)
    return np.ascontiguousarray(crop[:, ::-1]) if rng.random() < 0.5 else crop


def _resized(image: Pixels, side: int) -> Pixels:
    smaller = side < min(image.shape[:2])
    kind = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(image), (side, side), interpolation=kind), dtype=np.uint8)
