"""The worlds are deterministic, exact, varied and disjoint, in both looks."""

import hashlib

import numpy as np
import pytest

from segray.demo.shapes import FAMILY_SHAPES, Family
from segray.demo.textures import FAMILY_TEXTURES
from segray.demo.world import FAMILY_CLASSES, MIN_VISIBLE_PIXELS, WorldLook, scene

FROZEN_COLOURS = {
    "busy": [[58.1, 78.8, 78.0], [64.3, 56.4, 81.9], [121.0, 118.5, 123.3], [31.1, 54.0, 55.3]],
    "photo": [[126.5, 120.8, 114.4], [144.4, 139.8, 114.4], [136.3, 129.3, 122.5], [145.2, 141.1, 132.2]],
}
"""Mean RGB of four scenes of 128 px."""
LOOKS = pytest.mark.parametrize("look", ["busy", "photo"])


@LOOKS
@pytest.mark.parametrize("family", ["a", "b"])
@pytest.mark.parametrize("size", [128, 256])
def test_same_seed_same_scene(family: Family, size: int, look: WorldLook) -> None:
    first, second, other = (scene(family, seed, size, look) for seed in (3, 3, 4))
    assert first.image.shape == (size, size, 3)
    assert np.array_equal(first.image, second.image)
    assert not np.array_equal(first.image, other.image)
    assert [item.class_name for item in first.objects] == [item.class_name for item in second.objects]
    for one, two in zip(first.objects, second.objects, strict=True):
        assert np.array_equal(one.mask, two.mask)
        assert one.attributes == two.attributes


@pytest.mark.parametrize(("look", "expected"), [("busy", "607a54f837498606"), ("photo", "002df6718ca8183a")])
def test_frozen_scenes(look: WorldLook, expected: str) -> None:
    """Masks to the bit; colours as means, because vector instructions differ in an image's last bits."""
    digest, colours = hashlib.sha256(), []
    for family, seed in (("a", 0), ("a", 1), ("b", 0), ("b", 1)):
        found = scene(family, seed, 128, look)
        digest.update(b"".join(item.class_name.encode() + np.packbits(item.mask).tobytes() for item in found.objects))
        colours.append(found.image.mean((0, 1)))
    assert digest.hexdigest()[:16] == expected
    assert np.abs(np.array(colours) - FROZEN_COLOURS[look]).max() < 0.5


@LOOKS
@pytest.mark.parametrize("family", ["a", "b"])
def test_masks_are_disjoint_and_parts_tile_their_object(family: Family, look: WorldLook) -> None:
    with_parts = 0
    for seed in range(12):
        found = scene(family, seed, look=look)
        covered = np.sum([item.mask for item in found.objects], axis=0)
        assert covered.max() <= 1
        assert not any((zone & (covered > 0)).any() for zone in found.zones)
        for item in found.objects:
            assert item.mask.sum() >= MIN_VISIBLE_PIXELS
            assert not any((part & ~item.mask).any() for part in item.parts)
            with_parts += len(item.parts) > 1
    assert with_parts >= 10


@LOOKS
def test_sizes_and_counts_vary(look: WorldLook) -> None:
    scenes = [scene("a", seed, look=look) for seed in range(40)]
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
