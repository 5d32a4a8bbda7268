"""The worlds are deterministic, exact, varied and disjoint."""

import numpy as np
import pytest

from segray.demo.shapes import FAMILY_SHAPES, Family
from segray.demo.textures import FAMILY_TEXTURES
from segray.demo.world import FAMILY_CLASSES, MIN_VISIBLE_PIXELS, scene


@pytest.mark.parametrize("family", ["a", "b"])
@pytest.mark.parametrize("size", [128, 256])
def test_same_seed_same_scene(family: Family, size: int) -> None:
    first, second, other = scene(family, 3, size), scene(family, 3, size), scene(family, 4, size)
    assert first.image.shape == (size, size, 3)
    assert np.array_equal(first.image, second.image)
    assert not np.array_equal(first.image, other.image)
    assert [item.class_name for item in first.objects] == [item.class_name for item in second.objects]
    for one, two in zip(first.objects, second.objects, strict=True):
        assert np.array_equal(one.mask, two.mask)
        assert one.attributes == two.attributes


@pytest.mark.parametrize("family", ["a", "b"])
def test_masks_are_disjoint_and_parts_tile_their_object(family: Family) -> None:
    with_parts = 0
    for seed in range(12):
        found = scene(family, seed)
        covered = np.sum([item.mask for item in found.objects], axis=0)
        assert covered.max() <= 1
        assert not any((zone & (covered > 0)).any() for zone in found.zones)
        for item in found.objects:
            assert item.mask.sum() >= MIN_VISIBLE_PIXELS
            assert not any((part & ~item.mask).any() for part in item.parts)
            with_parts += len(item.parts) > 1
    assert with_parts >= 10


def test_sizes_and_counts_vary() -> None:
    scenes = [scene("a", seed) for seed in range(40)]
    counts = [len(found.objects) for found in scenes]
    areas = [item.mask.sum() for found in scenes for item in found.objects]
    assert max(counts) >= 8
    assert 3 <= np.mean(counts) <= 12
    assert min(areas) < 400
    assert max(areas) > 12_000


def test_families_share_nothing() -> None:
    assert not set(FAMILY_SHAPES["a"]) & set(FAMILY_SHAPES["b"])
    assert not set(FAMILY_SHAPES["a"].values()) & set(FAMILY_SHAPES["b"].values())
    assert not set(FAMILY_TEXTURES["a"]) & set(FAMILY_TEXTURES["b"])
    assert len(FAMILY_CLASSES["a"]) >= 6
    assert len(FAMILY_CLASSES["b"]) >= 6
