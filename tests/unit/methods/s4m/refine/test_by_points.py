from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from segray.config.sam import OriginalSamConfig
from segray.demo.world import scene
from segray.masks.view import View
from segray.methods.s4m.config import PointRefinement
from segray.methods.s4m.pseudo_labels import Guesses
from segray.methods.s4m.refine.by_points import PointRefiner
from segray.methods.s4m.refine.refiner import Refined, on_canvas
from segray.sam.build import build
from segray.sam.protocol import BOX_LOWER_RIGHT, BOX_UPPER_LEFT, FOREGROUND, Sam
from segray.sam.testing import PaintedSam

SIZE = (32, 32)
TEACHER = (8, 8, 24, 24)
CANDIDATES = [(0, 0, 32, 32), (8, 8, 24, 20), (12, 12, 16, 16)]
"""Of IoU about 1/4, 3/4 and 1/16 with the teacher's."""
VIEW = View(image_hw=SIZE, resized_hw=SIZE, origin_yx=(0, 0), flipped=False, canvas_hw=SIZE)
Whole = Callable[..., View]
Masks = Callable[..., Tensor]
Guess = Callable[[Tensor], Guesses]
Fixed = Callable[[Tensor, Sequence[float]], Sam]


@pytest.fixture
def guesses(box_mask: Masks, guesses_of: Guess) -> Guesses:
    """One, of the teacher's box with its corners rounded by up-scaling."""
    return guesses_of(box_mask(SIZE, TEACHER)[None])


def refine(sam: Sam, guesses: Sequence[Guesses], views: Sequence[View], **settings: object) -> list[Refined]:
    images = torch.zeros((len(views), 3, *views[0].canvas_hw), dtype=torch.uint8)
    names = [str(number) for number in range(len(views))]
    keys = list(range(10, 10 + len(views)))
    return PointRefiner(sam, PointRefinement(**settings)).refine(images, views, guesses, keys=keys, image_ids=names)


@pytest.mark.parametrize("best", [0, 1, 2])
def test_the_candidate_of_highest_predicted_iou_replaces_the_mask(
    fixed_sam: Fixed, box_mask: Masks, guesses: Guesses, best: int
) -> None:
    candidates = torch.stack([box_mask(SIZE, box) for box in CANDIDATES])
    scores = [0.5, 0.4, 0.3]
    scores[best] = 0.8
    guesses = guesses.filter(torch.zeros(5, dtype=torch.long))
    (found,) = refine(fixed_sam(candidates, scores), [guesses], [VIEW])
    assert torch.equal(found.masks, candidates[best].expand(5, *SIZE))
    assert found.replaced.all()
    assert found.iou_with_teacher.tolist() == pytest.approx([[1 / 4, 3 / 4, 1 / 16][best]] * 5, abs=0.02)
    assert found.predicted_iou.tolist() == pytest.approx([0.8] * 5)
    assert torch.equal(found.classes, guesses.classes)
    assert torch.equal(found.scores, guesses.scores)


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
    fixed_sam: Fixed, box_mask: Masks, guesses: Guesses, gates: dict[str, float], replaced: bool
) -> None:
    _, teacher = on_canvas(guesses, VIEW)
    sam = fixed_sam(torch.stack([box_mask(SIZE, box) for box in CANDIDATES]), [0.5, 0.6, 0.3])
    (found,) = refine(sam, [guesses], [VIEW], **gates)
    assert found.replaced.tolist() == [replaced]
    assert torch.equal(found.masks[0], box_mask(SIZE, CANDIDATES[1]) if replaced else teacher[0])
    assert found.predicted_iou.tolist() == pytest.approx([0.6])


@pytest.mark.parametrize("box", [False, True])
def test_all_points_and_the_box_prompt_together(
    fixed_sam: Fixed, box_mask: Masks, guesses_of: Guess, whole: Whole, box: bool
) -> None:
    sam = fixed_sam(torch.ones(3, *SIZE, dtype=torch.bool), [0.1, 0.2, 0.3])
    first, second = (guesses_of(torch.stack([box_mask(SIZE, one)] * 2)) for one in (TEACHER, (0, 16, 12, 32)))
    refine(sam, [first, first.filter(torch.zeros(0, dtype=torch.long)), second], [whole(SIZE)] * 3, box=box)
    assert sam.embedded == [2]
    assert [prompts.image_index.tolist() for prompts in sam.asked] == [[0, 0], [1, 1]]
    kinds = [FOREGROUND] * 3 + [BOX_UPPER_LEFT, BOX_LOWER_RIGHT] * box
    for prompts, (x0, y0, x1, y1) in zip(sam.asked, [(8, 8, 24, 24), (0, 16, 12, 32)], strict=True):
        assert prompts.multimask
        assert prompts.labels.tolist() == [kinds] * 2
        points = prompts.points_xy[:, :3]
        assert all(len({tuple(point) for point in of_one.tolist()}) == 3 for of_one in points)
        assert ((points > torch.tensor([x0, y0])) & (points < torch.tensor([x1, y1]))).all()
        # The teacher's mask is up-scaled from stride 4; its box may be off by two pixels.
        corners = torch.tensor([[x0, y0], [x1, y1]])
        assert (prompts.points_xy[:, 3:] - corners[: 2 * box]).abs().le(2).all()


