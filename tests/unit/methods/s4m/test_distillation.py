import pytest
import torch
from torch.nn import functional as F

from segray.methods.s4m.distillation import Structure, StructureCriterion, rows

IMAGES, CHANNELS, GRID, QUERIES = 3, 8, (4, 6), 5


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Output:
    def __init__(self, features):
        self.mask_features = features


def features(scale=1):
    return noise(IMAGES, CHANNELS, GRID[0] * scale, GRID[1] * scale)


def cells():
    return torch.randint(24, (IMAGES, QUERIES), generator=torch.Generator().manual_seed(1))


def structures(similarities):
    pairs = zip(cells(), similarities, strict=True)
    return [Structure(grid_hw=GRID, cells=own, similarities=alike) for own, alike in pairs]


def loss(found, similarities):
    criterion, targets = StructureCriterion(weight=2.0), structures(similarities)
    return criterion(Output(found), targets, keys=[0] * IMAGES, count=criterion.count(targets))["structure"]


def test_rows_are_cosines_with_the_queried_cell():
    given, chosen = features(), cells()
    found = rows(given, chosen)
    assert found.shape == (IMAGES, QUERIES, 24)
    for image in range(IMAGES):
        flat = given[image].flatten(1).T
        wanted = F.cosine_similarity(flat[chosen[image]][:, None], flat[None], dim=2)
        torch.testing.assert_close(found[image], wanted)


def test_equal_structure_costs_nothing_and_other_structure_what_smooth_l1_says():
    given = features()
    same = rows(given, cells())
    assert loss(given, same).item() == pytest.approx(0, abs=1e-10)
    other = same - 0.5 * torch.arange(IMAGES)[:, None, None]
    assert loss(given, other).item() == pytest.approx(2.0 * (0 + 0.125 + 0.5) / 3, rel=1e-5)


@pytest.mark.parametrize("change", ["permute", "rotate", "scale"])
def test_only_structure_counts(change):
    given, wanted = features(), rows(noise(IMAGES, CHANNELS, *GRID, seed=2), cells())
    turn = torch.linalg.qr(noise(CHANNELS, CHANNELS, seed=3)).Q
    changed = {
        "permute": given[:, torch.randperm(CHANNELS, generator=torch.Generator().manual_seed(4))],
        "rotate": torch.einsum("dc,bchw->bdhw", turn, given),
        "scale": 3 * given,
    }[change]
    assert not torch.allclose(changed, given)
    torch.testing.assert_close(loss(changed, wanted), loss(given, wanted))


def test_finer_features_are_resized_to_the_grid():
    fine = features().repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert loss(fine, rows(features(), cells())).item() == pytest.approx(0, abs=1e-10)


def test_pieces_of_a_batch_add_up_to_its_loss_and_gradient():
    given = features().requires_grad_()
    criterion, targets = StructureCriterion(weight=2.0), structures(rows(noise(*given.shape, seed=2), cells()))
    whole = criterion(Output(given), targets, keys=[0] * 3, count=criterion.count(targets))["structure"]
    pieces = [
        criterion(Output(given[part]), targets[part], keys=[], count=criterion.count(targets))["structure"]
        for part in (slice(0, 1), slice(1, 3))
    ]
    torch.testing.assert_close(pieces[0] + pieces[1], whole)
    [gradient], [of_pieces] = (torch.autograd.grad(one, [given]) for one in (whole, pieces[0] + pieces[1]))
    torch.testing.assert_close(of_pieces, gradient)
    assert bool(gradient.flatten(1).any(1).all())


def test_under_autocast_cosines_are_float32():
    given, wanted = features(), rows(noise(IMAGES, CHANNELS, *GRID, seed=2), cells())
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(given, wanted)
    torch.testing.assert_close(found, loss(given, wanted), rtol=0, atol=0)
