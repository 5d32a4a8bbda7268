import pytest

from segray.config.base import build
from segray.config.tags import CocoTags, CsvTags, FolderTags
from segray.datasets.tags import read_tags
from segray.errors import SourceError
from segray.formats.coco import CocoSource
from segray.testing import write_coco


def test_a_coco_files_classes_are_tags(tmp_path):
    source = write_coco(tmp_path, 4)
    found = read_tags(CocoTags(coco=source), ["00000.png", "00002.png", "00003.png", "other.png"])
    assert found.classes == ("disc", "square")
    assert found.of == {"00000.png": (), "00002.png": (0, 1), "00003.png": (0, 1)}


def test_a_csv_file_says_what_images_show(tmp_path):
    (tmp_path / "tags.csv").write_text("image_id,tags\na.jpg,fish; leaf\nb.jpg,\nc.jpg,gear\n")
    found = read_tags(CsvTags(uri=str(tmp_path / "tags.csv")), ["a.jpg", "b.jpg", "d.jpg"])
    assert found.classes == ("fish", "gear", "leaf")
    assert found.of == {"a.jpg": (0, 2), "b.jpg": ()}


def test_rows_of_one_image_add_up_and_what_is_left_out_is_counted(tmp_path):
    (tmp_path / "tags.csv").write_text(
        "\ufeffimage_id,tags\na.jpg,fish\nz.jpg,gear\na.jpg,leaf;fish\n", encoding="utf-8"
    )
    found = read_tags(CsvTags(uri=str(tmp_path / "tags.csv")), ["a.jpg", "b.jpg"])
    assert [found.classes[index] for index in found.of["a.jpg"]] == ["fish", "leaf"]
    assert found.tally.lines() == [
        "3 rows read, all used",
        "  1 of 3 rows has the image_id of an earlier row: the tags of both count",
        "    a.jpg",
        "2 images read, 1 used",
        "  1 of 2 images has no tags and is left out",
        "    b.jpg",
        "2 tagged images read, 1 used",
        "  1 of 2 tagged images is not among the images of the source and is left out",
        "    z.jpg",
    ]


def test_folders_are_tags():
    found = read_tags(FolderTags(), ["fish/1.jpg", "gear/deep/2.jpg", "3.jpg"])
    assert found.classes == ("fish", "gear")
    assert found.of == {"fish/1.jpg": (0,), "gear/deep/2.jpg": (1,)}


def test_what_says_something_else_has_another_fingerprint():
    first, second = (read_tags(FolderTags(), ["fish/1.jpg", f"{name}/2.jpg"]) for name in ("gear", "fish"))
    assert first.fingerprint != second.fingerprint


@pytest.mark.parametrize(
    ("text", "message"),
    [("name,tags\na,b\n", "row 2: no image_id"), ("image_id,tags\nz.jpg,fish\n", "say nothing of any image")],
)
def test_tags_that_cannot_be_used_are_said(tmp_path, text, message):
    (tmp_path / "tags.csv").write_text(text)
    with pytest.raises(SourceError, match=message):
        read_tags(CsvTags(uri=str(tmp_path / "tags.csv")), ["a.jpg"])


def test_a_config_says_which():
    tables = {"kind": "coco", "coco": {"kind": "coco", "uri": ".", "annotations": "x.json"}}
    assert build(CocoTags, tables, "test").coco == CocoSource(uri=".", annotations="x.json")
