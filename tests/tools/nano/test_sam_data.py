"""Batches are functions of their key, and targets follow their image."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from segray.demo.world import scene
from tools.nano.sam_data import MIN_TARGET_PIXELS, build_cache, draw_batch


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.uint8]:
    path: Path = tmp_path_factory.mktemp("cache") / "scenes.npy"
    build_cache(path, num_scenes=6, size=128, workers=1, look="photo")
    return np.asarray(np.load(path))


def test_cache_holds_the_scenes(cache: NDArray[np.uint8]) -> None:
    for seed in range(6):
        found = scene("a", seed, 128, "photo")
        assert np.array_equal(cache[seed, ..., :3], found.image)
        for number, item in enumerate(found.objects, start=1):
            assert np.array_equal(cache[seed, ..., 3] == number, item.mask)


def test_same_key_same_batch(cache: NDArray[np.uint8]) -> None:
    first, second, other = (draw_batch(cache, key, 3, 2) for key in ([0, 5, 1], [0, 5, 1], [0, 6, 1]))
    assert first.images.shape == (3, 128, 128, 3)
    assert first.masks.shape == (6, 128, 128)
    assert np.array_equal(first.images, second.images)
    assert np.array_equal(first.masks, second.masks)
    assert not np.array_equal(first.images, other.images)


def test_targets_are_large_enough_and_objects_are_groups(cache: NDArray[np.uint8]) -> None:
    whole_objects = 0
    for step in range(12):
        batch = draw_batch(cache, [1, step, 0], 2, 4)
        for row, mask in enumerate(batch.masks):
            assert mask.sum() >= MIN_TARGET_PIXELS
            inside = np.unique(batch.groups[row // 4][mask])
            assert len(inside) == 1  # an object, a part of one, or a zone: never two
            whole_objects += bool(inside[0] < 128 and np.array_equal(batch.groups[row // 4] == inside[0], mask))
    assert whole_objects > 40
