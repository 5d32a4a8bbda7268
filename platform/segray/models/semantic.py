"""The base of semantic students: how images go in and how logits become a label map.

The protocol is in docs/methods/metrics.md#resizing-and-windows.

An image is resized so that each side is a multiple of what the network needs, its logits go back to the image's size,
and the class is chosen there. Large images may go window by window. Knows no network. Memory is bounded: few images and
few full-size maps are dense at a time, whatever the number of classes.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
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
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.settings.frozen_encoder):
            features = self.encode(self.normalised(images))
        return SemanticOutput(logits=self.decode(perturb(features) if perturb else features))

    @override
    def backbone_parameters(self) -> Iterator[nn.Parameter]:
        return self.encoder.parameters()

    @override
    def predict(self, images: Sequence[Pixels]) -> list[Instances]:
        window = self.settings.predict.window
        with inference(self):
            if window is None:
                return self._whole(images)
            return [
                self._by_windows(one) if max(one.shape[:2]) > window.size else self._whole([one])[0] for one in images
            ]

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
                    found[index] = _instances(*best_of(own, (height, width)))
        return [found[index] for index in range(len(images))]

    def _by_windows(self, image: Pixels) -> Instances:
        """The label map of a large image: probabilities of overlapping windows, added up."""
        window = self.settings.predict.window
        assert window is not None
        height, width = image.shape[:2]
        total = torch.zeros(len(self.classes), height, width)
        for y0 in starts(height, window):
            for x0 in starts(width, window):
                part = image[y0 : y0 + window.size, x0 : x0 + window.size]
                (logits,) = self._logits([part], self._network_hw(part.shape[:2]))
                full = F.interpolate(logits[None], size=part.shape[:2], mode="bilinear")[0]
                total[:, y0 : y0 + window.size, x0 : x0 + window.size] += full.softmax(0).cpu()
        best, labels = total.max(0)
        return _instances(labels, best / total.sum(0))

    def _logits(self, images: Sequence[Pixels], size_hw: tuple[int, int]) -> Tensor:
        """(B, K, h, w) float32 of images, each resized to what the network sees."""
        pixels = [torch.tensor(image, device=self.mean.device).permute(2, 0, 1)[None] for image in images]
        resized = [F.interpolate(one, size=size_hw, mode="bilinear", antialias=True) for one in pixels]
        output: SemanticOutput = self(torch.cat(resized))
        return output.logits.float()

    def _network_hw(self, image_hw: tuple[int, ...]) -> tuple[int, int]:
        """The nearest multiples to the image's sides, after its resize."""
        side, multiple = self.settings.predict.side, self.settings.multiple
        scale = 1.0 if side is None else side / max(image_hw)
        height, width = (max(multiple, round(length * scale / multiple) * multiple) for length in image_hw)
        return height, width


def best_of(logits: Tensor, size_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The class of each pixel (H, W) int64 and its probability (H, W), of logits (K, h, w) resized.

    Few classes are at full size at a time. The class is that of the largest logit, the first of equals.
    """
    best = torch.full(size_hw, -torch.inf, device=logits.device)
    whole, labels = best.clone(), torch.zeros(size_hw, dtype=torch.int64, device=logits.device)
    at_once = max(1, _PIXELS_AT_ONCE // prod(size_hw))
    for start in range(0, len(logits), at_once):
        few = F.interpolate(logits[None, start : start + at_once], size=size_hw, mode="bilinear")[0]
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
