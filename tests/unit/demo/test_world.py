"""The worlds are deterministic, disjoint, exact, and not solved by colour."""

from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from segray.demo.baseline import threshold_ious
from segray.demo.coco import write_world
from segray.demo.shapes import FAMILY_SHAPES
from segray.demo.textures import FAMILY_TEXTURES, FIELDS, draw_material, paint
from segray.demo.world import FAMILY_CLASSES, MIN_VISIBLE_PIXELS, Family, scene


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
    assert max(counts) >= 10 and 3 <= np.mean(counts) <= 12
    assert min(areas) < 150 and max(areas) > 12_000


def test_families_share_nothing() -> None:
    assert not set(FAMILY_SHAPES["a"]) & set(FAMILY_SHAPES["b"])
    assert not set(FAMILY_SHAPES["a"].values()) & set(FAMILY_SHAPES["b"].values())
    assert not set(FAMILY_TEXTURES["a"]) & set(FAMILY_TEXTURES["b"])
    assert len(FAMILY_CLASSES["a"]) >= 6 and len(FAMILY_CLASSES["b"]) >= 6


@pytest.mark.parametrize("kind", sorted(FIELDS))
def test_every_texture_varies_within_its_range(kind: str) -> None:
    rng = np.random.default_rng(0)
    family = "a" if kind in FAMILY_TEXTURES["a"] else "b"
    material = draw_material(rng, family, 64.0)
    for height, width, wavelength in ((64, 48, 8.0), (3, 5, 4.0)):
        field = FIELDS[kind](height, width, rng, wavelength)
        assert field.shape == (height, width)
        assert field.min() >= 0 and field.max() <= 1.0001
        assert height < 10 or field.std() > 0.02
    assert paint(material, 20, 30, rng).shape == (20, 30, 3)


def test_colour_thresholding_does_not_solve_family_b() -> None:
    ious = np.concatenate([threshold_ious(scene("b", 5_000_000 + index)) for index in range(30)])
    assert len(ious) > 150
    assert 0.05 < ious.mean() < 0.40


@pytest.mark.parametrize("family", ["a", "b"])
def test_written_world_is_coco(family: Family, tmp_path: Path) -> None:
    path = write_world(tmp_path, family, num_images=3, seed=7, size=128)
    coco = COCO(str(path))
    assert len(coco.getImgIds()) == 3
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == list(FAMILY_CLASSES[family])
    for image_id, seed in zip(coco.getImgIds(), range(7, 10), strict=True):
        assert (tmp_path / "images" / coco.loadImgs(image_id)[0]["file_name"]).is_file()
        annotations = coco.loadAnns(coco.getAnnIds(image_id))
        objects = scene(family, seed, 128).objects
        assert len(annotations) == len(objects)
        for annotation, item in zip(annotations, objects, strict=True):
            assert np.array_equal(coco.annToMask(annotation).astype(bool), item.mask)
            x, y, width, height = annotation["bbox"]
            assert annotation["area"] == item.mask.sum() and annotation["iscrowd"] == 0
            assert item.mask[int(y) : int(y + height), int(x) : int(x + width)].sum() == item.mask.sum()
            assert set(annotation["attributes"]) == {"colour", "texture", "size"}
