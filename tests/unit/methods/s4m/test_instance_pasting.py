import pytest
import torch

from segray import keyed_random
from segray.losses.criterion import Targets
from segray.methods.s4m.config import Arp
from segray.methods.s4m.instance_pasting import paste_instances

SIDE = (24, 32)
MODES = ["static", "dynamic"]


def scenes(number, seed=0, most=5):
    """Images of one value each, with 0 to `most` overlapping boxes of classes that say whose they are."""
    generator = torch.Generator().manual_seed(seed)

    def below(high):
        return int(torch.randint(high, (1,), generator=generator))

    images = torch.stack([torch.full((3, *SIDE), 10 * (index + 1), dtype=torch.uint8) for index in range(number)])
    targets = []
    for index in range(number):
        masks = torch.zeros((below(most + 1), *SIDE), dtype=torch.bool)
        for mask in masks:
            y0, x0 = below(SIDE[0] - 2), below(SIDE[1] - 2)
            mask[y0 : y0 + 2 + below(12), x0 : x0 + 2 + below(12)] = True
        targets.append(Targets(classes=100 * index + torch.arange(len(masks)), masks=masks))
    return images, targets


def keys(number, seed=0):
    return [keyed_random.key("test", seed, index) for index in range(number)]


def same(first, second):
    return torch.equal(first.classes, second.classes) and torch.equal(first.masks, second.masks)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(40))
