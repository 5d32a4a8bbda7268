"""Points that prompt SAM for a teacher's guess (docs/methods/s4m.md#prompt-points). Knows no SAM."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from segray import keyed_random
from segray.masks.view import View
from segray.methods.s4m.pseudo_labels import Guesses
from segray.sam.protocol import BOX_LOWER_RIGHT, BOX_UPPER_LEFT, FOREGROUND, PADDING


def draw_points(
    guesses: Guesses, view: View, *, num_points: int, distribution: Literal["probability", "softmax"], key: int
) -> tuple[Tensor, Tensor]:
    """K different cells of each guess: their centres (N, K, 2), canvas pixels x and y, and labels (N, K).

    Cells are drawn one after the other without replacement, with chances in proportion to the mask's probability
    inside the mask (`probability`) or to the exponential of its logit everywhere (`softmax`). Cells outside the image
    are never drawn. Where fewer than K cells can be, the last points are PADDING.
    """
    rows, columns = guesses.logits.shape[1:]
    weights = _log_weights(guesses, distribution).masked_fill(~_in_image(guesses.logits, view), -torch.inf)
    # The K largest of log-weight plus Gumbel noise are K successive draws; a Gumbel is minus the log of an exponential.
    generator = torch.Generator(weights.device).manual_seed(keyed_random.key(key, "points"))
    noise = torch.empty_like(weights).exponential_(generator=generator).log()
    lots, cells = (weights - noise).flatten(1).topk(min(num_points, rows * columns), dim=1)
    stride = weights.new_tensor([view.canvas_hw[1] / columns, view.canvas_hw[0] / rows])
    points = (torch.stack([cells % columns, cells // columns], dim=2) + 0.5) * stride
    labels = torch.where(lots.isfinite(), FOREGROUND, PADDING)
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


def _log_weights(guesses: Guesses, distribution: Literal["probability", "softmax"]) -> Tensor:
    if distribution == "softmax":
        return guesses.logits
    return F.logsigmoid(guesses.logits).masked_fill(guesses.logits <= guesses.threshold, -torch.inf)


def _in_image(logits: Tensor, view: View) -> Tensor:
    """(h, w) whether a cell's centre lies in the image."""
    inside = [
        (torch.arange(cells, device=logits.device) + 0.5) * (canvas / cells) < valid
        for cells, canvas, valid in zip(logits.shape[1:], view.canvas_hw, view.valid_hw, strict=True)
    ]
    return inside[0][:, None] & inside[1]
