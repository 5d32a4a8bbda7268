"""YOLO's text files as people have them: polygons, boxes, scores, and lines that are none."""

from pathlib import Path

import numpy as np
import pytest

from segray.errors import SourceError
from segray.formats.registry import open_source
from segray.formats.yolo import YoloSource
from segray.masks import rle
from segray.masks.object_prompts import fit
from segray.testing import write_images

TRIANGLE = "0.1 0.1 0.9 0.1 0.1 0.9"


def source(tmp_path: Path, **labels: str):
    """A source of images of 64 x 64 pixels with these text files."""
    images = write_images(tmp_path / "images", 3)
    (tmp_path / "labels").mkdir()
    for name, text in labels.items():
        (tmp_path / "labels" / f"{name.removeprefix('_')}.txt").write_text(text)
    (tmp_path / "data.yaml").write_text("names: [cat, dog]\n")
    assert images[0].name == "00000.png"
    return open_source(YoloSource(uri=str(tmp_path / "images"), labels=str(tmp_path / "labels")))


def test_polygons_are_masks_of_the_image_s_size(tmp_path):
    opened = source(tmp_path, _00000=f"1 {TRIANGLE}\n0 {TRIANGLE} 0.5\n", _00001="")
    found = opened.instances("00000.png")
    expected = rle.from_polygons([[6.4, 6.4, 57.6, 6.4, 6.4, 57.6]], (64, 64))
    assert found.counts.tolist() == [expected, expected]
    assert found.classes.tolist() == [1, 0]
    assert found.scores.tolist() == [1, 0.5]
    assert len(opened.instances("00001.png")) == 0
    assert opened.instances("00002.png") is None
    assert (opened.tally["lines"].used, opened.tally["label files"].used) == (2, 2)


def test_boxes_are_prompts_and_no_masks(tmp_path):
    opened = source(tmp_path, _00000=f"1 0.5 0.5 0.25 0.5\n0 0.5 0.5 0.5 0.5 0.75\n1 {TRIANGLE}\n")
    assert len(opened.instances("00000.png")) == 1
    assert opened.tally["lines"].left_out["box"].number == 2
    fitted, left_out = fit(opened.prompts("00000.png"), (64, 64))
    assert left_out == []
    np.testing.assert_allclose(
        fitted.boxes_xyxy, [[24, 16, 40, 48], [16, 16, 48, 48], [6.4, 6.4, 57.6, 57.6]], atol=1e-6
    )
    assert fitted.classes.tolist() == [1, 0, 1]
    assert fitted.scores.tolist()[1] == 0.75


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 0.1 0.2", "invalid"),
        ("cat 0.5 0.5 0.1 0.1", "invalid"),
        ("-1 0.5 0.5 0.1 0.1", "invalid"),
        ("inf 0.5 0.5 0.1 0.1", "invalid"),
        ("0 0.5 nan 0.1 0.1", "invalid"),
        ("0 300 200 100 100", "invalid"),
        (f"7 {TRIANGLE}", "unnamed"),
        ("0 0.5 0.5 0.5 0.5 0.5 0.5", "no-pixel"),
    ],
)
def test_lines_that_are_none_are_counted_as_damage(tmp_path, line, reason):
    opened = source(tmp_path, _00000=f"0 {TRIANGLE}\n\n{line}\n")
    assert len(opened.instances("00000.png")) == 1
    (count,) = opened.tally["lines"].left_out.values()
    assert (count.reason.name, count.number, count.reason.is_damage) == (reason, 1, True)
    assert "line 3 of '00000.png'" in count.examples[0]


@pytest.mark.parametrize(
    ("text", "names"), [("names: [a, b]", ("a", "b")), ("names: {1: b}", ("0", "b")), ('names: {"0": a}', ("a",))]
)
def test_names_as_a_list_and_by_index(tmp_path, text, names):
    (tmp_path / "classes.yaml").write_text(text)
    settings = YoloSource(uri=str(tmp_path), labels=str(tmp_path), data=str(tmp_path / "classes.yaml"))
    assert open_source(settings).classes == names


@pytest.mark.parametrize("text", [None, "names: 3", "[", "nc: 2", "- a"])
def test_classes_that_nobody_names_are_one_error(tmp_path, text):
    if text is not None:
        (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(SourceError, match=r"data\.yaml: (names no classes|there is no such file)"):
        open_source(YoloSource(uri=str(tmp_path), labels=str(tmp_path / "labels")))
