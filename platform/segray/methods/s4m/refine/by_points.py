"""S4M's refinement: masks by SAM from points drawn inside the teacher's masks (docs/methods/s4m.md#refinement).

Knows prompts and the `Sam` protocol. Knows no particular model and no training.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from segray.masks.view import View
from segray.methods.s4m.config import PointRefinement
from segray.methods.s4m.pseudo_labels import Guesses
from segray.methods.s4m.refine.points import box_points, draw_points
from segray.methods.s4m.refine.refiner import Refined, Refiner, clear_padding, on_canvas, parts, replace_masks
from segray.nets.batching import ShrinkingBatches
from segray.sam.protocol import PADDING, Embedding, Prompts, Sam


@dataclass(frozen=True, kw_only=True, eq=False)
class _Question:
    """What SAM is asked of one image."""

    guesses: Guesses
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
    def refine(
        self,
        images: Tensor,
        views: Sequence[View],
        guesses: Sequence[Guesses],
        *,
        keys: Sequence[int],
        image_ids: Sequence[str],
    ) -> list[Refined]:
        """See `Refiner.refine`. SAM sees each image that has a guess once, and as many prompts at once as suit it."""
        questions = [self._question(*given) for given in zip(guesses, views, keys, strict=True)]
        every = zip(questions, views, self._offers(images, questions), strict=True)
        return [self._choose(question, view, *offer) for question, view, offer in every]

    def _question(self, guesses: Guesses, view: View, key: int) -> _Question:
        guesses, teacher = on_canvas(guesses, view)
        settings = self.settings
        points, labels = draw_points(
            guesses, view, num_points=settings.num_points, distribution=settings.distribution, key=key
        )
        drawn = (labels != PADDING).any(dim=1)
        if settings.box:
            corners, kinds = box_points(teacher)
            points, labels = torch.cat([points, corners], dim=1), torch.cat([labels, kinds], dim=1)
        return _Question(guesses=guesses, teacher=teacher, points_xy=points, labels=labels, drawn=drawn)

    def _offers(self, images: Tensor, questions: Sequence[_Question]) -> list[tuple[Tensor, Tensor]]:
        """SAM's masks (N, H, W) of each image's questions and its predicted IoU of them (N,)."""
        counts = [len(one.guesses) for one in questions]
        asked = [number for number, count in enumerate(counts) if count]
        if not asked:
            return [(one.teacher, one.guesses.scores) for one in questions]
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

    def _choose(self, question: _Question, view: View, offered: Tensor, predicted: Tensor) -> Refined:
        clear_padding(offered, view)
        return replace_masks(
            question.guesses,
            question.teacher,
            offered,
            predicted_iou=predicted,
            accepted=question.drawn & (predicted >= self.settings.min_predicted_iou),
            min_iou=self.settings.min_teacher_iou,
        )