def test_images_without_guesses_pass_through_and_sam_is_not_asked(fixed_sam: Fixed, whole: Whole) -> None:
    sam = fixed_sam(torch.ones(3, *SIZE, dtype=torch.bool), [0.1, 0.2, 0.3])
    none = Guesses(classes=torch.zeros(0, dtype=torch.long), scores=torch.zeros(0), logits=torch.zeros(0, 8, 8))
    found = refine(sam, [none, none], [whole(SIZE)] * 2, box=True)
    assert [one.masks.shape for one in found] == [(0, 32, 32)] * 2
    assert found[0].predicted_iou.shape == (0,)
    assert sam.embedded == []


def test_padding_belongs_to_no_mask_and_what_is_left_empty_is_the_teacher_s(
    fixed_sam: Fixed, box_mask: Masks, guesses_of: Guess, whole: Whole
) -> None:
    teacher = box_mask(SIZE, (0, 0, 32, 32))[None]
    everything, below = (box_mask(SIZE, box)[None] for box in [(0, 0, 32, 32), (0, 20, 32, 32)])
    view = whole((20, 28), SIZE)
    (found,) = refine(fixed_sam(everything, [0.9]), [guesses_of(teacher)], [view])
    assert torch.equal(found.masks[0], box_mask(SIZE, (0, 0, 28, 20)))
    assert found.replaced.all()
    (found,) = refine(fixed_sam(below, [0.9]), [guesses_of(teacher)], [view])
    assert torch.equal(found.masks[0], box_mask(SIZE, (0, 0, 28, 20)))
    assert not found.replaced.any()


def test_a_guess_in_which_no_point_can_lie_keeps_its_mask(fixed_sam: Fixed, whole: Whole) -> None:
    """Of one cell, whose centre is beyond the image's border though some of its pixels are not."""
    logits = torch.full((1, 8, 8), -6.0)
    logits[0, 0, 4] = 20.0
    guesses = Guesses(classes=torch.zeros(1, dtype=torch.long), scores=torch.ones(1), logits=logits)
    sam = fixed_sam(torch.ones(1, *SIZE, dtype=torch.bool), [0.9])
    (found,) = refine(sam, [guesses], [whole((32, 17), SIZE)])
    assert found.replaced.tolist() == [False]
    assert found.masks.any()


def test_sam_sees_the_pixels_of_each_image(box_mask: Masks, guesses_of: Guess, whole: Whole) -> None:
    things = [(0, 0, 16, 16), (16, 8, 32, 28)]
    images = torch.zeros(2, 3, *SIZE, dtype=torch.uint8)
    for image, thing in zip(images, things, strict=True):
        image[0] = box_mask(SIZE, thing)
    guesses = [guesses_of(box_mask(SIZE, box)[None]) for box in [(4, 4, 12, 12), (20, 12, 28, 24)]]
    sam = PaintedSam(low=32, prompts_at_once=16, most_prompts=1)
    refiner = PointRefiner(sam, PointRefinement())
    found = refiner.refine(images, [whole(SIZE)] * 2, guesses, keys=[0, 1], image_ids=["a", "b"])
    for one, thing in zip(found, things, strict=True):
        assert torch.equal(one.masks[0], box_mask(SIZE, thing))
    assert sam.asked == [1, 1]


@pytest.mark.parametrize("box", [False, True])
def test_images_together_are_images_one_by_one_with_sam_nano(guesses_of: Guess, whole: Whole, box: bool) -> None:
    scenes = [scene("b", seed, 128) for seed in (5, 6, 7)]
    images = torch.stack([torch.from_numpy(one.image).permute(2, 0, 1) for one in scenes])
    truths = [torch.stack([torch.from_numpy(item.mask) for item in one.objects]) for one in scenes]
    guesses = [guesses_of(masks) for masks in truths]
    refiner = PointRefiner(build(OriginalSamConfig(device="cpu")), PointRefinement(box=box))

    def run(rows: Sequence[int]) -> list[Refined]:
        views = [whole((128, 128))] * len(rows)
        names = [str(row) for row in rows]
        return refiner.refine(images[list(rows)], views, [guesses[row] for row in rows], keys=rows, image_ids=names)

    for row, together in enumerate(run([0, 1, 2])):
        (alone,) = run([row])
        # Sums in another order may turn a pixel over at the border of a mask.
        assert (together.masks != alone.masks).sum() <= 3
        assert torch.allclose(together.predicted_iou, alone.predicted_iou, atol=1e-4)
        assert len(together) == len(truths[row])
        assert together.iou_with_teacher.mean() > 0.4
