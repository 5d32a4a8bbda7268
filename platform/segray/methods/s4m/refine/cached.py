"""Masks from a label job's store, made once for the whole image (docs/methods/s4m.md#cached-refinement).

Knows `Instances` and how a view shows them. Does not know how they are kept.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from typing_extensions import override

from segray.masks.instances import Instances
from segray.masks.view import View
from segray.methods.s4m.config import CachedRefinement
from segray.methods.s4m.pseudo_labels import TeacherPredictions
from segray.methods.s4m.refine.refiner import RefinedLabels, Refiner, on_canvas, parts, replace_masks, unrefined
from segray.training.augmentation.batch import Batch

Lookup = Callable[[str], Instances | None]
"""An image's automatic masks by its id; None where there are none."""


class CachedRefiner(Refiner):
    """The automatic mask that overlaps the teacher's most in its place, if by enough."""

    def __init__(self, lookup: Lookup, settings: CachedRefinement) -> None:
        self.lookup = lookup
        self.settings = settings

    @override
    @torch.no_grad()
    def refine(self, batch: Batch, predictions: Sequence[TeacherPredictions]) -> list[RefinedLabels]:
        return [self._one(*given) for given in zip(predictions, batch.views, batch.image_ids, strict=True)]

    def _one(self, predictions: TeacherPredictions, view: View, image_id: str) -> RefinedLabels:
        predictions, teacher = on_canvas(predictions, view)
        instances = self.lookup(image_id) if len(predictions) else None
        # Of another size: the store's are of another version of the image.
        if instances is None or instances.size_hw != view.image_hw:
            return unrefined(predictions, teacher)
        masks, index = view.masks(instances)
        if not len(masks):
            return unrefined(predictions, teacher)
        automatic = torch.from_numpy(masks).to(teacher.device)
        iou, best = pairwise_iou(teacher, automatic).max(dim=1)
        scores = torch.from_numpy(instances.scores[index]).to(teacher.device)
        return replace_masks(
            predictions,
            teacher,
            automatic[best],
            predicted_iou=scores[best],
            accepted=iou > 0,
            min_iou=self.settings.min_iou,
        )


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """(N, M) of masks (N, H, W) and (M, H, W), by rows so that few pixels are floats at once."""
    rows, columns = first.shape[1:]
    both = torch.zeros((len(first), len(second)), device=first.device)
    for part in parts(rows, columns * (len(first) + len(second))):
        both += first[:, part].flatten(1).float() @ second[:, part].flatten(1).float().T
    areas = [masks.sum(dim=(1, 2)) for masks in (first, second)]
    return both / (areas[0][:, None] + areas[1] - both).clamp(min=1)
