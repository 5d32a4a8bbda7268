from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor

from segray.config.sam import OriginalSamConfig
from segray.demo.world import scene
from segray.masks.view import View
from segray.methods.s4m.config import PointRefinement
from segray.methods.s4m.pseudo_labels import TeacherPredictions
from segray.methods.s4m.refine.points import PointRefiner, box_points, draw_points
from segray.methods.s4m.refine.refiner import RefinedLabels, on_canvas
from segray.sam.build import build
from segray.sam.protocol import BOX_LOWER_RIGHT, BOX_UPPER_LEFT, PADDING, POSITIVE, Sam
from segray.sam.testing import PaintedSam
from segray.training.augmentation.batch import Batch

SIZE = (32, 32)
TEACHER = (8, 8, 24, 24)
CANDIDATES = [(0, 0, 32, 32), (8, 8, 24, 20), (12, 12, 16, 16)]
"""Of IoU about 1/4, 3/4 and 1/16 with the teacher's."""
VIEW = View(image_hw=SIZE, resized_hw=SIZE, origin_yx=(0, 0), flipped=False, canvas_hw=SIZE)
Whole = Callable[..., View]
Masks = Callable[..., Tensor]
Guess = Callable[[Tensor], TeacherPredictions]
Fixed = Callable[[Tensor, Sequence[float]], Sam]
Refine = Callable[..., list[RefinedLabels]]


@pytest.fixture
def predictions(box_mask: Masks, predictions_of: Guess) -> TeacherPredictions:
    """One, of the teacher's box with its corners rounded by up-scaling."""
    return predictions_of(box_mask(SIZE, TEACHER)[None])


@pytest.fixture
def refine(weak: Callable[..., Batch]) -> Callable[..., list[RefinedLabels]]:
    def go(
        sam: Sam, predictions: Sequence[TeacherPredictions], views: Sequence[View], **settings: object
    ) -> list[RefinedLabels]:
        return PointRefiner(sam, PointRefinement(**settings)).refine(weak(views), predictions)

    return go


@pytest.mark.parametrize("best", [0, 1, 2])
def test_the_candidate_of_highest_predicted_iou_replaces_the_mask(
    refine: Refine, fixed_sam: Fixed, box_mask: Masks, predictions: TeacherPredictions, best: int
) -> None:
    candidates = torch.stack([box_mask(SIZE, box) for box in CANDIDATES])
    scores = [0.5, 0.4, 0.3]
    scores[best] = 0.8
    predictions = predictions.filter(torch.zeros(5, dtype=torch.long))
    (found,) = refine(fixed_sam(candidates, scores), [predictions], [VIEW])
    assert torch.equal(found.masks, candidates[best].expand(5, *SIZE))
    assert found.replaced.all()
    assert found.iou_with_teacher.tolist() == pytest.approx([[1 / 4, 3 / 4, 1 / 16][best]] * 5, abs=0.02)
    assert found.predicted_iou.tolist() == pytest.approx([0.8] * 5)
    assert torch.equal(found.classes, predictions.classes)
    assert torch.equal(found.scores, predictions.scores)


@pytest.mark.parametrize(
    ("gates", "replaced"),
    [
        ({}, True),
        ({"min_teacher_iou": 0.74}, True),
        ({"min_teacher_iou": 0.76}, False),
        ({"min_predicted_iou": 0.59}, True),
        ({"min_predicted_iou": 0.61}, False),
        ({"min_predicted_iou": 0.59, "min_teacher_iou": 0.76}, False),
    ],
)
def test_gates_keep_the_teacher_s_mask(
    refine: Refine,
    fixed_sam: Fixed,
    box_mask: Masks,
    predictions: TeacherPredictions,
    gates: dict[str, float],
    replaced: bool,
) -> None:
    _, teacher = on_canvas(predictions, VIEW)
    sam = fixed_sam(torch.stack([box_mask(SIZE, box) for box in CANDIDATES]), [0.5, 0.6, 0.3])
    (found,) = refine(sam, [predictions], [VIEW], **gates)
    assert found.replaced.tolist() == [replaced]
    assert torch.equal(found.masks[0], box_mask(SIZE, CANDIDATES[1]) if replaced else teacher[0])
    assert found.predicted_iou.tolist() == pytest.approx([0.6])


