"""Annotations as label maps: what is background, what is unknown, what is seen where masks overlap."""

import json

import numpy as np
import pytest
from PIL import Image

from segray.datasets.training_rows import TrainingRows
from segray.formats.as_label_maps import LabelMapSource
from segray.formats.coco import CocoSource
from segray.formats.folder import FolderSource
from segray.formats.registry import open_source
from segray.formats.voc import VocSource
from segray.masks import rle
from segray.masks.instances import UNLABELED, Instances
from segray.masks.semantic import paint

CLASSES = ("disc", "square")
# The large square of class 1 holds a small disc of class 0; beside them a crowd of discs.
TRUE = np.full((8, 8), 9, dtype=np.uint8)
TRUE[1:5, 1:5] = 1
TRUE[2:4, 2:4] = 0
TRUE[6:, :] = 99


def coco(folder):
    """A source with those three masks, the crowd over one row of the square too, and an image without any."""
    masks = np.stack([TRUE < 2, TRUE == 0, TRUE == 99])
    masks[2, 4, :] = True
    (folder / "images").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(folder / "images" / name)
    annotations = [
        {
            **dict(zip(("id", "image_id", "category_id", "iscrowd", "area"), (n, 0, category, crowd, 1), strict=True)),
            "segmentation": {"size": [8, 8], "counts": counts.decode()},
        }
        for n, (category, crowd, counts) in enumerate(zip((1, 0, 0), (0, 0, 1), rle.encode(masks), strict=True))
    ]
    document = {
        "images": [{"id": n, "file_name": name, "height": 8, "width": 8} for n, name in enumerate(("a.png", "b.png"))],
        "categories": [{"id": n, "name": name} for n, name in enumerate(CLASSES)],
        "annotations": annotations,
    }
    (folder / "a.json").write_text(json.dumps(document))
    return open_source(CocoSource(uri=str(folder / "images"), annotations=str(folder / "a.json")))


def expected(background):
    """Background is 0 and moves the others; the crowd is unknown, but not what it shares with an object."""
    if not background:
        return np.where(TRUE < 2, TRUE, 255)
    labels = np.where(TRUE < 2, TRUE + 1, 0)
    labels[6:], labels[4, labels[4] == 0] = 255, 255
    return labels


@pytest.mark.parametrize("background", [True, False])
def test_objects_become_a_map(tmp_path, background):
    seen = LabelMapSource(coco(tmp_path), background=background)
    assert seen.classes == (("background", *CLASSES) if background else CLASSES)
    assert np.array_equal(paint(seen.instances("a.png")), expected(background))
    assert [row.image_id for row in seen.rows()] == ["a.png", "b.png"]


def test_an_image_without_objects_is_all_background(tmp_path):
    seen = LabelMapSource(coco(tmp_path), background=True)
    assert (paint(seen.instances("b.png")) == 0).all()


def test_maps_that_name_their_background_stay_as_they_are(tmp_path):
    given = np.array([[0, 1, 255], [2, 2, 0]], dtype=np.uint8)
    Image.fromarray(np.zeros((2, 3, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "maps").mkdir()
    Image.fromarray(given).save(tmp_path / "maps" / "a.png")
    classes = ("background", *CLASSES)
    source = open_source(VocSource(uri=str(tmp_path), masks=str(tmp_path / "maps"), classes=classes))
    seen = LabelMapSource(source, background=True)
    assert seen.classes == classes
    assert np.array_equal(paint(seen.instances("a.png")), given)


def test_a_source_without_annotations_has_none(tmp_path):
    coco(tmp_path)
    seen = LabelMapSource(open_source(FolderSource(uri=str(tmp_path / "images"))), background=True)
    assert seen.instances("a.png") is None


def test_training_rows_hold_the_map(tmp_path):
    rows = TrainingRows.build(LabelMapSource(coco(tmp_path), background=True), tmp_path / "rows.arrow", crowds=True)
    assert rows.classes == ("background", *CLASSES)
    assert np.array_equal(paint(rows.row(0).instances), expected(background=True))


def test_what_has_no_class_is_unknown():
    class Nameless:
        classes = CLASSES

        def instances(self, _, **__):
            masks = np.zeros((2, 4, 4), dtype=bool)
            masks[0, :2], masks[1, 2] = True, True
            return Instances.from_masks(masks, provenance="sam", classes=[1, UNLABELED])

    assert paint(LabelMapSource(Nameless(), background=True).instances("a"))[:, 0].tolist() == [2, 2, 255, 0]
