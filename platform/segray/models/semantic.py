"""The base of semantic students: how images go in and how logits become a label map.

The protocol is in docs/methods/metrics.md#resizing-and-windows.

An image is resized so that each side is a multiple of what the network needs, its logits go back to the image's size,
and the class is chosen there. Large images may go window by window. Knows no network. Memory is bounded: few images and
few full-size maps are dense at a time, whatever the number of classes.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from segray.config import students as config
from segray.losses.cross_entropy import SemanticCriterion
from segray.masks import semantic
from segray.masks.instances import Instances
from segray.masks.provenance import Provenance
from segray.models.preprocessing import ImageNetStudent, inference
from segray.models.student import Perturb, Pixels, SemanticOutput

_IMAGES_AT_ONCE: Final = 8
_PIXELS_AT_ONCE: Final = 1 << 24
"""Of full-size maps, float32: 64 MB."""


class SemanticStudent(ImageNetStudent):
    """An encoder, a decoder, and a last layer called `classifier`."""

    settings: config.SemanticStudentConfig
    criterion: SemanticCriterion
    encoder: nn.Module

    def __init__(self, settings: config.SemanticStudentConfig, classes: tuple[str, ...]) -> None:
        super().__init__(settings, classes)
        self.criterion = SemanticCriterion(settings=settings.loss, align_corners=settings.align_corners)
        self.preprocessing["align_corners"] = settings.align_corners

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """Normalised images to the feature maps that the decoder reads."""
        features: tuple[Tensor, ...] = self.encoder(images)
        return features

    @abstractmethod
    def decode(self, features: tuple[Tensor, ...]) -> Tensor:
        """Feature maps to logits (B, K, h, w)."""

    @override
    def forward(self, images: Tensor, perturb: Perturb | None = None) -> SemanticOutput:
        features = self.encode(self.normalised(images))
        return SemanticOutput(logits=self.decode(perturb(features) if perturb else features))

    @override
    def backbone_parameters(self) -> Iterator[nn.Parameter]:
        return self.encoder.parameters()

    @override
    def predict(self, images: Sequence[Pixels]) -> list[Instances]:
        predict = self.settings.predict
        several = predict.scales != (1.0,) or predict.flip
        with inference(self):
            if predict.window is None and not several:
                return self._whole(images)
            return [self._added_up(one) if several or self._is_large(one) else self._whole([one])[0] for one in images]

    def _is_large(self, image: Pixels) -> bool:
        window = self.settings.predict.window
        return window is not None and max(image.shape[:2]) > window.size

    def _whole(self, images: Sequence[Pixels]) -> list[Instances]:
        """Label maps of images, those that the network sees at one size together."""
        groups: dict[tuple[int, int], list[int]] = {}
        for index, image in enumerate(images):
            groups.setdefault(self._network_hw(image.shape[:2]), []).append(index)
        found: dict[int, Instances] = {}
        for size_hw, group in groups.items():
            for start in range(0, len(group), _IMAGES_AT_ONCE):
                few = group[start : start + _IMAGES_AT_ONCE]
                logits = self._logits([images[index] for index in few], size_hw)
                for index, own in zip(few, logits, strict=True):
                    height, width = images[index].shape[:2]
                    best = best_of(own, (height, width), align_corners=self.settings.align_corners)
                    found[index] = _instances(*best)
        return [found[index] for index in range(len(images))]

    def _added_up(self, image: Pixels) -> Instances:
        """The label map of an image: probabilities of its windows, sizes and mirrored images, added up."""
        predict = self.settings.predict
        total = torch.zeros(len(self.classes), *image.shape[:2])
        for rows, columns in self._parts(image):
            part = image[rows, columns]
            for scale, mirrored in product(predict.scales, (False, True) if predict.flip else (False,)):
                logits = self._logits([part], self._network_hw(part.shape[:2], scale), mirrored=mirrored)
                full = self.criterion.full_size(logits, (part.shape[0], part.shape[1]))[0]
                total[:, rows, columns] += full.softmax(0).cpu()
        best, labels = total.max(0)
        return _instances(labels, best / total.sum(0))

    def _parts(self, image: Pixels) -> list[tuple[slice, slice]]:
        """Rows and columns of the windows over an image; the image itself where it is not large."""
        window = self.settings.predict.window
        if window is None or not self._is_large(image):
            return [(slice(None), slice(None))]
        height, width = image.shape[:2]
        places = product(starts(height, window), starts(width, window))
        return [(slice(y0, y0 + window.size), slice(x0, x0 + window.size)) for y0, x0 in places]

    def _logits(self, images: Sequence[Pixels], size_hw: tuple[int, int], *, mirrored: bool = False) -> Tensor:
        """(B, K, h, w) float32 of images, each resized to what the network sees; `mirrored` shows it their mirror
        images.
        """
        pixels = [torch.tensor(image, device=self.mean.device).permute(2, 0, 1)[None] for image in images]
        resized = [F.interpolate(one, size=size_hw, mode="bilinear", antialias=True) for one in pixels]
        shown = torch.cat(resized)
        output: SemanticOutput = self(shown.flip(3) if mirrored else shown)
        return output.logits.float().flip(3) if mirrored else output.logits.float()

    def _network_hw(self, image_hw: tuple[int, ...], factor: float = 1.0) -> tuple[int, int]:
        """The nearest multiples to the image's sides, after its resize."""
        predict, multiple = self.settings.predict, self.settings.multiple
        scale = factor
        if predict.side is not None:
            scale *= predict.side / max(image_hw)
        if predict.shorter_side is not None:
            scale *= predict.shorter_side / min(image_hw)
        height, width = (max(multiple, round(length * scale / multiple) * multiple) for length in image_hw)
        return height, width


def best_of(logits: Tensor, size_hw: tuple[int, int], *, align_corners: bool = False) -> tuple[Tensor, Tensor]:
    """The class of each pixel (H, W) int64 and its probability (H, W), of logits (K, h, w) resized.

    Few classes are at full size at a time. The class is that of the largest logit, the first of equals.
    """
    best = torch.full(size_hw, -torch.inf, device=logits.device)
    whole, labels = best.clone(), torch.zeros(size_hw, dtype=torch.int64, device=logits.device)
    at_once = max(1, _PIXELS_AT_ONCE // prod(size_hw))
    for start in range(0, len(logits), at_once):
        some = logits[None, start : start + at_once]
        few = F.interpolate(some, size=size_hw, mode="bilinear", align_corners=align_corners)[0]
        whole = torch.logaddexp(whole, few.logsumexp(0))
        top, index = few.max(0)
        better = top > best
        labels[better] = start + index[better]
        best = torch.maximum(best, top)
    return labels, (best - whole).exp()


def starts(length: int, window: config.SlidingWindow) -> list[int]:
    """Where windows begin along a side; the last one ends with the image."""
    step, last = max(1, int(window.size * window.stride)), max(0, length - window.size)
    return [*range(0, last, step), last]


def _instances(labels: Tensor, sure: Tensor) -> Instances:
    found = labels.to(torch.uint8).cpu().numpy()
    instances = semantic.from_map(found, provenance=Provenance.STUDENT, scores=sure.cpu().numpy())
    return instances.filter(np.argsort(-instances.scores, kind="stable"))