@pytest.mark.parametrize("box", [False, True])
def test_all_points_and_the_box_prompt_together(
    refine: Refine, fixed_sam: Fixed, box_mask: Masks, predictions_of: Guess, whole: Whole, box: bool
) -> None:
    sam = fixed_sam(torch.ones(3, *SIZE, dtype=torch.bool), [0.1, 0.2, 0.3])
    first, second = (predictions_of(torch.stack([box_mask(SIZE, one)] * 2)) for one in (TEACHER, (0, 16, 12, 32)))
    refine(sam, [first, first.filter(torch.zeros(0, dtype=torch.long)), second], [whole(SIZE)] * 3, box=box)
    assert sam.embedded == [2]
    assert [prompts.image_index.tolist() for prompts in sam.asked] == [[0, 0], [1, 1]]
    kinds = [POSITIVE] * 3 + [BOX_UPPER_LEFT, BOX_LOWER_RIGHT] * box
    for prompts, (x0, y0, x1, y1) in zip(sam.asked, [(8, 8, 24, 24), (0, 16, 12, 32)], strict=True):
        assert prompts.multimask
        assert prompts.labels.tolist() == [kinds] * 2
        points = prompts.points_xy[:, :3]
        assert all(len({tuple(point) for point in of_one.tolist()}) == 3 for of_one in points)
        assert ((points > torch.tensor([x0, y0])) & (points < torch.tensor([x1, y1]))).all()
        # The teacher's mask is up-scaled from stride 4; its box may be off by two pixels.
        corners = torch.tensor([[x0, y0], [x1, y1]])
        assert (prompts.points_xy[:, 3:] - corners[: 2 * box]).abs().le(2).all()


def test_images_without_guesses_pass_through_and_sam_is_not_asked(
    refine: Refine, fixed_sam: Fixed, whole: Whole
) -> None:
    sam = fixed_sam(torch.ones(3, *SIZE, dtype=torch.bool), [0.1, 0.2, 0.3])
    none = TeacherPredictions(
        classes=torch.zeros(0, dtype=torch.long), scores=torch.zeros(0), logits=torch.zeros(0, 8, 8)
    )
    found = refine(sam, [none, none], [whole(SIZE)] * 2, box=True)
    assert [one.masks.shape for one in found] == [(0, 32, 32)] * 2
    assert found[0].predicted_iou.shape == (0,)
    assert sam.embedded == []


def test_padding_belongs_to_no_mask_and_what_is_left_empty_is_the_teacher_s(
    refine: Refine, fixed_sam: Fixed, box_mask: Masks, predictions_of: Guess, whole: Whole
) -> None:
    teacher = box_mask(SIZE, (0, 0, 32, 32))[None]
    everything, below = (box_mask(SIZE, box)[None] for box in [(0, 0, 32, 32), (0, 20, 32, 32)])
    view = whole((20, 28), SIZE)
    (found,) = refine(fixed_sam(everything, [0.9]), [predictions_of(teacher)], [view])
    assert torch.equal(found.masks[0], box_mask(SIZE, (0, 0, 28, 20)))
    assert found.replaced.all()
    (found,) = refine(fixed_sam(below, [0.9]), [predictions_of(teacher)], [view])
    assert torch.equal(found.masks[0], box_mask(SIZE, (0, 0, 28, 20)))
    assert not found.replaced.any()


def test_a_guess_in_which_no_point_can_lie_keeps_its_mask(refine: Refine, fixed_sam: Fixed, whole: Whole) -> None:
    """Of one cell, whose centre is beyond the image's border though some of its pixels are not."""
    logits = torch.full((1, 8, 8), -6.0)
    logits[0, 0, 4] = 20.0
    predictions = TeacherPredictions(classes=torch.zeros(1, dtype=torch.long), scores=torch.ones(1), logits=logits)
    sam = fixed_sam(torch.ones(1, *SIZE, dtype=torch.bool), [0.9])
    (found,) = refine(sam, [predictions], [whole((32, 17), SIZE)])
    assert found.replaced.tolist() == [False]
    assert found.masks.any()


def test_sam_sees_the_pixels_of_each_image(
    weak: Callable[..., Batch], box_mask: Masks, predictions_of: Guess, whole: Whole
) -> None:
    things = [(0, 0, 16, 16), (16, 8, 32, 28)]
    images = torch.zeros(2, 3, *SIZE, dtype=torch.uint8)
    for image, thing in zip(images, things, strict=True):
        image[0] = box_mask(SIZE, thing)
    predictions = [predictions_of(box_mask(SIZE, box)[None]) for box in [(4, 4, 12, 12), (20, 12, 28, 24)]]
    sam = PaintedSam(low=32, prompts_at_once=16, most_prompts=1)
    refiner = PointRefiner(sam, PointRefinement())
    found = refiner.refine(weak([whole(SIZE)] * 2, images), predictions)
    for one, thing in zip(found, things, strict=True):
        assert torch.equal(one.masks[0], box_mask(SIZE, thing))
    assert sam.asked == [1, 1]


