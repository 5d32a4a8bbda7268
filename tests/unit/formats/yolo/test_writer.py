"""YOLO-seg labels, parsed back as trainers parse them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from segray.formats.yolo.writer import export_yolo
from segray.masks import rle


def parsed(path: Path, size_hw: tuple[int, int]) -> list[tuple[int, np.ndarray]]:
    """(class, corners in pixels) per line."""
    lines = [line.split() for line in path.read_text().splitlines()]
    sides = (size_hw[1], size_hw[0])
    return [(int(line[0]), np.array(line[1:], dtype=float).reshape(-1, 2) * sides) for line in lines]


@pytest.mark.parametrize(("tolerance", "least"), [(0.0, 0.9999), (0.75, 0.95)])
def test_lines_come_back_as_masks(tmp_path, make_row, classes, tolerance, least) -> None:
    row = make_row("sub/a.b.jpg", classes=[0, 1, 2, 0, 1, 2])
    summary = export_yolo([row], tmp_path / "out", classes, tolerance_px=tolerance)
    assert (summary.images, summary.masks) == (1, 6)
    size_hw = row.instances.size_hw
    found = parsed(tmp_path / "out/labels/sub/a.b.txt", size_hw)
    assert [class_id for class_id, _ in found] == [0, 1, 2, 0, 1, 2]
    back = [rle.from_polygons([np.round(corners, 3).reshape(-1).tolist()], size_hw) for _, corners in found]
    assert np.diag(rle.iou(back, list(row.instances.counts), size_hw)).min() >= least


def test_filled_with_opencv_masks_grow_by_an_edge_at_most(tmp_path, make_row) -> None:
    row = make_row("a.jpg")
    export_yolo([row], tmp_path / "out", ())
    for index in (0, 2, 4):
        corners = parsed(tmp_path / "out/labels/a.txt", row.instances.size_hw)[index][1]
        canvas = np.zeros(row.instances.size_hw, dtype=np.uint8)
        cv2.fillPoly(canvas, [corners.astype(np.int32)], 1)
        want = row.instances.to_masks()[index]
        assert (canvas.astype(bool) & want).sum() / (canvas.astype(bool) | want).sum() >= 0.85


def test_shares_stay_between_zero_and_one(tmp_path, make_row) -> None:
    export_yolo([make_row(masks=np.ones((1, 13, 17), dtype=bool))], tmp_path / "out", ())
    assert (tmp_path / "out/labels/a.txt").read_text().split()[0] == "0"
    shares = [float(word) for word in (tmp_path / "out/labels/a.txt").read_text().split()[1:]]
    assert (min(shares), max(shares)) == (0, 1)


def test_class_names_are_strings_whatever_they_are(tmp_path, make_row) -> None:
    export_yolo([make_row()], tmp_path / "out", ["no", 'a: "b"', "é"])
    lines = (tmp_path / "out/data.yaml").read_text().splitlines()
    assert lines[0] == "path: ."
    assert [json.loads(line.split(": ", 1)[1]) for line in lines[4:]] == ["no", 'a: "b"', "é", "object"]


def test_an_image_without_masks_has_an_empty_file(tmp_path, make_row, left_out, make_refused) -> None:
    rows = [make_row("a.jpg", masks=np.zeros((0, 4, 4), dtype=bool)), make_refused("b.jpg", "empty")]
    summary = export_yolo(rows, tmp_path / "out", ())
    assert (tmp_path / "out/labels/a.txt").read_text() == ""
    assert not (tmp_path / "out/labels/b.txt").exists()
    assert left_out(summary) == {"empty": 1}
