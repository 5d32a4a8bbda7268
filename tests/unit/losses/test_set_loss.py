from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

from segray.losses import set_loss
from segray.losses.criterion import Targets

from .conftest import CLASSES, POINTS, QUERIES, Output, make_output, make_targets

SIZES = [(16, 16), (9, 12), (30, 5), (16, 16)]
KEYS = [11, 22, 33, 44]


def reference_losses(criterion, output: Output, targets: list[Targets]) -> dict[str, torch.Tensor]:
    config = Mask2FormerConfig(
        num_labels=CLASSES,
        class_weight=criterion.class_weight,
        mask_weight=criterion.mask_weight,
        dice_weight=criterion.dice_weight,
        no_object_weight=criterion.no_object_weight,
        train_num_points=criterion.num_points,
        oversample_ratio=criterion.oversample_ratio,
        importance_sample_ratio=criterion.importance_sample_ratio,
    )
    theirs = Mask2FormerLoss(config, {})
    masks, classes = [one.masks.float() for one in targets], [one.classes for one in targets]
    names = {"class": "loss_cross_entropy", "mask": "loss_mask", "dice": "loss_dice"}
    weights = {"class": criterion.class_weight, "mask": criterion.mask_weight, "dice": criterion.dice_weight}
    parts = [theirs(m, c, masks, classes) for c, m in zip(output.class_logits, output.mask_logits, strict=True)]
    return {name: weights[name] * sum(one[key] for one in parts) for name, key in names.items()}


def total_and_gradients(losses, output: Output) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    total = sum(losses.values())
    return total.detach(), torch.autograd.grad(total, output.leaves())


