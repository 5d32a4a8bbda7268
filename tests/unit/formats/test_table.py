import json

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest

from segray.errors import SourceError
from segray.formats.registry import open_source
from segray.formats.table import TableSource
from segray.testing import write_images

CORNERS = """image,x0,y0,x1,y1,class,score,id,occluded
00001.png,1,2,11,22,dog,0.5,7,yes
00000.png,3,4,13,24,cat,,8,
00001.png,5,6,15,26,,0.25,,no
"""


@pytest.fixture
def source(tmp_path):
    """`source(text, suffix, **settings)` opens a table of the text's rows."""
    write_images(tmp_path / "images", 2)

    def give(text, suffix=".csv", **settings):
        path = tmp_path / f"boxes{suffix}"
        path.write_text(text)
        if suffix == ".parquet":
            pyarrow.parquet.write_table(pyarrow.csv.read_csv(path), path)
        return open_source(TableSource(uri=str(tmp_path / "images"), table=str(path), **settings))

    return give


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_boxes_with_all_that_is_known_of_them(source, suffix):
    table = source(CORNERS, suffix)
    assert table.classes == ("cat", "dog")
    assert [row.image_id for row in table.rows()] == ["00001.png", "00000.png"]
    found = table.prompts("00001.png")
    assert found.boxes_xyxy.tolist() == [[1, 2, 11, 22], [5, 6, 15, 26]]
    assert found.classes.tolist() == [1, -1]
    assert found.scores.tolist() == [0.5, 0.25]
    assert found.ids == ("7", "")
    assert [json.loads(one)["occluded"] for one in found.attributes] == ["yes", "no"]
    assert np.isnan(table.prompts("00000.png").scores).all()
    assert table.prompts("elsewhere.png") is None
    assert table.instances("00001.png") is None


@pytest.mark.parametrize(
    ("text", "settings", "box", "relative"),
    [
        ("image,x,y,w,h\n00000.png,1,2,10,20\n", {}, [1, 2, 11, 22], False),
        ("image,x,y,w,h\n00000.png,0.1,0.2,0.5,0.25\n", {"units": "relative"}, [0.1, 0.2, 0.6, 0.45], True),
        ("image,x,y,w,h\n00000.png,,2,10,20\n", {}, [np.nan, 2, np.nan, 22], False),
    ],
)
def test_boxes_by_their_sides(source, text, settings, box, relative):
    found = source(text, **settings).prompts("00000.png")
    assert found.boxes_xyxy[0] == pytest.approx(box, nan_ok=True)
    assert found.relative is relative


def test_rows_of_one_id_are_one_object(source):
    text = "image,id,px,py,on,x0,y0,x1,y1\n0.png,a,1,2,,,,,\n0.png,a,3,4,0,,,,\n0.png,b,,,,5,6,7,8\n0.png,,9,9,1,,,,\n"
    found = source(text).prompts("0.png")
    assert found.ids == ("a", "b", "")
    assert found.points_xy[0].tolist() == [[1, 2], [3, 4]]
    assert found.point_labels.tolist() == [[1, 0], [-1, -1], [1, -1]]
    assert found.has_box.tolist() == [False, True, False]
    assert found.boxes_xyxy[1].tolist() == [5, 6, 7, 8]


@pytest.mark.parametrize(
    ("text", "suffix", "message"),
    [
        ("name,x0,y0,x1,y1\na,1,2,3,4\n", ".csv", "has no column image, only name"),
        ("image,x0,y0,x1\na,1,2,3\n", ".csv", "lacks y1 beside x0"),
        ("image,class\na,dog\n", ".csv", "has no boxes .* and no points"),
        ("image,x0,y0,x1,y1\na,1,2,3,four\n", ".csv", "column y1 has values that are no numbers"),
        ("image,x0,y0,x1,y1\n ,1,2,3,4\n", ".csv", "row 1: image is ' '"),
        ("image,x0\na\n", ".csv", "cannot be read as a table"),
        ("image,x0\na,1\n", ".txt", r"ends in \.csv or \.parquet"),
    ],
)
def test_what_is_no_table_of_boxes_is_said(source, text, suffix, message):
    with pytest.raises(SourceError, match=message):
        source(text, suffix)
