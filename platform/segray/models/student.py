"""What segray asks of any student: a network that is trained by a criterion of its own and predicts `Instances`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from segray.config.model_kinds import StudentConfig
from segray.losses.criterion import Criterion
from segray.masks.instances import Instances

Pixels = npt.NDArray[np.uint8]
"""(H, W, 3) RGB."""


Perturb = Callable[[tuple[torch.Tensor, ...]], tuple[torch.Tensor, ...]]
"""What happens to the encoder's feature maps, each (B, C, h, w), before the decoder sees them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SemanticOutput:
    """What a semantic student says of B images."""

    logits: torch.Tensor
    """(B, K, h, w) over the canvas, at any resolution."""


@dataclass(frozen=True, kw_only=True, eq=False)
class QueryOutput:
    """What a query-based instance student says of B images."""

    class_logits: tuple[torch.Tensor, ...]
    """(B, Q, K + 1) per supervised output, the final one last; the last class is "no object"."""
    mask_logits: tuple[torch.Tensor, ...]
    """(B, Q, h, w) per supervised output, at stride 4."""
    mask_features: torch.Tensor
    """(B, C, h, w) what the queries are dotted with; structure is distilled into it."""
    boxes: tuple[torch.Tensor, ...] = ()
    """(B, Q, 4) per supervised output, centre x and y, width and height in shares of the canvas; none of students that
    predict masks alone."""


class Student(nn.Module, ABC):
    """A student of instances or of label maps. Normalises its input itself: pixels go in as they come from a file.

    A network's class is built as `Network(settings, classes, load=...)`, on the CPU; `load` says whether pretrained
    weights are loaded, else all are random.
    """

    adaptable: ClassVar[tuple[str, ...]] = ("classifier.",)
    """Parts of the names of tensors that depend on the classes; a student that starts from another draws them anew."""
    settings: StudentConfig
    """What it was built from."""
    classes: tuple[str, ...]
    """Class names by class id."""
    criterion: Criterion
    """Its loss."""
    preprocessing: dict[str, Any]
    """How images go in, for whoever runs its network elsewhere."""

    @classmethod
    def pretrained_hash(cls, settings: Any) -> str | None:
        """Return the hash of the pretrained weights that a new student loads from files; None where there are none.

        Weights from a Hub are named by their settings (id and revision).

        Raises:
            BackendError: they cannot be read.
        """
        del settings
        return None

    @abstractmethod
    def forward(self, images: torch.Tensor, perturb: Perturb | None = None) -> Any:
        """The raw output for images (B, 3, H, W), RGB in 0..255 (uint8 or float), sides multiples of
        `settings.multiple`.

        Instance students give `QueryOutput`, semantic ones `SemanticOutput`. `perturb` stands between encoder and
        decoder.
        """

    @abstractmethod
    def predict(self, images: Sequence[Pixels]) -> list[Instances]:
        """Instances of each image at its own size, best first, provenance `student`; no gradients.

        Of a semantic student: one mask per class that is seen, its score the mean probability in it. Works whatever
        mode the module is in (it switches to eval and back) and on any image size.
        """

    @abstractmethod
    def backbone_parameters(self) -> Iterator[nn.Parameter]:
        """Those that get the backbone's learning rate, and none where the settings freeze the encoder."""