def test_bookkeeping(mode, seed):
    number = 3 + seed % 10
    images, targets = scenes(number, seed)
    before = images.clone()
    mixed, labels, pasted = paste_instances(images, targets, Arp(mode=mode, min_area=0.02), keys(number, seed))
    assert torch.equal(images, before)
    assert mixed.dtype == torch.uint8
    for index, (image, label) in enumerate(zip(mixed, labels, strict=True)):
        if not pasted[index]:
            assert torch.equal(image, images[index])
            assert same(label, targets[index])
            continue
        assert len(label.masks) == len(label.classes)
        assert label.masks.flatten(1).any(1).all()
        assert label.masks.sum(0).max() == 1
        own = label.classes // 100 == index
        assert int((~own).sum()) == pasted[index]
        foreign = label.masks[~own].any(0)
        assert torch.equal(image[:, ~foreign], images[index][:, ~foreign])
        (other,) = set((label.classes[~own] // 100).tolist())
        assert (image[:, foreign] == 10 * (other + 1)).all()
        covered = label.masks.any(0)
        assert torch.equal(covered, targets[index].masks.any(0) | foreign)
        for mask, name in zip(label.masks[own], label.classes[own], strict=True):
            (was,) = targets[index].masks[targets[index].classes == name]
            assert not (mask & ~was).any()


@pytest.mark.parametrize("seed", range(10))
def test_static_pastes_large_ones_where_they_were(seed):
    images, targets = scenes(4, seed)
    least = 0.05 * SIDE[0] * SIDE[1]
    mixed, labels, pasted = paste_instances(images, targets, Arp(mode="static", min_area=0.05), keys(4, seed))
    for host in [index for index in range(4) if pasted[index]]:
        foreign = labels[host].masks[labels[host].classes // 100 != host].any(0)
        source = int(labels[host].classes[-1] // 100)
        large = [mask for mask in targets[source].masks if mask.sum() >= least]
        assert torch.equal(foreign, torch.stack(large).any(0))
        assert torch.equal(mixed[host][:, foreign], images[source][:, foreign])


@pytest.mark.parametrize("mode", MODES)
def test_both_sides_are_cut_before_either_is_edited(mode):
    """Were the second image cut after it was edited, the first would get its own instance back."""
    images, targets = scenes(3, seed=1)
    for target in targets:
        target.masks[:] = False
        target.masks[:1, 4:12, 4:12] = True
    found = 0
    for seed in range(20):
        _, labels, pasted = paste_instances(images, targets, Arp(mode=mode, min_area=0), keys(3, seed))
        for index in range(3):
            classes = labels[index].classes
            foreign = classes[classes // 100 != index]
            assert len(foreign) == pasted[index] <= 1
            found += len(foreign)
    assert found > 10


@pytest.mark.parametrize(
    ("number", "group", "touched"),
    [(1, 4, 0), (2, 4, 0), (3, 4, 2), (4, 4, 2), (6, 4, 2), (7, 4, 4), (8, 4, 4), (8, 8, 4), (9, 3, 6), (11, 8, 6)],
)
def test_a_quarter_of_a_group_are_pairs(number, group, touched):
    images, targets = scenes(number)
    one = torch.zeros((1, *SIDE), dtype=torch.bool)
    one[0, 3:9, 3:9] = True
    targets = [Targets(classes=torch.tensor([100 * index]), masks=one) for index in range(number)]
    _, _, pasted = paste_instances(images, targets, Arp(mode="static", min_area=0, group=group), keys(number))
    assert sum(pasted) == touched
    assert max(pasted, default=0) <= 1


@pytest.mark.parametrize("mode", MODES)
def test_groups_do_not_know_of_each_other(mode):
    """What a worker with one group does is what a worker with all of them does: nothing depends on the cut."""
    images, targets = scenes(12)
    settings = Arp(mode=mode, min_area=0.02)
    whole, labels, pasted = paste_instances(images, targets, settings, keys(12))
    for start in (0, 4, 8):
        own = slice(start, start + 4)
        part, part_labels, part_pasted = paste_instances(images[own], targets[own], settings, keys(12)[own])
        assert torch.equal(part, whole[own])
        assert all(same(one, other) for one, other in zip(part_labels, labels[own], strict=True))
        assert part_pasted == pasted[own]


@pytest.mark.parametrize(("min_scale", "max_scale"), [(0.5, 0.5), (1.0, 1.0), (2.0, 2.0), (8.0, 8.0)])
def test_dynamic_resizes_and_stays_on_the_canvas(min_scale, max_scale):
    images, _ = scenes(3)
    box = torch.zeros((1, *SIDE), dtype=torch.bool)
    box[0, 2:10, 5:15] = True
    targets = [Targets(classes=torch.tensor([100 * index]), masks=box) for index in range(3)]
    settings = Arp(mode="dynamic", min_area=0, min_scale=min_scale, max_scale=max_scale)
    places = set()
    for seed in range(30):
        _, labels, pasted = paste_instances(images, targets, settings, keys(3, seed))
        for host in [index for index in range(3) if pasted[index]]:
            mask = labels[host].masks[-1]
            rows, columns = mask.any(1), mask.any(0)
            height, width = min(SIDE[0], round(8 * min_scale)), min(SIDE[1], round(10 * min_scale))
            assert (int(rows.sum()), int(columns.sum()), int(mask.sum())) == (height, width, height * width)
            places.add((int(rows.int().argmax()), int(columns.int().argmax())))
    assert len(places) == 1 if min_scale == 8.0 else len(places) > 15


def test_small_host_masks_stay_and_small_guests_do_not_come():
    images, _ = scenes(3)
    small, large = torch.zeros((2, *SIDE), dtype=torch.bool)
    small[20:22, 28:30] = True
    large[2:12, 2:12] = True
    targets = [
        Targets(classes=100 * index + torch.arange(2), masks=torch.stack([large.roll(index * 5, 1), small]))
        for index in range(3)
    ]
    _, labels, pasted = paste_instances(images, targets, Arp(mode="static", min_area=0.1), keys(3))
    assert sorted(pasted) == [0, 1, 1]
    for host in range(3):
        assert 100 * host + 1 in labels[host].classes
        assert sum(int(name) % 100 == 1 for name in labels[host].classes) == 1


def test_later_masks_keep_what_overlaps():
    """The host's own overlap goes to its later mask; a pasted one takes from both."""
    images, _ = scenes(3)
    masks = torch.zeros((2, *SIDE), dtype=torch.bool)
    masks[0, 0:6, 0:10] = True
    masks[1, 4:10, 0:10] = True
    guest = torch.zeros((1, *SIDE), dtype=torch.bool)
    guest[0, 0:20, 0:2] = True
    targets = [Targets(classes=torch.tensor([0, 1]), masks=masks)] + 2 * [
        Targets(classes=torch.tensor([2]), masks=guest)
    ]
    found = (paste_instances(images, targets, Arp(mode="static", min_area=0), keys(3, seed)) for seed in range(20))
    label = next(labels[0] for _, labels, pasted in found if pasted[0])
    assert label.classes.tolist() == [0, 1, 2]
    assert label.masks.sum((1, 2)).tolist() == [4 * 8, 6 * 8, 40]
