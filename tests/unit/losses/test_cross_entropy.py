"""Cross-entropy over label maps: what is counted, smoothed, mined, and what adds up over pieces."""

import math

import pytest
import torch

from segray.config.students import CrossEntropy, Ohem
from segray.losses.criterion import Targets
from segray.losses.cross_entropy import SemanticCriterion, SemanticTargets, label_map
from segray.models.student import SemanticOutput

CLASSES = 5


def drawn(number=3, side=8, seed=0):
    """Logits, maps with unknown pixels, and which pixels count."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(number, CLASSES, side, side, generator=generator)
    labels = torch.randint(0, CLASSES, (number, side, side), generator=generator).to(torch.uint8)
    labels[torch.rand(labels.shape, generator=generator) < 0.3] = 255
    return logits.requires_grad_(), labels


def loss_of(settings, logits, targets, count=None):
    criterion = SemanticCriterion(settings=settings)
    count = criterion.count(targets) if count is None else count
    return criterion(SemanticOutput(logits=logits), targets, keys=(), count=count)["ce"]


def by_hand(logits, labels, smoothing, chosen=lambda chances: [True] * len(chances), group=1):
    """Smoothed cross-entropy in plain numbers: a group's mean over chosen pixels, weighted by its known ones."""
    total, known = 0.0, 0
    for own, truth in zip(logits.detach().split(group), labels.split(group), strict=True):
        losses, chances = [], []
        for index, y, x in (truth != 255).nonzero().tolist():
            chance = own[index, :, y, x].double().softmax(0).tolist()
            label = int(truth[index, y, x])
            wanted = [smoothing / CLASSES + (1 - smoothing) * (c == label) for c in range(CLASSES)]
            losses.append(-sum(w * math.log(p) for w, p in zip(wanted, chance, strict=True)))
            chances.append(chance[label])
        picked = [loss for loss, keep in zip(losses, chosen(chances), strict=True) if keep]
        total += sum(picked) / len(picked) * len(losses)
        known += len(losses)
    return total / known


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.2])
def test_smoothing_stays_outside_of_what_is_unknown(smoothing):
    logits, labels = drawn()
    found = loss_of(CrossEntropy(label_smoothing=smoothing), logits, [SemanticTargets(labels=one) for one in labels])
    assert float(found.detach()) == pytest.approx(by_hand(logits, labels, smoothing), rel=1e-5)
    (gradient,) = torch.autograd.grad(found, logits)
    assert (gradient.abs().sum(1)[labels == 255] == 0).all()


@pytest.mark.parametrize(
    ("threshold", "min_kept", "group"),
    [(0.7, 0, 1), (0.2, 20, 1), (0.05, 40, 2), (0.9, 5, 2), (0.0, 10, 3), (0.05, 1000, 2)],
)
def test_only_hard_pixels_of_a_group_count_but_never_too_few(threshold, min_kept, group):
    logits, labels = drawn()

    def hard(chances):
        kept = min(min_kept, len(chances))
        bound = max(threshold, sorted(chances)[kept - 1]) if kept else threshold
        return [chance <= bound for chance in chances]

    settings = CrossEntropy(ohem=Ohem(threshold=threshold, min_kept=min_kept, group=group))
    found = loss_of(settings, logits, [SemanticTargets(labels=one) for one in labels])
    assert float(found.detach()) == pytest.approx(by_hand(logits, labels, 0.0, hard, group), rel=1e-4)


def test_pixels_that_teach_nothing_can_count_all_the_same():
    logits, labels = drawn()
    counted = torch.ones_like(labels, dtype=torch.bool)
    counted[:, 0] = False
    alone = loss_of(CrossEntropy(), logits, [SemanticTargets(labels=one) for one in labels])
    targets = [SemanticTargets(labels=one, counted=own) for one, own in zip(labels, counted, strict=True)]
    known = (labels != 255).sum()
    torch.testing.assert_close(loss_of(CrossEntropy(), logits, targets), alone * known / counted.sum())


@pytest.mark.parametrize("settings", [CrossEntropy(), CrossEntropy(ohem=Ohem(min_kept=10))], ids=["all", "hard"])
def test_nothing_known_is_a_loss_of_nought_with_a_gradient(settings):
    logits, labels = drawn()
    targets = [SemanticTargets(labels=torch.full_like(one, 255)) for one in labels]
    found = loss_of(settings, logits, targets)
    assert float(found.detach()) == 0
    (gradient,) = torch.autograd.grad(found, logits)
    assert (gradient == 0).all()


@pytest.mark.parametrize(
    "settings", [CrossEntropy(label_smoothing=0.1), CrossEntropy(ohem=Ohem(min_kept=10))], ids=["all", "hard"]
)
def test_pieces_add_up_to_the_whole(settings):
    logits, labels = drawn(4)
    targets = [SemanticTargets(labels=one) for one in labels]
    count = SemanticCriterion(settings=settings).count(targets)
    whole = loss_of(settings, logits, targets)
    pieces = [loss_of(settings, logits[at : at + 2], targets[at : at + 2], count) for at in (0, 2)]
    torch.testing.assert_close(sum(pieces), whole)


def test_masks_are_a_map_and_logits_are_resized_to_it():
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[0, :4], masks[1, 4:6] = True, True
    targets = Targets(classes=torch.tensor([3, 0]), masks=masks)
    expected = torch.full((8, 8), 255)
    expected[:4], expected[4:6] = 3, 0
    assert torch.equal(label_map(targets).long(), expected)
    assert float(SemanticCriterion(settings=CrossEntropy()).count([targets])) == 48
    logits = torch.randn(1, CLASSES, 2, 2)
    large = torch.nn.functional.interpolate(logits, size=(8, 8), mode="bilinear")
    found = loss_of(CrossEntropy(), logits, [targets])
    assert float(found.detach()) == pytest.approx(by_hand(large, expected[None], 0.0), rel=1e-5)


def test_an_image_without_masks_is_all_unknown():
    targets = Targets(classes=torch.zeros(0, dtype=torch.int64), masks=torch.zeros(0, 4, 4, dtype=torch.bool))
    assert (label_map(targets) == 255).all()
