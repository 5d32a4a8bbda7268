import numpy as np
import pytest

from segray.masks import rle
from segray.masks.run_overlaps import MapRuns, MaskRuns


def random_masks(seed, number=7, size_hw=(13, 9)):
    rng = np.random.default_rng(seed)
    masks = rng.random((number, *size_hw)) < rng.random((number, 1, 1))
    masks[seed % number] = seed % 2
    return masks


def flat(masks):
    return masks.transpose(0, 2, 1).reshape(len(masks), -1)


@pytest.mark.parametrize("seed", range(12))
def test_stretches_are_what_dense_masks_say(seed):
    masks = random_masks(seed)
    found = MaskRuns.from_counts(rle.encode(masks), masks.shape[1:])
    again = np.zeros_like(flat(masks))
    for start, end, owner in zip(found.starts, found.ends, found.owners, strict=True):
        assert end > start
        again[owner, start:end] = True
    assert np.array_equal(again, flat(masks))
    chosen = np.random.default_rng(seed).random(len(masks)) < 0.3
    assert np.array_equal(found.union(), flat(masks).any(0))
    assert np.array_equal(found.union(chosen), flat(masks)[chosen].any(0))


@pytest.mark.parametrize("seed", range(12))
def test_overlaps_are_what_dense_masks_say(seed):
    masks = random_masks(seed)
    labels = np.random.default_rng(seed).choice([0, 3, 7, 255], 13 * 9).astype(np.uint8)
    regions = MapRuns.of(labels, without=(0, 255))
    expected = np.stack([(flat(masks) & (labels == value)).sum(1) for value in regions.values], axis=1)
    found = MaskRuns.from_counts(rle.encode(masks), masks.shape[1:]).overlaps(regions)
    assert regions.values.tolist() == [3, 7]
    assert regions.areas.tolist() == [(labels == 3).sum(), (labels == 7).sum()]
    assert np.array_equal(found, expected)


def test_long_runs_need_many_characters():
    masks = np.zeros((2, 700, 600), bool)
    masks[0, 30:650, 5:590] = True
    masks[1, 699, 599] = True
    found = MaskRuns.from_counts(rle.encode(masks), (700, 600))
    assert np.array_equal(found.union(), flat(masks).any(0))


def test_no_masks_cover_nothing():
    found = MaskRuns.from_counts([], (4, 5))
    assert not found.union().any()
    assert found.overlaps(MapRuns.of(np.ones(20, np.uint8))).shape == (0, 1)
