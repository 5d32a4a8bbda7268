"""SEPL's vote on 8 x 8 cases, one for each rule; `.` is background, digits are classes, `?` is unknown."""

import numpy as np
import pytest

from segray.errors import LabelError
from segray.masks.instances import Instances
from segray.methods.sepl.config import VoteRule
from segray.methods.sepl.vote import vote

DEFAULT, COMPAT = VoteRule(), VoteRule(compat=True)
BOTH = pytest.mark.parametrize("rule", [DEFAULT, COMPAT], ids=["default", "compat"])


def class_map(*rows):
    """An 8 x 8 map whose first rows are given; the rest is background."""
    lines = [row.ljust(8, ".") for row in rows] + ["." * 8] * (8 - len(rows))
    return np.array([[{".": 0, "?": 255}.get(c) if c in ".?" else int(c) for c in line] for line in lines], np.uint8)


def mask(*rows):
    return class_map(*rows) == 1


def masks(*each):
    return Instances.from_masks(np.stack(each), provenance="sam") if each else Instances.empty((8, 8))


@BOTH
@pytest.mark.parametrize(
    ("labels", "found", "expected"),
    [
        pytest.param(
            class_map("1111", "1111", "2222", "2222"), [mask("", "1111", "1111")],
            class_map("1111", "....", "....", "2222"), id="exactly half of the mask is not enough",
        ),
        pytest.param(
            class_map("11111111", "11111111", "11111111"), [mask("", "", "111", "11")],
            class_map("11111111", "11111111", "11111111", "11"), id="more than half takes the whole mask",
        ),
        pytest.param(
            class_map(*["11111"] * 4), [mask(*["11111111"] * 3, "11", *["11111111"] * 2)],
            class_map(*["11111111"] * 3, "11111", *["11111111"] * 2), id="85 % of the region is enough",
        ),
        pytest.param(
            class_map(*["1" * 8] * 4, "1"), [mask(*["1" * 8] * 3, "1111....", "." + "1" * 7, *["1" * 8] * 2, "1" * 6)],
            class_map("", "", "", "....1111", "1"), id="28 of 33 pixels, 84.8 %, is not",
        ),
        pytest.param(
            class_map("11", "11"), [mask("", "", "", "", "11")],
            class_map("11", "11"), id="what no mask covers stays",
        ),
        pytest.param(
            class_map("1111", "1111"), [mask("1", "1", *["1111"] * 6)],
            class_map(".111", ".111"), id="what lies in a mask not taken goes",
        ),
        pytest.param(
            class_map("111?", "1?"), [mask("1111"), mask("", ".1", ".1", ".1")],
            class_map("1111", "1?"), id="unknown stays unless a taken mask covers it",
        ),
        pytest.param(class_map("12?", "3"), [], class_map("12?", "3"), id="no masks, no change"),
        pytest.param(class_map("?"), [mask("1111")], class_map("?"), id="no class, nothing taken"),
        pytest.param(class_map("11"), [mask("")], class_map("11"), id="an empty mask takes nothing"),
        pytest.param(
            class_map("222", "11"), [mask("111", "1"), mask("", "11")],
            class_map("222", "21"), id="taken masks that overlap: the higher class on top",
        ),
    ],
)  # fmt: skip
def test_a_rule_at_work(rule, labels, found, expected):
    assert np.array_equal(vote(masks(*found), labels, rule), expected)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # The mask covers all of both: both claim it by the second rule.
        (DEFAULT, class_map("222", "222", "222", "222")),
        (COMPAT, class_map("122", "211", "111", "111")),
    ],
)
def test_two_classes_claim_one_mask(rule, expected):
    labels = class_map("122", "2", "", "")
    whole = mask("111", "111", "111", "111")
    assert np.array_equal(vote(masks(whole), labels, rule), expected)


def test_a_cap_keeps_a_small_region_from_taking_the_scene():
    labels, scene, half = class_map("1"), mask(*["1" * 8] * 8), mask("11", "1")
    assert vote(masks(scene), labels, DEFAULT).sum() == 64
    assert vote(masks(scene), labels, VoteRule(max_image_share=0.9)).sum() == 0
    assert vote(masks(scene, half), labels, VoteRule(max_image_share=0.9)).sum() == 3


def test_a_cap_does_not_touch_what_most_of_a_mask_says():
    labels, scene = class_map(*["11111"] * 8), mask(*["1" * 8] * 8)
    assert vote(masks(scene), labels, VoteRule(max_image_share=0.1)).sum() == 64


def random_case(rng, num_classes):
    """Rectangles of classes and unknown, and rectangles as masks, on an image that is not square."""

    def rectangle():
        y, x = rng.integers(0, 20), rng.integers(0, 30)
        return slice(y, y + rng.integers(1, 12)), slice(x, x + rng.integers(1, 16))

    labels, found = np.zeros((24, 40), np.uint8), np.zeros((12, 24, 40), bool)
    for _ in range(6):
        labels[rectangle()] = rng.choice([0, *range(1, num_classes + 1), 255])
    for one in found:
        one[rectangle()] = True
    return labels, found


@pytest.mark.parametrize("seed", range(40))
def test_both_ways_agree_where_one_class_is_in_the_image(seed):
    labels, found = random_case(np.random.default_rng(seed), 1)
    instances = Instances.from_masks(found, provenance="sam")
    assert np.array_equal(vote(instances, labels, DEFAULT), vote(instances, labels, COMPAT))


@pytest.mark.parametrize("seed", range(40))
def test_both_ways_agree_where_no_mask_touches_two_classes(seed):
    labels, found = random_case(np.random.default_rng(seed), 3)
    touched = [set(np.unique(labels[one])) - {0, 255} for one in found]
    instances = Instances.from_masks(found[[len(one) < 2 for one in touched]], provenance="sam")
    assert np.array_equal(vote(instances, labels, DEFAULT), vote(instances, labels, COMPAT))


@pytest.mark.parametrize("seed", range(20))
def test_the_default_is_the_matrix_product(seed):
    labels, found = random_case(np.random.default_rng(seed), 3)
    expected = np.where(found.any(0) & (labels != 255), 0, labels)
    values = np.array([1, 2, 3])
    overlap = found.reshape(12, -1).astype(int) @ (labels.reshape(-1, 1) == values).astype(int)
    areas, whole = found.sum((1, 2)), (labels.reshape(-1, 1) == values).sum(0)
    best = overlap.argmax(1)
    most = overlap[np.arange(12), best]
    taken = (most > 0) & ((2 * most > areas) | (20 * most >= 17 * whole[best]))
    for one in values:
        expected[found[taken & (values[best] == one)].any(0)] = one
    assert np.array_equal(vote(Instances.from_masks(found, provenance="sam"), labels, DEFAULT), expected)


def test_a_map_of_another_size_is_refused():
    with pytest.raises(LabelError, match=r"size \(4, 8\) for masks of an image of size \(8, 8\)"):
        vote(masks(mask("1")), class_map("1")[:4], DEFAULT)
