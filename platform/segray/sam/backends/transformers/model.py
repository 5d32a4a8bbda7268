"""SAM, SAM-HQ, SAM 2 and 2.1, and SAM 3's tracker, as transformers has them, behind the Sam protocol.

Knows image sizes and prompts. What differs between families is in segray.sam.backends.transformers.families, loading in
segray.sam.backends.transformers.checkpoint. Preprocessing is the checkpoint's own image processor.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from segray.config.types import Precision
from segray.nets.device import autocast
from segray.sam.backends.transformers.families import Family, Features, Heads
from segray.sam.protocol import BOX_UPPER_LEFT, PADDING, Decoded, Embedding, Image, Prompts

_PROMPTS_AT_ONCE: Final = {"cuda": 128, "cpu": 4}
"""On a CPU more image tokens than a few prompts have do not fit its cache."""


@dataclass(frozen=True, kw_only=True)
class _Handle:
    heads: Heads
    chosen: Tensor
    """(P, M) the mask token of each answer."""


class HfSam:
    """A model of transformers as a `Sam` (segray.sam.protocol). `segray.sam.build.build` makes one."""

    mask_threshold = 0.0

    def __init__(
        self, family: Family, processor: Any, *, name: str, weights_hash: str, device: torch.device, dtype: Precision
    ) -> None:
        self.name = name
        self.weights_hash = weights_hash
        self.device = device
        self.prompts_at_once = _PROMPTS_AT_ONCE[device.type]
        self._family = family
        self._processor = processor
        self._dtype = dtype
        with torch.no_grad():
            self._position = family.model.get_image_wide_positional_embeddings()

    def fill_hw(self, size_hw: tuple[int, int]) -> tuple[float, float]:
        """As the protocol says."""
        if not self._family.padded:
            return 1.0, 1.0
        height, width = self._fit(size_hw)
        return height / self._processor.pad_size.height, width / self._processor.pad_size.width

    @torch.no_grad()
    def embed(self, images: Sequence[Image]) -> Embedding:
        """As the protocol says."""
        inputs = self._processor(
            images=[self._drawable(image) for image in images],
            input_data_format="channels_last",
            return_tensors="pt",
            device=self.device,
        )
        with autocast(self.device, self._dtype):
            features = self._family.encode(inputs["pixel_values"].to(self.device))
        return Embedding(features=features, sizes_hw=tuple((image.shape[0], image.shape[1]) for image in images))

    @torch.no_grad()
    def decode(self, embedding: Embedding, prompts: Prompts, *, image_tokens: bool = False) -> Decoded:
        """As the protocol says; a prompt's answer does not depend on the others."""
        features: Features = embedding.features
        index = prompts.image_index.to(self.device)
        labels = prompts.labels.to(self.device)
        points = prompts.points_xy.to(self.device) * self._scales(embedding.sizes_hw)[index][:, None]
        parts = self._alike(labels)
        with autocast(self.device, self._dtype):
            done = [self._heads(features, index[rows], points[rows], labels[rows], pad=pad) for rows, pad in parts]
            heads = done[0] if len(done) == 1 else Heads.cat(done)[torch.cat([rows for rows, _ in parts]).argsort()]
            chosen = self._family.choose(heads, multimask=prompts.multimask)
        return Decoded(
            scores=heads.iou.gather(1, chosen),
            prompts=prompts,
            handle=_Handle(heads=heads, chosen=chosen),
            image_tokens=heads.image_tokens if image_tokens else None,
        )

    @torch.no_grad()
    def logits(self, decoded: Decoded, keep: Tensor) -> Tensor:
        """As the protocol says; a prompt of several kept masks is up-scaled once."""
        handle: _Handle = decoded.handle
        keep = keep.to(self.device)
        prompt = keep // handle.chosen.shape[1]
        used, position = torch.unique(prompt, return_inverse=True)
        with autocast(self.device, self._dtype):
            masks = self._family.masks(handle.heads[used])
        return masks[position, handle.chosen.flatten()[keep]].float()

    @torch.no_grad()
    def upscale(self, logits: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """As the protocol says; bilinear, as the processor's post-processing."""
        if self._family.padded:
            height, width = self._fit(size_hw)
            logits = _resize(logits, (self._processor.pad_size.height, self._processor.pad_size.width))
            logits = logits[:, :height, :width]
        return _resize(logits, size_hw)

    def _heads(self, features: Features, index: Tensor, points: Tensor, labels: Tensor, *, pad: bool) -> Heads:
        if pad:
            points = F.pad(points, (0, 0, 0, 1))
            labels = F.pad(labels, (0, 1), value=PADDING)
        # Half precision would move the points.
        with torch.autocast(self.device.type, enabled=False):
            tokens = self._family.prompt_tokens(points.float(), labels)
        return self._family.heads(features, index, tokens, self._position)

    def _alike(self, labels: Tensor) -> list[tuple[Tensor, bool]]:
        """Rows of prompts that take the not-a-point token and of those that do not, each with whether they do."""
        bare = (labels == BOX_UPPER_LEFT).any(dim=1)
        if self._family.pads_boxes or not bare.any():
            return [(torch.arange(len(labels), device=self.device), True)]
        parts = ((~bare).nonzero()[:, 0], True), (bare.nonzero()[:, 0], False)
        return [(rows, pad) for rows, pad in parts if len(rows)]

    def _scales(self, sizes_hw: Sequence[tuple[int, int]]) -> Tensor:
        """(B, 2) by which x and y of each image go to the input."""
        fits = (self._fit(size) for size in sizes_hw)
        scales = [[fit[1] / size[1], fit[0] / size[0]] for fit, size in zip(fits, sizes_hw, strict=True)]
        return torch.tensor(scales, dtype=torch.float64, device=self.device)

    def _fit(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width that an image takes up in the input."""
        size = self._processor.size
        if not self._family.padded:
            return size.height, size.width
        scale = size.longest_edge / max(size_hw)
        return max(1, int(size_hw[0] * scale + 0.5)), max(1, int(size_hw[1] * scale + 0.5))

    def _drawable(self, image: Image) -> Image:
        """A strip so thin that the processor would make nothing of it, its pixels repeated until one row is left."""
        height, width, _ = image.shape
        least = math.ceil(max(height, width) / (2 * self._processor.size.longest_edge)) if self._family.padded else 1
        rows, columns = (max(side, least) for side in (height, width))
        if (rows, columns) == (height, width):
            return image
        thicker: Image = image[np.arange(rows) * height // rows][:, np.arange(columns) * width // columns]
        return thicker


def _resize(logits: Tensor, size_hw: tuple[int, int]) -> Tensor:
    return F.interpolate(logits[None], size_hw, mode="bilinear", align_corners=False)[0]
