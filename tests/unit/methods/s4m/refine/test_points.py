from collections.abc import Callable
from typing import Literal

import pytest
import torch

from segray.masks.view import View
from segray.methods.s4m.pseudo_labels import Guesses
from segray.methods.s4m.refine.points import box_points, draw_points
from segray.sam.protocol import BOX_LOWER_RIGHT, BOX_UPPER_LEFT, FOREGROUND, PADDING

Whole = Callable[..., View]


def noisy(number: int = 20, threshold: float = 0.0) -> Guesses:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn((number, 16, 24), generator=generator)
    return Guesses(classes=torch.zeros(number), scores=torch.ones(number), logits=logits, threshold=threshold)


def cells_of(points: torch.Tensor) -> torch.Tensor:
    """Row and column of the stride-4 cell of each point; the points must be cell centres."""
    assert torch.equal(points % 4, torch.full_like(points, 2))
    return (points // 4).long().flip(-1)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
@pytest.mark.parametrize("num_points", [1, 3, 5])
def test_points_are_different_cell_centres_inside_the_mask(whole: Whole, num_points: int, threshold: float) -> None:
    guesses = noisy(threshold=threshold)
    points, labels = draw_points(guesses, whole((64, 96)), num_points=num_points, distribution="probability", key=0)
    assert points.shape == (20, num_points, 2)
    assert torch.equal(labels, torch.full((20, num_points), FOREGROUND))
    for cells, logits in zip(cells_of(points), guesses.logits, strict=True):
        assert len({tuple(cell) for cell in cells.tolist()}) == num_points
        assert (logits[cells[:, 0], cells[:, 1]] > threshold).all()


@pytest.mark.parametrize("num_points", [3, 5, 16 * 24])
def test_points_of_a_softmax_are_different_cell_centres_of_the_image(whole: Whole, num_points: int) -> None:
    points, labels = draw_points(noisy(), whole((64, 96)), num_points=num_points, distribution="softmax", key=0)
    assert torch.equal(labels, torch.full((20, num_points), FOREGROUND))
    for cells in cells_of(points):
        assert len({tuple(cell) for cell in cells.tolist()}) == num_points
        assert (cells >= 0).all()
        assert (cells < torch.tensor([16, 24])).all()


@pytest.mark.parametrize(("inside", "num_points"), [(0, 3), (1, 3), (2, 3), (3, 3), (2, 70)])
def test_where_cells_run_out_points_are_padding(whole: Whole, inside: int, num_points: int) -> None:
    logits = torch.full((1, 64), -5.0)
    logits[0, :inside] = 5.0
    guesses = Guesses(classes=torch.zeros(1), scores=torch.ones(1), logits=logits.view(1, 8, 8))
    points, labels = draw_points(guesses, whole((32, 32)), num_points=num_points, distribution="probability", key=1)
    assert points.shape == (1, num_points, 2)
    assert labels[0].tolist() == [FOREGROUND] * inside + [PADDING] * (num_points - inside)
    assert sorted(cells_of(points[0, :inside]).tolist()) == [[0, column] for column in range(inside)]


@pytest.mark.parametrize("distribution", ["probability", "softmax"])
def test_no_point_lies_outside_the_image(whole: Whole, distribution: Literal["probability", "softmax"]) -> None:
    view = whole((41, 22), (64, 96))
    points, labels = draw_points(noisy(), view, num_points=5, distribution=distribution, key=0)
    assert (labels == FOREGROUND).all()
    assert points[..., 0].max() < 22
    assert points[..., 1].max() < 41


@pytest.mark.parametrize("distribution", ["probability", "softmax"])
def test_chances_are_those_of_drawing_without_replacement(
    whole: Whole, distribution: Literal["probability", "softmax"]
) -> None:
    logits = torch.tensor([[2.0, 1.0], [-0.5, 0.5]])
    weights = logits.exp() if distribution == "softmax" else logits.sigmoid() * (logits > 0)
    first = (weights / weights.sum()).flatten()
    # [second, first]: of two different cells, in this order.
    in_order = first[:, None] * (first / (1 - first)) * (1 - torch.eye(4))
    either = first + in_order.sum(dim=1)
    assert float(either.sum()) == pytest.approx(2)

    number = 20_000
    guesses = Guesses(
        classes=torch.zeros(number), scores=torch.ones(number), logits=logits.expand(number, 2, 2).contiguous()
    )
    points, _ = draw_points(guesses, whole((8, 8)), num_points=2, distribution=distribution, key=5)
    cells = cells_of(points)
    drawn = cells[..., 0] * 2 + cells[..., 1]
    # 4 standard deviations of a share of 20,000 draws.
    assert (drawn[:, 0].bincount(minlength=4) / number).tolist() == pytest.approx(first.tolist(), abs=0.014)
    assert (drawn.flatten().bincount(minlength=4) / number).tolist() == pytest.approx(either.tolist(), abs=0.014)


def test_a_key_is_a_draw(whole: Whole) -> None:
    def draw(key: int) -> torch.Tensor:
        return draw_points(noisy(), whole((64, 96)), num_points=3, distribution="probability", key=key)[0]

    before = torch.random.get_rng_state()
    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    assert torch.equal(before, torch.random.get_rng_state())


def test_boxes_are_tight(box_mask: Callable[..., torch.Tensor]) -> None:
    boxes = [(3, 5, 9, 6), (0, 0, 32, 16), (31, 15, 32, 16)]
    masks = torch.stack([box_mask((16, 32), box) for box in boxes])
    points, labels = box_points(masks)
    assert points.flatten(1).tolist() == [list(box) for box in boxes]
    assert labels.tolist() == [[BOX_UPPER_LEFT, BOX_LOWER_RIGHT]] * 3
    assert box_points(masks[:0])[0].shape == (0, 2, 2)
