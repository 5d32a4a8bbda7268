"""A PNG per mask, read back through PIL."""

import json

import numpy as np
from PIL import Image

from segray.formats.png import export_png


def test_masks_come_back_to_the_pixel(tmp_path, make_row, make_refused, classes) -> None:
    rows = [make_row("d/a.jpg", classes=[0, 1, 2, -1, 1, 2]), make_refused("b", "empty")]
    summary = export_png(rows, tmp_path / "out", classes)
    assert (summary.images, summary.masks, summary.skipped) == (1, 6, {"empty": 1})
    (told,) = [json.loads(line) for line in (tmp_path / "out/index.jsonl").read_text().splitlines()]
    assert (told["image_id"], told["folder"]) == ("d/a.jpg", "masks/d/a.jpg")
    for mask, want in zip(told["masks"], rows[0].instances.to_masks(), strict=True):
        with Image.open(tmp_path / "out" / told["folder"] / mask["file"]) as image:
            assert image.mode == "L"
            np.testing.assert_array_equal(np.asarray(image), want * np.uint8(255))
    names = ["cell", "nucleus", "yeast: bud", "object", "nucleus", "yeast: bud"]
    assert [mask["class"] for mask in told["masks"]] == names
    assert told["masks"][0]["point"] == [9.625, 19.25]
    assert (told["masks"][5]["stability"], told["masks"][5]["point"]) == (None, None)
    assert told["masks"][5]["box_xyxy"] == [119, 89, 120, 90]
