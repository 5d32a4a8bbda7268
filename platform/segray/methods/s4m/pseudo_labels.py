"""The filter that turns a teacher's queries into labels (docs/methods/guided-distillation.md#pseudo-labels).

Knows class and mask logits. Does not know images, canvases, nor how masks are made better.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from segray.methods.s4m.config import PseudoLabels


@dataclass(frozen=True, kw_only=True, eq=False)
class TeacherPredictions:
    """N objects that a teacher finds in one image."""

    classes: Tensor
    """(N,) int64."""
    scores: Tensor
    """(N,) class probability."""
    logits: Tensor
    """(N, h, w) float32 mask logits over the whole canvas, at stride 4."""
    threshold: float = 0.0
    """Logit above which a cell is inside."""

    def __len__(self) -> int:
        return len(self.classes)

    def filter(self, keep: Tensor) -> "TeacherPredictions":
        """Those that `keep` names, by truth value or by index."""
        return TeacherPredictions(
            classes=self.classes[keep], scores=self.scores[keep], logits=self.logits[keep], threshold=self.threshold
        )


@torch.no_grad()
def select_predictions(class_logits: Tensor, mask_logits: Tensor, settings: PseudoLabels) -> list[TeacherPredictions]:
    """The predictions of each of B images, by query; on a GPU, two synchronisations whatever B is.

    Args:
        class_logits: (B, Q, K + 1), the last class "no object".
        mask_logits: (B, Q, h, w).
        settings: a query stays when its most probable class is an object, is probable enough, the sum of its mask
            probabilities is large enough, and its binary mask is not empty; of two that overlap too much, the surer.
    """
    threshold = torch.tensor(settings.mask_threshold).logit().item()
    scores, classes = class_logits.float().softmax(dim=-1).max(dim=-1)
    is_object = classes < class_logits.shape[-1] - 1
    soft_area = mask_logits.float().sigmoid().mean(dim=(2, 3))
    not_empty = mask_logits.amax(dim=(2, 3)) > threshold
    keep = is_object & (scores > settings.score_threshold) & (soft_area > settings.min_soft_area) & not_empty
    found = _by_image(keep, classes, scores, mask_logits, threshold)
    return found if settings.max_overlap == 1 else [_apart(one, settings.max_overlap) for one in found]


def _apart(predictions: TeacherPredictions, max_overlap: float) -> TeacherPredictions:
    """Without those whose masks overlap a surer one's too much."""
    masks = (predictions.logits > predictions.threshold).flatten(1).float()
    shared, areas = masks @ masks.T, masks.sum(dim=1)
    overlap = (shared / (areas[:, None] + areas - shared)).cpu()
    kept: list[int] = []
    for index in predictions.scores.argsort(descending=True, stable=True).tolist():
        if bool((overlap[index, kept] <= max_overlap).all()):
            kept.append(index)
    return predictions.filter(torch.tensor(sorted(kept), dtype=torch.long, device=masks.device))


def _by_image(
    keep: Tensor, classes: Tensor, scores: Tensor, mask_logits: Tensor, threshold: float
) -> list[TeacherPredictions]:
    image, query = keep.nonzero(as_tuple=True)
    counts: list[int] = keep.sum(dim=1).tolist()
    columns = (torch.split(part[image, query], counts) for part in (classes, scores, mask_logits))
    return [
        TeacherPredictions(classes=own_classes, scores=own_scores, logits=own_logits.float(), threshold=threshold)
        for own_classes, own_scores, own_logits in zip(*columns, strict=True)
    ]
