"""VOC class maps as a source: read, there and back, and those that are none."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segray.formats.voc import VocSource
from segray.formats.voc.reader import VocImages
from segray.formats.voc.writer import export_voc
from segray.masks.semantic import paint
from segray.store.rows import ImageRow, LabeledRow

MAP = np.zeros((6, 9), dtype=np.uint8)
MAP[1:3, 2:5] = 2
MAP[4:, 6:] = 1
MAP[0] = 255


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


def test_index_nought_is_unknown_where_classes_begin_at_one(tmp_path: Path) -> None:
    source(tmp_path)
    save(tmp_path, Image.fromarray(MAP))
    settings = VocSource(
        uri=str(tmp_path / "pictures"), masks=str(tmp_path / "maps"), classes=("wall", "sky"), first_index=1
    )
    found = VocImages(settings).instances("below/a.jpg")
    assert found is not None
    expected = np.full_like(MAP, 255)
    expected[MAP == 1], expected[MAP == 2] = 0, 1
    assert np.array_equal(paint(found), expected)


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
def test_what_is_no_class_map_is_damage_and_says_why(
    image: Image.Image, classes: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    opened = source(tmp_path, classes)
    save(tmp_path, image)
    assert opened.instances("below/a.png") is None
    assert opened.instances("below/a.png") is None
    assert opened.tally["class maps"].damaged == 1
    (count,) = opened.tally["class maps"].left_out.values()
    assert "below/a.png" in count.examples[0]
    assert message in count.examples[0]


def test_a_damaged_map_says_so(tmp_path: Path) -> None:
    opened = source(tmp_path)
    save(tmp_path, palette(MAP))
    path = tmp_path / "maps/below/a.png"
    path.write_bytes(path.read_bytes()[:-30])
    assert opened.instances("below/a.png") is None
    assert "damaged" in opened.tally["class maps"].left_out["invalid"].examples[0]
