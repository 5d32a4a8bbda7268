"""A `Sam` for tests that knows the answers: they are painted into the image it is shown.

Red is the object a pixel belongs to, green the part of it, each a number, 0 for none. A point's three masks are its
part, its object and the background with nothing in it; only the first two score.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from segray.sam.protocol import Decoded, Embedding, Image, Prompts

SCORE = 0.9
LOGIT = 8.0


@dataclass
class PaintedSam:
    """Reads masks off the image; refuses more than `most_prompts` at once as a full GPU does."""

    low: int = 64
    """Side of low-resolution masks."""
    most_prompts: int | None = None
    prompts_at_once: int = 16
    name: str = "painted"
    weights_hash: str = "0" * 64
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    mask_threshold: float = 0.0
    asked: list[int] = field(default_factory=list)
    """Prompts in each call so far."""

    def fill_hw(self, size_hw: tuple[int, int]) -> tuple[float, float]:
        """All of it."""
        del size_hw
        return 1.0, 1.0

    def embed(self, images: Sequence[Image]) -> Embedding:
        """Keeps the paint."""
        sizes = tuple((image.shape[0], image.shape[1]) for image in images)
        return Embedding(features=[torch.from_numpy(image[..., :2].copy()) for image in images], sizes_hw=sizes)

    def decode(self, embedding: Embedding, prompts: Prompts, *, image_tokens: bool = False) -> Decoded:
        """Scores are `SCORE` for what is there, 0 for what is not."""
        if self.most_prompts is not None and len(prompts) > self.most_prompts:
            raise torch.OutOfMemoryError(f"{len(prompts)} prompts")
        self.asked.append(len(prompts))
        tokens = torch.zeros(len(prompts), 1, 1) if image_tokens else None
        masks = torch.stack([self._masks(embedding, prompts, number) for number in range(len(prompts))])
        scores = SCORE * (masks > 0).flatten(2).any(dim=2).float()
        return Decoded(scores=scores, prompts=prompts, handle=masks, image_tokens=tokens)

    def logits(self, decoded: Decoded, keep: Tensor) -> Tensor:
        """Plus and minus `LOGIT`."""
        masks: Tensor = decoded.handle
        return masks.flatten(0, 1)[keep]

    def upscale(self, logits: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """Bilinear; there is no padding."""
        return F.interpolate(logits[:, None], size_hw, mode="bilinear", align_corners=False)[:, 0]

    def _masks(self, embedding: Embedding, prompts: Prompts, number: int) -> Tensor:
        paint = embedding.features[int(prompts.image_index[number])]
        x, y = np.floor(prompts.points_xy[number, 0].numpy()).astype(int)
        thing, part = paint[y, x].tolist()
        inside = torch.stack(
            [
                (paint[..., 0] == thing) & (paint[..., 1] == part) & bool(part),
                (paint[..., 0] == thing) & bool(thing),
                torch.zeros(paint.shape[:2], dtype=torch.bool),
            ]
        )
        small = F.interpolate(inside[None].float(), (self.low, self.low), mode="nearest-exact")[0]
        return LOGIT * (2 * small - 1)
