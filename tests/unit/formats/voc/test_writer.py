"""VOC class maps: written and read back through PIL."""

import numpy as np
import pytest
from PIL import Image

from segray.errors import ExportError
from segray.formats.voc.writer import export_voc, voc_palette

SQUARES = np.zeros((2, 6, 8), dtype=bool)
SQUARES[0, :4] = SQUARES[1, 1:3, 1:3] = True


@pytest.mark.parametrize(
    ("classes", "uncovered", "indices"),
    [
        (("cat", "dog"), 255, (1, 2, 255)),
        (("cat", "dog"), 0, (1, 2, 0)),
        (("background", "cat"), 255, (0, 1, 255)),
        (("Background", "cat"), 0, (0, 1, 0)),
    ],
)
def test_indices(tmp_path, make_row, classes, uncovered, indices) -> None:
    large, small, elsewhere = indices
    export_voc([make_row("d/a.jpg", classes=[0, 1], masks=SQUARES)], tmp_path / "out", classes, uncovered=uncovered)
    with Image.open(tmp_path / "out/SegmentationClass/d/a.png") as image:
        assert image.mode == "P"
        assert image.getpalette() == voc_palette().reshape(-1).tolist()
        found = np.asarray(image)
    want = np.where(SQUARES[1], small, np.where(SQUARES[0], large, elsewhere))
    np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize(
    ("index", "colour"),
    [
        (0, (0, 0, 0)),
        (1, (128, 0, 0)),
        (2, (0, 128, 0)),
        (8, (64, 0, 0)),
        (15, (192, 128, 128)),
        (255, (224, 224, 192)),
    ],
)
def test_palette(index, colour) -> None:
    assert tuple(voc_palette()[index]) == colour


def test_names_and_lists(tmp_path, make_row, left_out, make_refused) -> None:
    rows = [make_row("a.jpg", classes=[0, 1], masks=SQUARES), make_refused("b.jpg", "damaged")]
    summary = export_voc(rows, tmp_path / "out", ("cat", "dog"))
    assert (tmp_path / "out/labels.txt").read_text().split() == ["background", "cat", "dog"]
    assert (tmp_path / "out/ImageSets/Segmentation/all.txt").read_text() == "a\n"
    assert (summary.images, summary.masks, left_out(summary)) == (1, 2, {"damaged": 1})


@pytest.mark.parametrize(
    ("ids", "names", "message"),
    [
        ([0, -1], 2, "no class.*classify them first, or export COCO or PNG"),
        ([0, 2], 2, "classes up to 2, but 2 class names"),
        ([0, 1], 255, "256 classes with the background"),
    ],
)
def test_what_a_class_map_cannot_hold_is_an_error(tmp_path, make_row, ids, names, message) -> None:
    with pytest.raises(ExportError, match=message):
        export_voc([make_row(classes=ids, masks=SQUARES)], tmp_path / "out", [f"c{i}" for i in range(names)])
    assert list(tmp_path.iterdir()) == []
