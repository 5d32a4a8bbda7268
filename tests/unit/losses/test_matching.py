import itertools

import pytest
import torch
from torch.nn import functional as F

from segray.losses.matching import assign, class_costs, dice_costs, mask_costs


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_costs_are_what_each_pair_alone_would_cost():
    logits, inside = 3 * noise(2, 3, 20), (noise(2, 4, 20, seed=1) > 0).float()
    masks, dices = mask_costs(logits, inside), dice_costs(logits, inside)
    for image, query, mask in itertools.product(range(2), range(3), range(4)):
        x, t = logits[image, query], inside[image, mask]
        p = x.sigmoid()
        torch.testing.assert_close(masks[image, query, mask], F.binary_cross_entropy_with_logits(x, t))
        torch.testing.assert_close(dices[image, query, mask], 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1))


def test_class_costs_are_negated_probabilities():
    logits = noise(2, 3, 5)
    classes = torch.tensor([[4, 0], [1, 1]])
    costs = class_costs(logits, classes)
    assert costs.shape == (2, 3, 2)
    torch.testing.assert_close(costs[0, :, 0], -logits[0].softmax(-1)[:, 4])
    torch.testing.assert_close(costs[1, :, 1], -logits[1].softmax(-1)[:, 1])


@pytest.mark.parametrize(("queries", "number", "columns"), [(4, 3, 5), (3, 3, 3), (2, 4, 4), (3, 0, 2), (3, 0, 0)])
def test_the_cheapest_assignment_is_found_and_padding_is_never_matched(queries, number, columns):
    costs = noise(1, queries, columns)
    [(rows, masks)] = assign(torch.cat([costs[..., :number], costs[..., number:] - 99], dim=2), [number])
    pairs = min(queries, number)
    assert len(set(rows.tolist())) == len(set(masks.tolist())) == len(rows) == pairs
    assert bool((masks < number).all())
    cheapest = min(
        sum(float(costs[0, q, m]) for q, m in zip(some, those, strict=True))
        for some in itertools.permutations(range(queries), pairs)
        for those in itertools.combinations(range(number), pairs)
    )
    assert float(costs[0, rows, masks].sum()) == pytest.approx(cheapest, abs=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_costs_that_are_no_numbers_are_matched_last(bad):
    costs = torch.zeros(1, 3, 2)
    costs[0, 1] = bad
    [(rows, _)] = assign(costs, [2])
    assert sorted(rows.tolist()) == [0, 2]
    [(rows, masks)] = assign(torch.full((1, 2, 2), bad), [2])
    assert sorted(rows.tolist()) == sorted(masks.tolist()) == [0, 1]
