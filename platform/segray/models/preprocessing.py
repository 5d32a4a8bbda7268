"""Preprocessing that students share: normalisation by ImageNet's statistics, the colour of padding; inference mode."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor, nn

from segray.config.model_kinds import StudentConfig
from segray.models.student import Student

MEAN_RGB: Final = (123.675, 116.28, 103.53)
"""ImageNet's, of pixels in 0..255."""
STD_RGB: Final = (58.395, 57.12, 57.375)
PADDING_RGB: Final = (124, 116, 104)
"""What a canvas is padded with in training: about zero to the network."""


class ImageNetStudent(Student):
    """A student over a network that takes pixels as those trained on ImageNet do."""

    mean: Tensor
    std: Tensor

    def __init__(self, settings: StudentConfig, classes: tuple[str, ...]) -> None:
        super().__init__()
        self.settings = settings
        self.classes = classes
        self.preprocessing = {
            "colour": "RGB, 0..255",
            "mean": MEAN_RGB,
            "std": STD_RGB,
            "longer_side": settings.predict.side,
            "shorter_side": settings.predict.shorter_side,
            "multiple": settings.multiple,
        }
        self.register_buffer("mean", torch.tensor(MEAN_RGB).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD_RGB).view(3, 1, 1), persistent=False)

    def normalised(self, images: Tensor) -> Tensor:
        """Pixels in 0..255 (uint8 or float) as networks trained on ImageNet take them."""
        return (images.to(self.mean.dtype) - self.mean) / self.std


@contextmanager
def inference(module: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients, then as it was."""
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(training)
