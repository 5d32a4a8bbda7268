"""Label maps and masks: painted in the order that is asked for, and back again."""

import numpy as np
import pytest

from segray.masks import semantic
from segray.masks.instances import UNLABELED, Instances
from segray.masks.view import View


def squares(*boxes_yxyx, size_hw=(12, 12), **columns):
    masks = np.zeros((len(boxes_yxyx), *size_hw), dtype=bool)
    for mask, (y0, x0, y1, x1) in zip(masks, boxes_yxyx, strict=True):
        mask[y0:y1, x0:x1] = True
    return Instances.from_masks(masks, provenance="test", **columns)


NESTED = {"classes": [2, 1, UNLABELED], "scores": [0.4, 0.9, 1.0]}
"""A small mask of class 2 in a large one of class 1, and one without a class."""


@pytest.mark.parametrize(
    ("last", "inner", "score"), [("smallest", 2, np.float32(0.4)), ("best", 1, np.float32(0.9))], ids=str
)
def test_the_mask_that_is_painted_last_is_seen(last, inner, score):
    found = squares((4, 4, 6, 6), (2, 2, 9, 9), (0, 0, 12, 12), **NESTED)
    labels, scores = semantic.paint(found, 7, last=last), semantic.confidence(found, last=last)
    assert labels[5, 5] == inner
    assert scores[5, 5] == score
    assert (labels[2, 2], scores[2, 2]) == (1, np.float32(0.9))
    assert (labels[0, 0], scores[0, 0]) == (7, 0)


@pytest.mark.parametrize("last", ["smallest", "best"])
def test_the_earlier_of_equals_is_seen(last):
    found = squares((0, 0, 4, 4), (0, 0, 4, 4), classes=[3, 5])
    assert semantic.paint(found, last=last)[0, 0] == 3


@pytest.mark.parametrize("seed", range(3))
def test_a_map_becomes_masks_and_a_map_again(seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice(np.array([0, 1, 4, 254, 255], dtype=np.uint8), (9, 13))
    scores = rng.random((9, 13), dtype=np.float32)
    found = semantic.from_map(labels, provenance="vote", scores=scores)
    assert np.array_equal(semantic.paint(found), labels)
    assert found.classes.tolist() == sorted(set(np.unique(labels).tolist()) - {255})
    for class_id, score in zip(found.classes, found.scores, strict=True):
        assert score == pytest.approx(scores[labels == class_id].mean(), rel=1e-5)
    assert set(found.provenance) == {"vote"}


def test_a_map_of_nothing_is_no_mask():
    assert len(semantic.from_map(np.full((4, 5), 255, dtype=np.uint8), provenance="vote")) == 0
    assert len(semantic.from_map(np.full((4, 5), 0, dtype=np.uint8), provenance="vote", unknown=0)) == 0


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("last", ["smallest", "best"])
def test_a_canvas_shows_what_the_painted_map_shows_there(last, flipped):
    rng = np.random.default_rng(1)
    corners = rng.integers(0, 6, (5, 2))
    found = squares(*np.hstack([corners, corners + 6]), classes=range(5), scores=rng.random(5))
    view = View(image_hw=(12, 12), resized_hw=(24, 24), origin_yx=(4, 7), flipped=flipped, canvas_hw=(30, 16))
    labels, scores = semantic.on_canvas(found, view, 9, last=last)
    whole, sure = semantic.paint(found, 9, last=last), semantic.confidence(found, last=last)
    if flipped:
        whole, sure = whole[:, ::-1], sure[:, ::-1]
    rows, columns = (4 + np.arange(20)) // 2, (7 + np.arange(16)) // 2
    assert np.array_equal(labels[:20], whole[np.ix_(rows, columns)])
    assert np.array_equal(scores[:20], sure[np.ix_(rows, columns)])
    assert (labels[20:] == 9).all()
    assert (scores[20:] == 0).all()
