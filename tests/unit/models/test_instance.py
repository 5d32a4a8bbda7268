import numpy as np
import pytest
import torch

from segray.config.sam import Tiles
from segray.config.students import InstancePredict
from segray.masks.view import View
from segray.models.instance import InstanceStudent, instances, whole_view
from segray.models.student import QueryOutput


def view(image_hw, resized_hw, canvas_hw):
    return View(image_hw=image_hw, resized_hw=resized_hw, origin_yx=(0, 0), flipped=False, canvas_hw=canvas_hw)


def logits(*boxes, size_hw=(16, 16), inside=4.0):
    """(N, h, w): `inside` in each box (x0, y0, x1, y1), its negative outside."""
    out = torch.full((len(boxes), *size_hw), -inside)
    for index, (x0, y0, x1, y1) in enumerate(boxes):
        out[index, y0:y1, x0:x1] = inside
    return out


def test_a_mask_lands_where_the_image_is():
    classes = torch.tensor([[9.0, 0.0, 0.0]])
    found = instances(classes, logits((4, 2, 8, 6)), view((128, 256), (32, 64), (64, 64)), InstancePredict(top_k=1))
    assert found.size_hw == (128, 256)
    np.testing.assert_allclose(found.boxes_xyxy, [[64, 32, 128, 96]], atol=4)
    assert found.provenance.tolist() == ["student"]
    assert found.classes.tolist() == [0]


def test_padding_is_cut_off():
    classes = torch.tensor([[9.0, 0.0]])
    found = instances(classes, logits((0, 0, 16, 16)), view((100, 50), (64, 32), (64, 64)), InstancePredict())
    assert found.areas.tolist() == [5000]
    below = instances(classes, logits((10, 0, 16, 16)), view((100, 50), (64, 32), (64, 64)), InstancePredict())
    assert len(below) == 0, "a mask in the padding alone is none"


def test_scores_are_class_times_mask_probability_best_first():
    classes = torch.tensor([[0.0, 2.0, 0.0], [3.0, 0.0, 0.0]]).log_softmax(-1)
    masks = torch.stack([torch.full((16, 16), 1.0), torch.full((16, 16), 2.0)])
    found = instances(classes, masks, view((64, 64), (64, 64), (64, 64)), InstancePredict(top_k=4))
    chances = classes.exp()[:, :2]
    expected = (chances * torch.tensor([[1.0], [2.0]]).sigmoid()).flatten().sort(descending=True).values
    np.testing.assert_allclose(found.scores, expected, rtol=1e-5)
    assert found.classes.tolist()[:2] == [0, 1]


@pytest.mark.parametrize(("top_k", "threshold", "number"), [(1, 0.0, 1), (100, 0.0, 4), (100, 0.5, 1), (100, 1.0, 0)])
def test_how_many_are_kept(top_k, threshold, number):
    classes = torch.tensor([[5.0, 0.0, 0.0], [0.0, 0.0, 5.0]])
    settings = InstancePredict(top_k=top_k, score_threshold=threshold)
    found = instances(classes, logits((0, 0, 8, 8), (8, 8, 16, 16)), view((64, 64), (64, 64), (64, 64)), settings)
    assert len(found) == number


class Greys(InstanceStudent):
    """Sees each of three greys as a mask of a class of its own."""

    criterion = None
    levels = (60.0, 130.0, 200.0)

    def __init__(self, settings):
        super().__init__(settings, ("dark", "middle", "light"))
        self.shapes = []

    def forward(self, images):
        self.shapes.append(tuple(images.shape))
        grey = torch.nn.functional.avg_pool2d(images[:, :1].float(), 4)
        masks = torch.cat([15 - (grey - level).abs() for level in self.levels], 1)
        classes = 10 * torch.eye(3, 4).expand(len(images), -1, -1)
        return QueryOutput(class_logits=(classes,), mask_logits=(masks,), mask_features=masks)

    def backbone_parameters(self):
        return iter(())


def greys(build, **changes):
    return Greys(build(predict=InstancePredict(score_threshold=0.5, **changes)).settings)


def scene(size_hw, *boxes):
    """Boxes (level, x0, y0, x1, y1) on black."""
    image = np.zeros((*size_hw, 3), np.uint8)
    for level, x0, y0, x1, y1 in boxes:
        image[y0:y1, x0:x1] = level
    return image


def test_images_of_any_size_come_back_in_order_at_their_own(build):
    student = greys(build, side=64)
    sizes = [(40, 200), (64, 64), (300, 100), (200, 1000), (7, 5), (64, 64)]
    found = student.predict([scene(hw, (130, 0, 0, *hw[::-1])) for hw in sizes])
    assert [one.size_hw for one in found] == sizes
    assert [one.areas.tolist() for one in found] == [[height * width] for height, width in sizes]
    assert [one.classes.tolist() for one in found] == [[1]] * len(sizes)
    assert all(side % 32 == 0 for shape in student.shapes for side in shape[2:])
    assert len(student.shapes) == 3, "one batch for each size of canvas"


