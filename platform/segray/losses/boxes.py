"""Boxes of masks, what pairs of boxes cost in matching, and their losses (Carion et al. 2020, arXiv 2005.12872).

A box is centre x and y, width and height, in shares of the canvas. Knows no classes and no masks but for their boxes.
"""

import torch
from torch import Tensor
from torchvision.ops import box_convert, generalized_box_iou, generalized_box_iou_loss


def boxes_of(masks: Tensor) -> Tensor:
    """Return the boxes (N, 4) of masks (N, h, w); of an empty mask the empty box in the corner."""
    ends = []
    for dim in (1, 2):
        seen = masks.any(dim=dim).byte()
        if not seen.shape[0]:
            return torch.zeros(0, 4, device=masks.device)
        size = seen.shape[1]
        first, last = seen.argmax(dim=1), size - seen.flip(1).argmax(dim=1)
        ends.append(torch.stack([first, torch.where(seen.bool().any(1), last, first)], dim=1) / size)
    across, down = ends
    corners = torch.stack([across[:, 0], down[:, 0], across[:, 1], down[:, 1]], dim=1)
    found: Tensor = box_convert(corners, "xyxy", "cxcywh")
    return found


def box_costs(boxes: Tensor, true: Tensor, *, box_weight: float, giou_weight: float) -> Tensor:
    """Return the cost (B, Q, N) of pairing boxes (B, Q, 4) with true ones (B, N, 4)."""
    distance = torch.cdist(boxes, true, p=1)
    overlap = [generalized_box_iou(_corners(one), _corners(other)) for one, other in zip(boxes, true, strict=True)]
    return box_weight * distance - giou_weight * torch.stack(overlap)


def box_losses(boxes: Tensor, true: Tensor) -> Tensor:
    """Return the L1 distance and 1 - generalised IoU of pairs of boxes (R, 4), each summed over the pairs: (2,)."""
    distance = (boxes - true).abs().sum()
    return torch.stack([distance, generalized_box_iou_loss(_corners(boxes), _corners(true), reduction="sum")])


def _corners(boxes: Tensor) -> Tensor:
    corners: Tensor = box_convert(boxes, "cxcywh", "xyxy")
    return corners
