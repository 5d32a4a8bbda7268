"""What segray asks of any student: a network that is trained by a criterion of its own and predicts `Instances`."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from segray.config import students as config
from segray.losses.criterion import Criterion
from segray.masks.instances import Instances

Pixels = npt.NDArray[np.uint8]
"""(H, W, 3) RGB."""


@dataclass(frozen=True, kw_only=True, eq=False)
class QueryOutput:
    """What a query-based instance student says of B images."""

    class_logits: tuple[torch.Tensor, ...]
    """(B, Q, K + 1) per supervised output, the final one last; the last class is "no object"."""
    mask_logits: tuple[torch.Tensor, ...]
    """(B, Q, h, w) per supervised output, at stride 4."""
    mask_features: torch.Tensor
    """(B, C, h, w) what the queries are dotted with; structure is distilled into it."""


class Student(nn.Module, ABC):
    """An instance student. Normalises its input itself: pixels go in as they come from a file."""

    settings: config.Student
    """What it was built from."""
    classes: tuple[str, ...]
    """Class names by class id."""
    criterion: Criterion
    """Its loss."""

    @abstractmethod
    def forward(self, images: torch.Tensor) -> Any:
        """The raw output for images (B, 3, H, W), RGB in 0..255 (uint8 or float), sides multiples of 32.

        Instance students give `QueryOutput`.
        """

    @abstractmethod
    def predict(self, images: Sequence[Pixels]) -> list[Instances]:
        """Instances of each image at its own size, best first, provenance `student`; no gradients.

        Works whatever mode the module is in (it switches to eval and back) and on any image size.
        """

    @abstractmethod
    def backbone_parameters(self) -> Iterator[nn.Parameter]:
        """Those that get the backbone's learning rate."""