@pytest.mark.parametrize("box", [False, True])
def test_images_together_are_images_one_by_one_with_sam_nano(
    weak: Callable[..., Batch], predictions_of: Guess, whole: Whole, box: bool
) -> None:
    scenes = [scene("b", seed, 128) for seed in (5, 6, 7)]
    images = torch.stack([torch.from_numpy(one.image).permute(2, 0, 1) for one in scenes])
    truths = [torch.stack([torch.from_numpy(item.mask) for item in one.objects]) for one in scenes]
    predictions = [predictions_of(masks) for masks in truths]
    refiner = PointRefiner(build(OriginalSamConfig(device="cpu")), PointRefinement(box=box))

    def run(rows: Sequence[int]) -> list[RefinedLabels]:
        batch = weak([whole((128, 128))] * len(rows), images[list(rows)])
        return refiner.refine(replace(batch, keys=tuple(rows)), [predictions[row] for row in rows])

    for row, together in enumerate(run([0, 1, 2])):
        (alone,) = run([row])
        # Sums in another order may turn a pixel over at the border of a mask.
        assert (together.masks != alone.masks).sum() <= 3
        assert torch.allclose(together.predicted_iou, alone.predicted_iou, atol=1e-4)
        assert len(together) == len(truths[row])
        assert together.iou_with_teacher.mean() > 0.4


def noisy(number: int = 20, threshold: float = 0.0) -> TeacherPredictions:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn((number, 16, 24), generator=generator)
    return TeacherPredictions(
        classes=torch.zeros(number), scores=torch.ones(number), logits=logits, threshold=threshold
    )


def cells_of(points: torch.Tensor) -> torch.Tensor:
    """Row and column of the stride-4 cell of each point; the points must be cell centres."""
    assert torch.equal(points % 4, torch.full_like(points, 2))
    return (points // 4).long().flip(-1)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
@pytest.mark.parametrize("num_points", [1, 3, 5])
def test_points_are_different_cell_centres_inside_the_mask(whole: Whole, num_points: int, threshold: float) -> None:
    predictions = noisy(threshold=threshold)
    points, labels = draw_points(predictions, whole((64, 96)), num_points=num_points, distribution="probability", key=0)
    assert points.shape == (20, num_points, 2)
    assert torch.equal(labels, torch.full((20, num_points), POSITIVE))
    for cells, logits in zip(cells_of(points), predictions.logits, strict=True):
        assert len({tuple(cell) for cell in cells.tolist()}) == num_points
        assert (logits[cells[:, 0], cells[:, 1]] > threshold).all()


@pytest.mark.parametrize("num_points", [3, 5, 16 * 24])
def test_points_of_a_softmax_are_different_cell_centres_of_the_image(whole: Whole, num_points: int) -> None:
    points, labels = draw_points(noisy(), whole((64, 96)), num_points=num_points, distribution="softmax", key=0)
    assert torch.equal(labels, torch.full((20, num_points), POSITIVE))
    for cells in cells_of(points):
        assert len({tuple(cell) for cell in cells.tolist()}) == num_points
        assert (cells >= 0).all()
        assert (cells < torch.tensor([16, 24])).all()


@pytest.mark.parametrize(("inside", "num_points"), [(0, 3), (1, 3), (2, 3), (3, 3), (2, 70)])
def test_where_cells_run_out_points_are_padding(whole: Whole, inside: int, num_points: int) -> None:
    logits = torch.full((1, 64), -5.0)
    logits[0, :inside] = 5.0
    predictions = TeacherPredictions(classes=torch.zeros(1), scores=torch.ones(1), logits=logits.view(1, 8, 8))
    points, labels = draw_points(predictions, whole((32, 32)), num_points=num_points, distribution="probability", key=1)
    assert points.shape == (1, num_points, 2)
    assert labels[0].tolist() == [POSITIVE] * inside + [PADDING] * (num_points - inside)
    assert sorted(cells_of(points[0, :inside]).tolist()) == [[0, column] for column in range(inside)]


@pytest.mark.parametrize("distribution", ["probability", "softmax"])
def test_no_point_lies_outside_the_image(whole: Whole, distribution: Literal["probability", "softmax"]) -> None:
    view = whole((41, 22), (64, 96))
    points, labels = draw_points(noisy(), view, num_points=5, distribution=distribution, key=0)
    assert (labels == POSITIVE).all()
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
    predictions = TeacherPredictions(
        classes=torch.zeros(number), scores=torch.ones(number), logits=logits.expand(number, 2, 2).contiguous()
    )
    points, _ = draw_points(predictions, whole((8, 8)), num_points=2, distribution=distribution, key=5)
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
