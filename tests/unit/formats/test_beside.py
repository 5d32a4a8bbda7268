"""Whose a label file is: by an export's index, by the name, or nobody's."""

import json

import pytest
from PIL import Image

from segray.errors import SourceError
from segray.formats.beside import FilesBeside, read_index
from segray.formats.registry import open_source
from segray.formats.voc import VocSource
from segray.testing import write_images


def test_by_name_where_there_is_no_index(tmp_path):
    beside = FilesBeside(str(tmp_path / "images"), str(tmp_path / "labels"), ".txt")
    write_images(tmp_path / "images", 1)
    assert beside.uri("d/a.b.jpg") == f"{tmp_path}/labels/d/a.b.txt"
    assert (beside.size_hw("d/a.b.jpg"), beside.is_export) == (None, False)


def test_an_index_goes_before_the_name(tmp_path):
    entry = {"file": "labels/a-0123.txt", "image_id": "../a.jpg", "size_hw": [3, 4]}
    (tmp_path / "index.jsonl").write_text(json.dumps(entry) + "\n")
    beside = FilesBeside(str(tmp_path / "images"), str(tmp_path / "labels"), ".txt")
    assert beside.uri("../a.jpg") == f"{tmp_path}/labels/a-0123.txt"
    assert (beside.size_hw("../a.jpg"), beside.uri("b.jpg")) == ((3, 4), None)
    assert not beside.is_shared("../a.jpg")


@pytest.mark.parametrize(
    "line",
    [
        *('{"file": "../../x.txt", "image_id": "a"}', '{"file": "/etc/passwd", "image_id": "a"}', "[]", "{}", "no"),
        '{"file": "a.txt", "folder": "../../etc", "image_id": "a"}',
        '{"folder": "masks/a", "image_id": "a", "masks": [{"file": "../../../etc/passwd"}]}',
        '{"folder": "masks/a", "image_id": "a", "masks": [{"score": 1}]}',
        '{"file": "a.txt", "image_id": "a", "size_hw": [4000000000, 4000000000]}',
        '{"file": "a.txt", "image_id": "a", "size_hw": [0, 4]}',
        '{"file": "a.txt", "image_id": "a", "size_hw": "large"}',
    ],
)
def test_an_index_that_is_none_or_leads_out_is_an_error(tmp_path, line):
    (tmp_path / "index.jsonl").write_text(line)
    with pytest.raises(SourceError, match=r"index\.jsonl: "):
        read_index(str(tmp_path / "index.jsonl"))


def test_same_bmp_beside_same_png_is_counted_and_trained_on_neither(tmp_path):
    for folder in ("images", "maps"):
        (tmp_path / folder).mkdir()
    for name in ("images/same.bmp", "images/same.png", "images/own.png", "maps/same.png", "maps/own.png"):
        Image.new("L", (4, 3)).save(tmp_path / name)
    source = open_source(
        VocSource(uri=str(tmp_path / "images"), masks=str(tmp_path / "maps"), classes=("background", "cat"))
    )
    found = {row.image_id: source.instances(row.image_id) is not None for row in source.rows()}
    assert found == {"same.bmp": False, "same.png": False, "own.png": True}
    count = source.tally["class maps"].left_out["shared-name"]
    assert (count.number, count.examples, count.reason.is_damage) == (2, ["same.bmp", "same.png"], True)
