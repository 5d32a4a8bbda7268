import pytest
import torch
from torch.nn import functional as F

from segray.losses.points import MaskStack, most_uncertain, random_points, values_at

CPU = torch.device("cpu")


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "shapes", [[(2, 8, 8), (3, 8, 8)], [(2, 4, 9), (0, 5, 5), (1, 1, 1), (2, 16, 3)], [(0, 4, 4), (0, 6, 6)]]
)
def test_a_stack_of_masks_is_read_as_grid_sample_reads_each(shapes):
    masks = [noise(*shape, seed=number) > 0.5 for number, shape in enumerate(shapes)]
    alone = [mask for one in masks for mask in one]
    rows = torch.arange(len(alone)).flip(0)
    points = 1.2 * noise(len(alone), 50, 2) - 0.1
    grids = zip(rows.tolist(), points, strict=True)
    wanted = [F.grid_sample(alone[r][None, None].float(), 2 * p[None, None] - 1, align_corners=False) for r, p in grids]
    read = MaskStack.of(masks).values_at(rows, points)
    assert read.shape == (len(alone), 50)
    torch.testing.assert_close(read, torch.stack([one.flatten() for one in wanted]) if wanted else read)


def test_pixel_centres_give_the_pixels():
    maps = noise(2, 3, 4, 6)
    y, x = torch.meshgrid((torch.arange(4) + 0.5) / 4, (torch.arange(6) + 0.5) / 6, indexing="ij")
    centres = torch.stack([x, y], -1).view(1, -1, 2).expand(2, -1, -1)
    torch.testing.assert_close(values_at(maps, centres), maps.flatten(2))


def test_draws_of_an_image_are_its_keys_alone():
    together = random_points([5, 7, 5], [2, 3, 1], 9, CPU)
    assert together.shape == (6, 9, 2)
    assert torch.equal(together[2:5], random_points([7], [3], 9, CPU))
    assert torch.equal(together[0], together[5])
    assert not torch.equal(together[0], together[2])
    assert 0 <= together.min() <= together.max() < 1


def test_the_uncertain_points_are_where_the_logit_is_near_zero():
    ramp = torch.linspace(-7.5, 7.5, 16).expand(1, 1, 16, 16)
    x = (torch.arange(16) + 0.5) / 16
    points = torch.stack([x, torch.full_like(x, 0.5)], -1)[None]
    found = most_uncertain(ramp, points, 2)[0, :, 0]
    assert sorted(found.tolist()) == x[7:9].tolist()
