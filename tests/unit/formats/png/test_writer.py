"""A PNG per mask, read back through PIL."""

import json

import numpy as np
import pytest
from PIL import Image

from segray.formats.png import PngSource
from segray.formats.png.writer import export_png
from segray.formats.registry import open_source


def test_masks_come_back_to_the_pixel(tmp_path, make_row, left_out, make_refused, classes) -> None:
    rows = [make_row("d/a.jpg", classes=[0, 1, 2, -1, 1, 2]), make_refused("b", "empty")]
    summary = export_png(rows, tmp_path / "out", classes)
    assert (summary.images, summary.masks, left_out(summary)) == (1, 6, {"empty": 1})
    (entry,) = [json.loads(line) for line in (tmp_path / "out/index.jsonl").read_text().splitlines()]
    assert (entry["image_id"], entry["folder"]) == ("d/a.jpg", "masks/d/a.jpg")
    for mask, want in zip(entry["masks"], rows[0].instances.to_masks(), strict=True):
        with Image.open(tmp_path / "out" / entry["folder"] / mask["file"]) as image:
            assert image.mode == "L"
            np.testing.assert_array_equal(np.asarray(image), want * np.uint8(255))
    names = ["cell", "nucleus", "yeast: bud", None, "nucleus", "yeast: bud"]
    assert [mask["class"] for mask in entry["masks"]] == names
    assert entry["masks"][0]["point"] == [9.625, 19.25]
    assert (entry["masks"][5]["stability"], entry["masks"][5]["point"]) == (None, None)
    assert entry["masks"][5]["box_xyxy"] == [119, 89, 120, 90]


@pytest.mark.parametrize("class_id", [3, -1, "cell", 0.5])
def test_a_mask_whose_class_is_none_of_the_list_is_damage(tmp_path, make_row, classes, class_id) -> None:
    export_png([make_row("a.png", classes=[0, 1, 2, 0, 1, 2])], tmp_path / "out", classes)
    index = tmp_path / "out" / "index.jsonl"
    entry = json.loads(index.read_text())
    entry["masks"][0]["class_id"] = class_id
    index.write_text(json.dumps(entry))
    source = open_source(PngSource(uri=str(tmp_path), masks=str(tmp_path / "out")))
    assert source.instances("a.png").classes.tolist() == [1, 2, 0, 1, 2]
    assert "labels.txt names 3 classes" in source.tally["masks"].left_out["invalid"].examples[0]
