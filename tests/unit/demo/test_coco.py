"""A written world is COCO that pycocotools reads back to the same masks."""

from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from segray.demo.coco import write_world
from segray.demo.shapes import Family
from segray.demo.world import FAMILY_CLASSES, scene


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
            assert annotation["area"] == item.mask.sum()
            assert annotation["iscrowd"] == 0
            assert item.mask[int(y) : int(y + height), int(x) : int(x + width)].sum() == item.mask.sum()
            assert set(annotation["attributes"]) == {"colour", "texture", "size"}
