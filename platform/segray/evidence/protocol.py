"""What segray asks of any model that knows words for what it sees: CLIP, and the nano one that ships with segray."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

Image = npt.NDArray[np.uint8]
"""(H, W, 3) RGB."""


class ImageTextEncoder(Protocol):
    """A frozen image and text encoder with one space for both; no call records gradients."""

    name: str
    """Model, for people."""
    weights_hash: str
    """Hex digest of the weights; part of every fingerprint."""
    device: torch.device

    def dense(self, images: Sequence[Image]) -> list[torch.Tensor]:
        """Of each image a map (h, w, D) float32 of unit vectors, on the CPU; its grid spans the whole image.

        Raises:
            torch.OutOfMemoryError: so many images at once do not fit.
        """
        ...

    def texts(self, prompts: Sequence[str]) -> torch.Tensor:
        """Unit vectors (P, D) float32 of texts, on the CPU.

        Raises:
            BackendError: a text holds no word that the model knows.
        """
        ...