def test_predict_leaves_mode_and_gradients_as_they_were(build):
    student = build().train()
    student.predict([scene((50, 70), (60, 0, 0, 9, 9))])
    assert student.training
    assert student(torch.zeros(1, 3, 64, 64)).class_logits[-1].requires_grad


def test_an_image_gets_the_same_in_any_company(build):
    student = build()
    images = [np.random.default_rng(seed).integers(0, 256, (50 + seed, 70, 3), np.uint8) for seed in range(3)]
    together, alone = student.predict(images)[1], student.predict(images[1:2])[0]
    assert len(together) == len(alone) > 0
    np.testing.assert_allclose(together.scores, alone.scores, rtol=1e-3)
    assert student.predict([]) == []


@pytest.mark.parametrize("merge", ["union", "nms"])
def test_a_large_image_is_seen_tile_by_tile(build, merge):
    boxes = [(60, 10, 10, 50, 50), (130, 88, 60, 124, 100), (200, 150, 150, 190, 190)]
    student = greys(build, side=128, tiles=Tiles(size=128, overlap=48, merge=merge))
    found = student.predict([scene((200, 200), *boxes)])[0]
    assert {shape[2:] for shape in student.shapes} == {(128, 128)}
    assert len(found) == 3
    by_class = found.filter(np.argsort(found.classes))
    np.testing.assert_allclose(by_class.boxes_xyxy, [box[1:] for box in boxes], atol=3)


def test_an_object_over_several_tiles_is_one(build):
    student = greys(build, side=128, tiles=Tiles(size=128, overlap=48))
    found = student.predict([scene((140, 400), (130, 12, 40, 392, 80))])[0]
    assert found.classes.tolist() == [1]
    np.testing.assert_allclose(found.boxes_xyxy, [[12, 40, 392, 80]], atol=3)


SIZES = [((128, 256), (32, 64), (64, 64)), ((37, 53), (45, 64), (64, 64)), ((64, 64), (64, 64), (64, 64))]


@pytest.mark.parametrize(("image_hw", "resized_hw", "canvas_hw"), SIZES)
def test_masks_are_those_of_the_whole_image_at_full_size(image_hw, resized_hw, canvas_hw):
    """The oracle makes every pixel; noise, an empty mask and a full one touch every edge."""
    noise = torch.randn(6, 16, 16, generator=torch.Generator().manual_seed(3))
    masks = torch.cat([noise, torch.full((1, 16, 16), -1.0), torch.full((1, 16, 16), 1.0)])
    classes = torch.tensor([[9.0, 0.0]]).repeat(len(masks), 1)
    found = instances(classes, masks, view(image_hw, resized_hw, canvas_hw), InstancePredict())
    on_canvas = torch.nn.functional.interpolate(masks[None], size=canvas_hw, mode="bilinear")
    valid = on_canvas[..., : resized_hw[0], : resized_hw[1]]
    full = torch.nn.functional.interpolate(valid, size=image_hw, mode="bilinear")[0]
    inside = (full > 0).numpy()
    scores = ((full.sigmoid() * (full > 0)).sum((1, 2)) / (full > 0).sum((1, 2))).numpy() * classes.softmax(-1)[
        0, 0
    ].item()
    shown = [index for index in np.argsort(-scores, kind="stable") if inside[index].any()]
    np.testing.assert_array_equal(found.to_masks(), inside[shown])
    np.testing.assert_allclose(found.scores, scores[shown], rtol=1e-5)


@pytest.mark.parametrize(
    ("image_hw", "sides", "resized_hw", "canvas_hw"),
    [
        ((480, 640), {"side": 1333, "shorter_side": 800}, (800, 1067), (800, 1088)),
        ((427, 1280), {"side": 1333, "shorter_side": 800}, (445, 1333), (448, 1344)),
        ((1024, 2048), {"side": 2048, "shorter_side": 1024}, (1024, 2048), (1024, 2048)),
        ((480, 640), {"side": 1333}, (1000, 1333), (1024, 1344)),
    ],
)
def test_an_image_is_seen_at_its_shorter_side_unless_the_longer_one_is_too_long(image_hw, sides, resized_hw, canvas_hw):
    """The first two are detectron2's ResizeShortestEdge at 800 and at most 1333."""
    view = whole_view(image_hw, InstancePredict(**sides))
    assert (view.resized_hw, view.canvas_hw) == (resized_hw, canvas_hw)
