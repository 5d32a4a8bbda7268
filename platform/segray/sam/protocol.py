"""What segray asks of any Segment Anything model: embed images, decode prompts, and only then make masks.

Three calls, because they cost differently: the encoder is paid per image, the decoder's tokens per prompt, and masks
only where the predicted IoU, which comes from the tokens alone, is worth it. Mask generation, refinement, distillation
and click-to-mask are written once against this. Models are frozen and in eval mode; no call here records gradients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

Image = npt.NDArray[np.uint8]
"""(H, W, 3) RGB."""

POSITIVE, NEGATIVE, BOX_UPPER_LEFT, BOX_LOWER_RIGHT, PADDING = 1, 0, 2, 3, -1
"""Labels of prompt points: inside the object, outside it, the two corners of a box, no point."""


@dataclass(frozen=True, kw_only=True)
class SamCard:
    """What names a model's results."""

    name: str
    """Model, for people."""
    weights_hash: str
    """Hex digest, the same as the built model's."""


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """What the encoder made of B images; opaque to callers but for their sizes."""

    features: Any
    """The backend's own."""
    sizes_hw: tuple[tuple[int, int], ...]
    """Size of each image as given, in pixels."""

    def __len__(self) -> int:
        return len(self.sizes_hw)


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """P prompts over the B images of an embedding, flat, in any order; either all of them hold a box or none does."""

    image_index: torch.Tensor
    """(P,) int64, which image of the embedding."""
    points_xy: torch.Tensor
    """(P, K, 2) float, pixels of that image as given."""
    labels: torch.Tensor
    """(P, K) int, the labels above; PADDING where a prompt has fewer than K points."""
    multimask: bool = True
    """Three masks per prompt (ambiguous prompts), or one."""

    def __len__(self) -> int:
        return len(self.image_index)


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """P prompts after the decoder's transformer; no mask exists yet."""

    scores: torch.Tensor
    """(P, M) float32, predicted IoU of each of the M masks."""
    prompts: Prompts
    handle: Any
    """The backend's own: what `logits` needs to make masks."""
    image_tokens: torch.Tensor | None = None
    """(P, h * w, C) image tokens after the last two-way block, on request."""


class Sam(Protocol):
    """A frozen promptable segmentation model."""

    name: str
    """Model, for people."""
    weights_hash: str
    """Hex digest of the weights; part of every fingerprint."""
    device: torch.device
    mask_threshold: float
    """Logit above which a pixel is inside."""
    prompts_at_once: int
    """How many prompts a call of `decode` runs best with; callers may give fewer or more."""

    def fill_hw(self, size_hw: tuple[int, int]) -> tuple[float, float]:
        """Shares of the rows and columns of the model's square input, so of its image tokens, that an image fills.

        What is left, below and on the right, is padding; models that stretch images have none.
        """
        ...

    def embed(self, images: Sequence[Image]) -> Embedding:
        """Encode images of any sizes in one batch."""
        ...

    def decode(self, embedding: Embedding, prompts: Prompts, *, image_tokens: bool = False) -> Decoded:
        """Run the prompts through the mask decoder up to its tokens.

        Raises:
            torch.OutOfMemoryError: too many prompts at once; callers lower their number and go on.
        """
        ...

    def logits(self, decoded: Decoded, keep: torch.Tensor) -> torch.Tensor:
        """Low-resolution mask logits (N, h, w) of the flat mask indices `keep` (N,) into P x M, in that order."""
        ...

    def upscale(self, logits: torch.Tensor, size_hw: tuple[int, int]) -> torch.Tensor:
        """Logits (N, h, w) of one image to that image's size, (N, H, W), the padding of the model's input removed."""
        ...
