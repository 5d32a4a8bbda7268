"""S4M's refinement: masks by SAM from points drawn inside the teacher's masks (docs/methods/s4m.md#refinement).

Knows prompts and the `Sam` protocol. Knows no particular model and no training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from segray import keyed_random
from segray.masks.view import View
from segray.methods.s4m.config import PointRefinement
from segray.methods.s4m.pseudo_labels import TeacherPredictions
from segray.methods.s4m.refine.refiner import RefinedLabels, Refiner, clear_padding, on_canvas, parts, replace_masks
from segray.nets.batching import ShrinkingBatches
from segray.sam.protocol import BOX_LOWER_RIGHT, BOX_UPPER_LEFT, PADDING, POSITIVE, Embedding, Prompts, Sam
from segray.training.augmentation.batch import Batch


@dataclass(frozen=True, kw_only=True, eq=False)
class _Question:
    """What SAM is asked of one image."""

    predictions: TeacherPredictions
    teacher: Tensor
    """(N, H, W) bool."""
    points_xy: Tensor
    """(N, K, 2)."""
    labels: Tensor
    """(N, K)."""
    drawn: Tensor
    """(N,) bool, whether any point could be drawn."""


class PointRefiner(Refiner):
    """SAM's mask of highest predicted IoU in place of the teacher's, unless a gate of the settings keeps that."""

    def __init__(self, sam: Sam, settings: PointRefinement) -> None:
        self.sam = sam
        self.settings = settings
        self._batches = ShrinkingBatches(sam.prompts_at_once)

    @override
    @torch.no_grad()
    def refine(self, batch: Batch, predictions: Sequence[TeacherPredictions]) -> list[RefinedLabels]:
        """Ask SAM once about each image that has a guess, with as many prompts at once as suit it."""
        questions = [self._question(*given) for given in zip(predictions, batch.views, batch.keys, strict=True)]
        every = zip(questions, batch.views, self._offers(batch.images, questions), strict=True)
        return [self._choose(question, view, *offer) for question, view, offer in every]

    def _question(self, predictions: TeacherPredictions, view: View, key: int) -> _Question:
        predictions, teacher = on_canvas(predictions, view)
        settings = self.settings
        points, labels = draw_points(
            predictions, view, num_points=settings.num_points, distribution=settings.distribution, key=key
        )
        drawn = (labels != PADDING).any(dim=1)
        if settings.box:
            corners, kinds = box_points(teacher)
            points, labels = torch.cat([points, corners], dim=1), torch.cat([labels, kinds], dim=1)
        return _Question(predictions=predictions, teacher=teacher, points_xy=points, labels=labels, drawn=drawn)

    def _offers(self, images: Tensor, questions: Sequence[_Question]) -> list[tuple[Tensor, Tensor]]:
        """SAM's masks (N, H, W) of each image's questions and its predicted IoU of them (N,)."""
        counts = [len(one.predictions) for one in questions]
        asked = [number for number, count in enumerate(counts) if count]
        if not asked:
            return [(one.teacher, one.predictions.scores) for one in questions]
        pixels = images[asked].permute(0, 2, 3, 1).contiguous().cpu().numpy()
        embedding = self.sam.embed(list(pixels))
        index = torch.arange(len(asked)).repeat_interleave(torch.tensor([counts[number] for number in asked]))
        points = torch.cat([one.points_xy for one in questions])
        labels = torch.cat([one.labels for one in questions])

        def answer(part: slice) -> tuple[Tensor, Tensor]:
            return self._answer(
                embedding, Prompts(image_index=index[part], points_xy=points[part], labels=labels[part])
            )

        masks, scores = zip(*self._batches.map(len(index), answer), strict=True)
        device = points.device
        every = (torch.split(torch.cat(column).to(device), counts) for column in (masks, scores))
        return list(zip(*every, strict=True))

    def _answer(self, embedding: Embedding, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """The mask of highest predicted IoU of each prompt, (P, H, W) bool, and that IoU (P,)."""
        size_hw = embedding.sizes_hw[0]
        decoded = self.sam.decode(embedding, prompts)
        scores, best = decoded.scores.max(dim=1)
        answers = torch.arange(len(best), device=best.device) * decoded.scores.shape[1] + best
        logits = self.sam.logits(decoded, answers)
        masks = torch.empty((len(logits), *size_hw), dtype=torch.bool, device=logits.device)
        for part in parts(len(logits), size_hw[0] * size_hw[1]):
            masks[part] = self.sam.upscale(logits[part], size_hw) > self.sam.mask_threshold
        return masks, scores

    def _choose(self, question: _Question, view: View, offered: Tensor, predicted: Tensor) -> RefinedLabels:
        clear_padding(offered, view)
        return replace_masks(
            question.predictions,
            question.teacher,
            offered,
            predicted_iou=predicted,
            accepted=question.drawn & (predicted >= self.settings.min_predicted_iou),
            min_iou=self.settings.min_teacher_iou,
        )


def draw_points(
    predictions: TeacherPredictions,
    view: View,
    *,
    num_points: int,
    distribution: Literal["probability", "softmax"],
    key: int,
) -> tuple[Tensor, Tensor]:
    """Draw K different cells of each guess (docs/methods/s4m.md#prompt-points).

    Returns their centres (N, K, 2), canvas pixels x and y, and labels (N, K).

    Cells are drawn one after the other without replacement, with chances in proportion to the mask's probability
    inside the mask (`probability`) or to the exponential of its logit everywhere (`softmax`). Cells outside the image
    are never drawn. Where fewer than K cells can be, the last points are PADDING.
    """
    rows, columns = predictions.logits.shape[1:]
    weights = _log_weights(predictions, distribution).masked_fill(~_in_image(predictions.logits, view), -torch.inf)
    # The K largest of log-weight plus Gumbel noise are K successive draws; a Gumbel is minus the log of an exponential.
    generator = torch.Generator(weights.device).manual_seed(keyed_random.key(key, "points"))
    noise = torch.empty_like(weights).exponential_(generator=generator).log()
    lots, cells = (weights - noise).flatten(1).topk(min(num_points, rows * columns), dim=1)
    stride = weights.new_tensor([view.canvas_hw[1] / columns, view.canvas_hw[0] / rows])
    points = (torch.stack([cells % columns, cells // columns], dim=2) + 0.5) * stride
    labels = torch.where(lots.isfinite(), POSITIVE, PADDING)
    missing = num_points - labels.shape[1]
    return F.pad(points, (0, 0, 0, missing)), F.pad(labels, (0, missing), value=PADDING)


def box_points(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes of masks (N, H, W), none empty, as points (N, 2, 2), the second exclusive, and labels (N, 2)."""
    ends = []
    for cells in (masks.any(dim=1), masks.any(dim=2)):
        first = cells.byte().argmax(dim=1)
        last = cells.shape[1] - cells.byte().flip(1).argmax(dim=1)
        ends.append(torch.stack([first, last], dim=1))
    labels = torch.tensor([BOX_UPPER_LEFT, BOX_LOWER_RIGHT], device=masks.device)
    return torch.stack(ends, dim=2).float(), labels.expand(len(masks), 2)


def _log_weights(predictions: TeacherPredictions, distribution: Literal["probability", "softmax"]) -> Tensor:
    if distribution == "softmax":
        return predictions.logits
    return F.logsigmoid(predictions.logits).masked_fill(predictions.logits <= predictions.threshold, -torch.inf)


def _in_image(logits: Tensor, view: View) -> Tensor:
    """(h, w) whether a cell's centre lies in the image."""
    inside = [
        (torch.arange(cells, device=logits.device) + 0.5) * (canvas / cells) < valid
        for cells, canvas, valid in zip(logits.shape[1:], view.canvas_hw, view.valid_hw, strict=True)
    ]
    return inside[0][:, None] & inside[1]
