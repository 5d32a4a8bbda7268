"""A SAM whose candidates and scores the test sets, and canvases to show it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from segray.masks.view import View
from segray.methods.s4m.pseudo_labels import TeacherPredictions
from segray.sam.protocol import Decoded, Embedding, Image, Prompts
from segray.training.augmentation.batch import Batch


@dataclass
class FixedSam:
    """Answers prompts with `candidates` (M, H, W), of any image, and `scores` (M,); remembers what it was asked."""

    candidates: Tensor
    scores: Tensor
    prompts_at_once: int = 2
    name: str = "fixed"
    weights_hash: str = "0"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    mask_threshold: float = 0.0
    embedded: list[int] = field(default_factory=list)
    """Images in each call."""
    asked: list[Prompts] = field(default_factory=list)

    def embed(self, images: Sequence[Image]) -> Embedding:
        self.embedded.append(len(images))
        return Embedding(features=images, sizes_hw=tuple((image.shape[0], image.shape[1]) for image in images))

    def decode(self, embedding: Embedding, prompts: Prompts, *, image_tokens: bool = False) -> Decoded:
        assert len(prompts)
        assert not image_tokens
        assert int(prompts.image_index.max()) < len(embedding)
        self.asked.append(prompts)
        return Decoded(scores=self.scores.repeat(len(prompts), 1), prompts=prompts, handle=None)

    def logits(self, decoded: Decoded, keep: Tensor) -> Tensor:
        return self.candidates[keep % decoded.scores.shape[1]].float() * 10 - 5

    def upscale(self, logits: Tensor, size_hw: tuple[int, int]) -> Tensor:
        assert logits.shape[1:] == size_hw
        return logits


@pytest.fixture
def fixed_sam() -> Callable[[Tensor, Sequence[float]], FixedSam]:
    return lambda candidates, scores: FixedSam(candidates, torch.tensor(scores))


@pytest.fixture
def whole() -> Callable[..., View]:
    """The view of an image (h, w) that is shown as it is, on a canvas of its size or a larger one."""

    def view(image_hw: tuple[int, int], canvas_hw: tuple[int, int] | None = None) -> View:
        return View(
            image_hw=image_hw, resized_hw=image_hw, origin_yx=(0, 0), flipped=False, canvas_hw=canvas_hw or image_hw
        )

    return view


@pytest.fixture
def weak() -> Callable[..., Batch]:
    """Weak views, black ones unless given; keys count from 10, ids are numbers unless given."""

    def make(views: Sequence[View], images: Tensor | None = None, ids: Sequence[str] = ()) -> Batch:
        number = len(views)
        return Batch(
            image_ids=tuple(ids) or tuple(map(str, range(number))),
            keys=tuple(range(10, 10 + number)),
            images=torch.zeros((number, 3, *views[0].canvas_hw), dtype=torch.uint8) if images is None else images,
            views=tuple(views),
            targets=(),
        )

    return make


@pytest.fixture
def predictions_of() -> Callable[[Tensor], TeacherPredictions]:
    """Sure predictions of masks (N, H, W) whose sides are multiples of 4, at stride 4."""

    def make(masks: Tensor) -> TeacherPredictions:
        cells = masks[:, 2::4, 2::4]
        return TeacherPredictions(
            classes=torch.arange(len(masks)),
            scores=torch.linspace(0.8, 0.9, len(masks)),
            logits=torch.where(cells, 6.0, -6.0),
        )

    return make


@pytest.fixture
def box_mask() -> Callable[..., Tensor]:
    """(H, W) bool, true in a box x0, y0, x1, y1."""

    def mask(size_hw: tuple[int, int], box: tuple[int, int, int, int]) -> Tensor:
        canvas = torch.zeros(size_hw, dtype=torch.bool)
        canvas[box[1] : box[3], box[0] : box[2]] = True
        return canvas

    return mask
