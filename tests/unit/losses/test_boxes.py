"""Boxes of masks, and their costs and losses, by hand."""

import pytest
import torch

from segray.losses.boxes import box_costs, box_losses, boxes_of


def test_boxes_of_masks_by_hand():
    masks = torch.zeros(3, 10, 20, dtype=torch.bool)
    masks[0, 2:6, 5:15] = True
    masks[1, 9, 19] = True
    expected = [[0.5, 0.4, 0.5, 0.4], [0.975, 0.95, 0.05, 0.1], [0, 0, 0, 0]]
    torch.testing.assert_close(boxes_of(masks), torch.tensor(expected))
    assert boxes_of(masks[:0]).shape == (0, 4)


LEFT, RIGHT, WHOLE = [0.25, 0.5, 0.5, 1.0], [0.75, 0.5, 0.5, 1.0], [0.5, 0.5, 1.0, 1.0]


@pytest.mark.parametrize(
    ("one", "other", "distance", "giou"),
    [
        (LEFT, LEFT, 0, 1),
        (LEFT, WHOLE, 0.75, 0.5),
        # Side by side: nothing in common, and nothing between them.
        (LEFT, RIGHT, 0.5, 0),
        # A quarter apart: IoU 0, and a third of what spans both is in neither.
        ([0.125, 0.5, 0.25, 1.0], [0.625, 0.5, 0.25, 1.0], 0.5, -1 / 3),
    ],
)
def test_costs_and_losses_by_hand(one, other, distance, giou):
    ours, theirs = torch.tensor([one]), torch.tensor([other])
    assert box_losses(ours, theirs).tolist() == pytest.approx([distance, 1 - giou], abs=1e-5)
    costs = box_costs(ours[None], theirs[None], box_weight=5, giou_weight=2)
    assert costs.flatten().tolist() == pytest.approx([5 * distance - 2 * giou], abs=1e-5)
