from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from segray.config.sam import OriginalSamConfig
from segray.losses.criterion import Targets
from segray.masks.view import View
from segray.methods.s4m.distillation import rows
from segray.methods.s4m.structure import query_points, sam_structure
from segray.sam.build import build
from segray.sam.protocol import Decoded, Embedding, Image, Prompts

SIDE = 8
"""Tokens along each side of the planted SAM's square."""


@dataclass
class PlantedSam:
    """Its tokens are the mean colours of its input's cells, and how far each lies from the prompt, in cells."""

    padded: bool
    prompts_at_once: int = 5
    name: str = "planted"
    weights_hash: str = "0"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    mask_threshold: float = 0.0
    asked: list[Prompts] = field(default_factory=list)

    def fill_hw(self, size_hw: tuple[int, int]) -> tuple[float, float]:
        if not self.padded:
            return 1.0, 1.0
        return size_hw[0] / max(size_hw), size_hw[1] / max(size_hw)

    def embed(self, images: Sequence[Image]) -> Embedding:
        colours = []
        for image in images:
            height, width, _ = image.shape
            pixels = torch.from_numpy(image).permute(2, 0, 1).float()
            square = F.pad(pixels, (0, max(0, height - width), 0, max(0, width - height))) if self.padded else pixels
            colours.append(F.adaptive_avg_pool2d(square, SIDE).flatten(1).T)
        return Embedding(features=colours, sizes_hw=tuple(image.shape[:2] for image in images))

    def decode(self, embedding: Embedding, prompts: Prompts, *, image_tokens: bool = False) -> Decoded:
        assert image_tokens
        assert not prompts.multimask
        self.asked.append(prompts)
        tokens = []
        for image, point in zip(prompts.image_index.tolist(), prompts.points_xy[:, 0], strict=True):
            height, width = embedding.sizes_hw[image]
            pixels_yx = torch.tensor([max(height, width)] * 2 if self.padded else [height, width])
            own_yx = (point.flip(0) * SIDE / pixels_yx).floor()
            grid = torch.stack(torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij"), 2).view(-1, 2)
            away = 20 * (grid - own_yx).norm(dim=1, keepdim=True)
            tokens.append(torch.cat([embedding.features[image], away], dim=1))
        scores = torch.ones(len(prompts), 1)
        return Decoded(scores=scores, prompts=prompts, handle=None, image_tokens=torch.stack(tokens))


def canvases(number: int, size_hw: tuple[int, int], seed: int = 0) -> Tensor:
    """Every 4 x 4 pixels one colour."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 256, (number, 3, size_hw[0] // 4, size_hw[1] // 4), dtype=np.uint8)
    return torch.from_numpy(cells).repeat_interleave(4, 2).repeat_interleave(4, 3)


def view(canvas_hw: tuple[int, int], valid_hw: tuple[int, int]) -> View:
    return View(image_hw=valid_hw, resized_hw=valid_hw, origin_yx=(0, 0), flipped=False, canvas_hw=canvas_hw)


def masks(canvas_hw: tuple[int, int], *boxes: tuple[int, int, int, int]) -> Targets:
    stack = torch.zeros(len(boxes), *canvas_hw, dtype=torch.bool)
    for mask, (top, left, bottom, right) in zip(stack, boxes, strict=True):
        mask[top:bottom, left:right] = True
    return Targets(classes=torch.zeros(len(boxes), dtype=torch.int64), masks=stack)


def expected(image: Tensor, point: Tensor, grid_hw: tuple[int, int]) -> tuple[int, Tensor]:
    """The query's cell on the canvas and its cosines, the long way: colours there, distances from there."""
    height, width = grid_hw
    size_hw = torch.tensor(image.shape[1:])
    colours = F.adaptive_avg_pool2d(image.float(), grid_hw)
    row, column = (point.flip(0) / size_hw * torch.tensor(grid_hw)).long().tolist()
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    away = 20 * ((y - row) ** 2 + (x - column) ** 2).sqrt()
    features = torch.cat([colours, away[None]])
    return row * width + column, F.cosine_similarity(features, features[:, row, column][:, None, None], dim=0).flatten()


@pytest.mark.parametrize(
    ("padded", "size_hw", "grid_hw"),
    [
        (True, (32, 32), (8, 8)),
        (True, (32, 64), (4, 8)),
        (True, (64, 32), (8, 4)),
        (False, (32, 64), (8, 8)),
        (False, (64, 32), (8, 8)),
    ],
)
def test_rows_and_cells_speak_of_the_canvas_whatever_the_square_holds(padded, size_hw, grid_hw):
    sam, images = PlantedSam(padded), canvases(2, size_hw)
    # The image fills a part of its canvas only; the prompts lie on it.
    shown = view(size_hw, (size_hw[0] // 2 + 3, size_hw[1] - 6))
    points = torch.stack([query_points(masks(size_hw), shown, key=key, number=6) for key in (1, 2)])
    structures = sam_structure(sam, images, points)
    for image, own_points, structure in zip(images, points, structures, strict=True):
        assert structure.grid_hw == grid_hw
        for query, point in enumerate(own_points):
            cell, cosines = expected(image, point, grid_hw)
            assert int(structure.cells[query]) == cell
            torch.testing.assert_close(structure.similarities[query], cosines, rtol=1e-4, atol=1e-5)


def test_a_canvas_that_fills_no_whole_number_of_tokens_is_resampled():
    images = torch.arange(96, dtype=torch.uint8)[None, None, :, None].expand(1, 3, 96, 128) + 100
    points = torch.tensor([[[10.0, 90.0]]])
    sam = PlantedSam(padded=True)
    exact, [odd] = sam_structure(sam, images, points)[0], sam_structure(sam, images[:, :, :76], points * 0.8)
    assert (exact.grid_hw, odd.grid_hw) == ((6, 8), (5, 8))
    assert int(exact.cells[0]) // 8 == 5
    assert int(odd.cells[0]) // 8 == 4
    assert odd.similarities.shape == (1, 40)
    assert 0 < float(odd.similarities.min()) <= float(odd.similarities.max()) <= 1 + 1e-5


def test_each_point_is_a_prompt_of_its_own_of_its_image():
    sam, points = PlantedSam(padded=True), torch.rand(3, 4, 2, generator=torch.Generator().manual_seed(0)) * 32
    sam_structure(sam, canvases(3, (32, 32)), points)
    assert [len(one) for one in sam.asked] == [5, 5, 2]
    assert torch.cat([one.image_index for one in sam.asked]).tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert torch.equal(torch.cat([one.points_xy for one in sam.asked]), points.view(-1, 1, 2))
    assert all(bool((one.labels == 1).all()) for one in sam.asked)


@pytest.mark.parametrize(("inside", "of_masks"), [((4, 4, 12, 12), 8), ((10, 20, 11, 23), 3)])
def test_half_of_the_points_come_from_the_masks_without_replacement(inside, of_masks):
    canvas, valid = (32, 64), (20, 40)
    points = query_points(masks(canvas, inside, inside), view(canvas, valid), key=5, number=16)
    assert points.shape == (16, 2)
    drawn = points[:of_masks]
    assert len({tuple(one) for one in drawn.tolist()}) == of_masks
    top, left, bottom, right = inside
    assert bool(((drawn[:, 0] > left) & (drawn[:, 0] < right) & (drawn[:, 1] > top) & (drawn[:, 1] < bottom)).all())
    assert bool(((points >= 0) & (points < torch.tensor([valid[1], valid[0]]))).all())
    assert float(points[of_masks:, 0].max()) > 25


def test_masks_at_another_resolution_name_the_same_places():
    canvas = (32, 64)
    small = query_points(masks((8, 16), (2, 4, 3, 5)), view(canvas, canvas), key=1, number=2)
    assert small[0].tolist() == [18.0, 10.0]


def test_points_are_of_the_key():
    arguments = masks((32, 32), (0, 0, 9, 9)), view((32, 32), (32, 32))
    one, same, other = (query_points(*arguments, key=key, number=8) for key in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_real_nano_sees_more_alike_within_an_object_than_across():
    sam = build(OriginalSamConfig(device="cpu"))
    image = torch.full((1, 3, 64, 128), 40, dtype=torch.uint8)
    image[:, 0, 16:48, 20:60] = 220
    [structure] = sam_structure(sam, image, torch.tensor([[[40.0, 32.0]]]))
    assert structure.grid_hw == (16, 32)
    alike = structure.similarities[0].view(16, 32)
    assert int(structure.cells[0]) == 8 * 32 + 10
    assert float(alike[8, 10]) == pytest.approx(1, abs=1e-4)
    assert float(alike[5:11, 6:14].mean()) > float(alike[:, 18:].mean()) + 0.1


def test_a_student_with_the_planted_features_has_the_planted_structure():
    sam, images = PlantedSam(padded=True), canvases(2, (32, 64))
    points = torch.rand(2, 5, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([64.0, 32.0])
    for image, own, structure in zip(images, points, sam_structure(sam, images, points), strict=True):
        for query, point in enumerate(own):
            colours = F.adaptive_avg_pool2d(image.float(), structure.grid_hw)
            y, x = torch.meshgrid(torch.arange(4), torch.arange(8), indexing="ij")
            away = 20 * torch.stack([x, y]).sub((point / 8).floor()[:, None, None]).norm(dim=0)
            found = rows(torch.cat([colours, away[None]])[None], structure.cells[None, query : query + 1])
            torch.testing.assert_close(found[0, 0], structure.similarities[query], rtol=1e-4, atol=1e-5)
