"""VOC class maps: written and read back through PIL, read, there and back, and those that are none."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segray.errors import ExportError, SourceError
from segray.formats.voc import VocImages, VocSource, export_voc, voc_palette
from segray.masks.semantic import paint
from segray.store.rows import ImageRow, LabeledRow

MAP = np.zeros((6, 9), dtype=np.uint8)
MAP[1:3, 2:5] = 2
MAP[4:, 6:] = 1
MAP[0] = 255
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


def test_names_and_lists(tmp_path, make_row, make_refused) -> None:
    rows = [make_row("a.jpg", classes=[0, 1], masks=SQUARES), make_refused("b.jpg", "truncated")]
    summary = export_voc(rows, tmp_path / "out", ("cat", "dog"))
    assert (tmp_path / "out/labels.txt").read_text().split() == ["background", "cat", "dog"]
    assert (tmp_path / "out/ImageSets/Segmentation/all.txt").read_text() == "a\n"
    assert (summary.images, summary.masks, summary.skipped) == (1, 2, {"truncated": 1})


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


def source(tmp_path: Path, classes: tuple[str, ...] = ()) -> VocImages:
    for folder in ("pictures/below", "maps/below"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    return VocImages(VocSource(uri=str(tmp_path / "pictures"), masks=str(tmp_path / "maps"), classes=classes))


def save(tmp_path: Path, image: Image.Image) -> None:
    image.save(tmp_path / "maps/below/a.png")


def palette(indices: np.ndarray) -> Image.Image:
    image = Image.fromarray(indices, mode="P")
    image.putpalette(list(range(255, -1, -1)) * 3)
    return image


@pytest.mark.parametrize("make", [palette, Image.fromarray], ids=["palette", "grey"])
def test_indices_there_and_back(make: object, tmp_path: Path) -> None:
    opened = source(tmp_path)
    save(tmp_path, make(MAP))  # type: ignore[operator]
    found = opened.instances("below/a.jpg")
    assert found is not None
    assert sorted(found.classes.tolist()) == [0, 1, 2]
    assert np.array_equal(paint(found), MAP)
    assert opened.classes[2] == "2"
    assert set(found.provenance) == {"gt"}


def test_what_our_own_export_wrote_is_read_again(tmp_path: Path) -> None:
    opened = source(tmp_path, ("background", "cat", "tree"))
    save(tmp_path, palette(MAP))
    row = LabeledRow(
        image=ImageRow(image_id="below/a.jpg", uri="below/a.jpg", version="1"),
        instances=opened.instances("below/a.jpg"),
    )
    export_voc([row], tmp_path / "out", opened.classes)
    again = VocImages(VocSource(uri=str(tmp_path), masks=str(tmp_path / "out/SegmentationClass")))
    found = again.instances("below/a.jpg")
    assert found is not None
    assert np.array_equal(paint(found), MAP)


def test_images_without_a_map_have_no_annotations(tmp_path: Path) -> None:
    opened = source(tmp_path)
    (tmp_path / "pictures/b.png").write_bytes(b"1")
    assert [row.image_id for row in opened.rows()] == ["b.png"]
    assert opened.instances("b.png") is None


def test_a_map_of_nothing_known_is_empty(tmp_path: Path) -> None:
    opened = source(tmp_path)
    save(tmp_path, palette(np.full((3, 4), 255, dtype=np.uint8)))
    found = opened.instances("below/a.png")
    assert found is not None
    assert len(found) == 0
    assert found.size_hw == (3, 4)


@pytest.mark.parametrize(
    ("image", "classes", "message"),
    [
        (Image.new("RGB", (9, 6)), (), "one index of 8 bits a pixel"),
        (Image.fromarray(np.uint16(MAP)), (), "one index of 8 bits a pixel"),
        (palette(MAP), ("background", "cat"), "holds class 2, but 2 classes are named"),
    ],
)
def test_what_is_no_class_map_says_so(
    image: Image.Image, classes: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    opened = source(tmp_path, classes)
    save(tmp_path, image)
    with pytest.raises(SourceError, match=message) as caught:
        opened.instances("below/a.png")
    assert "below/a.png" in str(caught.value)


def test_a_damaged_map_says_so(tmp_path: Path) -> None:
    opened = source(tmp_path)
    save(tmp_path, palette(MAP))
    path = tmp_path / "maps/below/a.png"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(SourceError, match="truncated"):
        opened.instances("below/a.png")