@pytest.mark.parametrize("numbers", [(3, 1), (5, 5), (0, 4), (8, 2)], ids=str)
def test_values_and_gradients_are_those_of_transformers(criterion, monkeypatch, numbers):
    table = torch.rand(4 * POINTS, 2, generator=torch.Generator().manual_seed(3))

    def same_points(number: int, num_points: int) -> torch.Tensor:
        # The reference draws the random points apart from the candidates, which come first in ours.
        start = 3 * POINTS if num_points == POINTS // 4 else 0
        return table[start : start + num_points].expand(number, -1, -1).clone()

    monkeypatch.setattr(
        set_loss, "random_points", lambda _keys, numbers, points, _device: same_points(sum(numbers), points)
    )
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: same_points(shape[0], shape[1]))
    output, targets = make_output(2), make_targets(numbers, [(16, 12)] * 2)
    ours = criterion(output, targets, keys=KEYS[:2], count=criterion.count(targets))
    theirs = reference_losses(criterion, output, targets)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-5, atol=1e-5)
    for mine, other in zip(total_and_gradients(ours, output)[1], total_and_gradients(theirs, output)[1], strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cut", [[[0, 1, 2, 3]], [[0], [1, 2, 3]], [[3, 1], [2, 0]], [[2], [0], [3], [1]]], ids=str)
def test_any_cut_and_order_of_the_batch_gives_the_same_total_and_gradients(criterion, cut):
    output, targets = make_output(4), make_targets([3, 0, 7, 1], SIZES)
    count = criterion.count(targets)
    torch.testing.assert_close(sum(criterion.count([targets[i] for i in part]) for part in cut), count)
    wanted = criterion(output, targets, keys=KEYS, count=count)
    pieces = [
        criterion(output.images(part), [targets[i] for i in part], keys=[KEYS[i] for i in part], count=count)
        for part in cut
    ]
    summed = {name: sum(piece[name] for piece in pieces) for name in wanted}
    torch.testing.assert_close(summed, wanted)
    for mine, other in zip(total_and_gradients(summed, output)[1], total_and_gradients(wanted, output)[1], strict=True):
        torch.testing.assert_close(mine, other)


def test_draws_are_of_the_key_and_of_nothing_else(criterion):
    output, targets = make_output(1), make_targets([3], SIZES[:1])
    count = criterion.count(targets)
    state = torch.random.get_rng_state()
    values = [criterion(output, targets, keys=[key], count=count)["mask"].item() for key in (1, 1, 2)]
    assert values[0] == values[1] != values[2]
    assert torch.equal(torch.random.get_rng_state(), state)


def test_each_supervised_output_has_draws_of_its_own(criterion):
    once, targets = make_output(1, outputs=1), make_targets([3], SIZES[:1])
    twice = Output(class_logits=once.class_logits * 2, mask_logits=once.mask_logits * 2)
    arguments: dict[str, Any] = {"keys": [1], "count": criterion.count(targets)}
    single, double = criterion(once, targets, **arguments), criterion(twice, targets, **arguments)
    assert double["mask"].item() == pytest.approx(2 * single["mask"].item(), rel=0.5)
    assert double["mask"].item() != pytest.approx(2 * single["mask"].item(), rel=1e-3)


@pytest.mark.parametrize(
    ("numbers", "masks", "weights"),
    [((0,), 0, 0.1 * QUERIES), ((2, 5), 7, 2 + 0.3 + 5), ((9, 0), 9, 5 + 0.5)],
)
def test_count_is_masks_and_weights_of_queries(criterion, numbers, masks, weights):
    count = criterion.count(make_targets(numbers, SIZES[: len(numbers)]))
    assert count.tolist() == pytest.approx([masks, weights])


def test_without_any_mask_all_logits_still_have_gradients(criterion):
    output, targets = make_output(2), make_targets([0, 0], SIZES[:2])
    losses = criterion(output, targets, keys=KEYS[:2], count=criterion.count(targets))
    assert losses["mask"].item() == losses["dice"].item() == 0
    gradients = total_and_gradients(losses, output)[1]
    assert all(bool(one.any()) for one in gradients[:3])
    assert not any(bool(one.any()) for one in gradients[3:])


def test_an_output_that_says_the_truth_loses_next_to_nothing(criterion):
    [target] = make_targets([3], [(6, 7)])
    classes, masks = torch.zeros(1, QUERIES, CLASSES + 1), torch.full((1, QUERIES, 6, 7), -50.0)
    classes[..., -1] = 50
    for query, mask in ((4, 0), (0, 1), (2, 2)):
        masks[0, query][target.masks[mask]] = 50.0
        classes[0, query, -1], classes[0, query, target.classes[mask]] = 0, 50
    output = Output(class_logits=(classes,), mask_logits=(masks,))
    sharp = replace(criterion, importance_sample_ratio=0.0, num_points=4000)
    truth = sharp(output, [target], keys=[0], count=sharp.count([target]))
    shifted = Output(class_logits=(classes.roll(1, 1),), mask_logits=(masks,))
    wrong = sharp(shifted, [target], keys=[0], count=sharp.count([target]))
    assert float(truth["class"]) < 1e-6
    assert float(truth["dice"]) < 0.25 * sharp.dice_weight
    assert float(sum(wrong.values())) > 10 * float(truth["class"] + truth["dice"])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["class_logits", "mask_logits"])
def test_logits_that_are_no_numbers_make_the_loss_none_too(criterion, where, bad):
    output, targets = make_output(2), make_targets([2, 3], SIZES[:2])
    with torch.no_grad():
        getattr(output, where)[1][0, 4] = bad
    losses = criterion(output, targets, keys=KEYS[:2], count=criterion.count(targets))
    assert not bool(sum(losses.values()).isfinite())


def test_under_autocast_matching_and_loss_are_computed_in_float32(criterion):
    # Dice decides alone, by less than bfloat16's three digits.
    by_dice, targets = replace(criterion, class_weight=1e-6, mask_weight=1e-6), make_targets([4, 5], SIZES[:2])
    half, whole = (
        Output(**{name: tuple((0.05 * x).bfloat16().to(dtype) for x in value) for name, value in vars(logits).items()})
        for logits, dtype in ((make_output(2), torch.bfloat16), (make_output(2), torch.float32))
    )
    arguments: dict[str, Any] = {"keys": KEYS[:2], "count": by_dice.count(targets)}
    wanted = by_dice(whole, targets, **arguments)
    with torch.autocast("cpu", torch.bfloat16):
        found = by_dice(half, targets, **arguments)
    assert {name: value.dtype for name, value in found.items()} == dict.fromkeys(wanted, torch.float32)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
