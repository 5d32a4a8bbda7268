"""Label Studio's tasks with predictions, as its documentation has them."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest

from segray.formats.label_studio import brush
from segray.formats.label_studio.writer import export_label_studio, image_url
from segray.store.rows import ImageRow


def test_tasks_hold_the_masks_to_the_pixel(tmp_path, make_row, left_out, make_refused, classes) -> None:
    rows = [make_row("a b.jpg", classes=[0, 1, 2, -1, 1, 2]), make_refused("b", "empty"), make_row("c.jpg")]
    summary = export_label_studio(rows, tmp_path / "out", classes, model_version="nano-1")
    assert (summary.images, summary.masks, left_out(summary)) == (2, 12, {"empty": 1})
    tasks = json.loads((tmp_path / "out/tasks.json").read_text())
    assert [task["data"]["image_id"] for task in tasks] == ["a b.jpg", "c.jpg"]
    (prediction,) = tasks[0]["predictions"]
    assert prediction["model_version"] == "nano-1"
    assert prediction["score"] == pytest.approx(0.95)
    for result, counts in zip(prediction["result"], rows[0].instances.counts, strict=True):
        assert (result["type"], result["value"]["format"], result["image_rotation"]) == ("brushlabels", "rle", 0)
        size_hw = (result["original_height"], result["original_width"])
        assert brush.decode(result["value"]["rle"], size_hw) == counts
    assert [result["value"]["brushlabels"] for result in prediction["result"]] == [
        [name] for name in ("cell", "nucleus", "yeast: bud", "object", "nucleus", "yeast: bud")
    ]
    assert len({result["id"] for task in tasks for result in task["predictions"][0]["result"]}) == 12
    assert prediction["result"][0]["meta"] == {"provenance": "sam:nano", "stability": "0.962500"}
    assert prediction["result"][5]["meta"] == {"provenance": "sam:nano"}


def test_the_interface_fits_the_tasks(tmp_path, make_row) -> None:
    export_label_studio([make_row()], tmp_path / "out", ['a "b" <c>'], model_version="x")
    view = ElementTree.parse(tmp_path / "out/config.xml").getroot()
    result = json.loads((tmp_path / "out/tasks.json").read_text())[0]["predictions"][0]["result"][0]
    brush_tag, image_tag = view.find("BrushLabels"), view.find("Image")
    assert (brush_tag.get("name"), image_tag.get("name")) == (result["from_name"], result["to_name"])
    assert brush_tag.get("toName") == image_tag.get("name")
    assert image_tag.get("value") == "$image"
    assert [label.get("value") for label in brush_tag] == ['a "b" <c>', "object"]


@pytest.mark.parametrize(
    ("uri", "image_id", "url"),
    [
        ("/data/a/b c.jpg", "a/b c.jpg", "/data/local-files/?d=a/b%20c.jpg"),
        ("s3://bucket/a.jpg", "a.jpg", "s3://bucket/a.jpg"),
        ("https://host/a.jpg?x=1", "a.jpg", "https://host/a.jpg?x=1"),
        ("/data/é&?#.jpg", "é&?#.jpg", "/data/local-files/?d=%C3%A9%26%3F%23.jpg"),
    ],
)
def test_where_images_are_found(uri, image_id, url) -> None:
    assert image_url(ImageRow(image_id=image_id, uri=uri, version="1")) == url


@pytest.mark.parametrize("rows", [0, 1])
def test_nothing_to_say_is_valid_json(tmp_path, make_row, rows) -> None:
    bare = make_row(masks=np.zeros((0, 3, 3), dtype=bool))
    export_label_studio([bare] * rows, tmp_path / "out", (), model_version="x")
    tasks = json.loads((tmp_path / "out/tasks.json").read_text())
    assert [task["predictions"] for task in tasks] == [[{"model_version": "x", "result": []}]] * rows
