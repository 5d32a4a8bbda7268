"""Pascal VOC's XML files as a source of boxes."""

import json

import numpy as np
import pytest

from segray.formats.registry import open_source
from segray.formats.voc_boxes import VocBoxesSource
from segray.masks.object_prompts import fit
from segray.testing import write_images

SIZE = "<size><width>64</width><height>64</height><depth>3</depth></size>"


def thing(name, corners, more=""):
    sides = "".join(
        f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    )
    return f"<object><name>{name}</name>{more}<bndbox>{sides}</bndbox></object>"


@pytest.fixture
def source(tmp_path):
    write_images(tmp_path / "JPEGImages", 3)

    def make(*documents, **given):
        (tmp_path / "Annotations").mkdir(exist_ok=True)
        for index, text in enumerate(documents):
            (tmp_path / "Annotations" / f"{index:05d}.xml").write_text(text)
        folders = {"uri": str(tmp_path / "JPEGImages"), "annotations": str(tmp_path / "Annotations")}
        return open_source(VocBoxesSource(**folders, **given))

    return make


@pytest.mark.parametrize(("first_pixel", "corner"), [(1, 8), (0, 9)])
def test_a_box_ends_with_its_last_pixel_and_keeps_what_the_file_says(source, first_pixel, corner):
    more = "<pose>Left</pose><difficult>1</difficult><score>0.25</score>"
    read = source(
        f"<annotation>{SIZE}{thing('dog', (9, 9, 40, 48), more)}{thing('cat', (1, 1, 64, 64))}</annotation>",
        first_pixel=first_pixel,
    )
    assert [row.image_id for row in read.rows()] == ["00000.png", "00001.png", "00002.png"]
    assert read.classes == ("cat", "dog")
    found = read.prompts("00000.png")
    assert found.boxes_xyxy[0].tolist() == [corner, corner, 40, 48]
    assert found.classes.tolist() == [1, 0]
    assert (found.scores[0], np.isnan(found.scores[1])) == (0.25, True)
    assert [text and json.loads(text) for text in found.attributes] == [{"pose": "Left", "difficult": "1"}, ""]
    assert found.size_hw == (64, 64)
    assert read.prompts("00001.png") is None


@pytest.mark.parametrize(
    ("size", "corners", "reason"),
    [
        (SIZE, (40, 9, 9, 48), "have inverted boxes"),
        (SIZE, (10, 9, 9, 48), "have empty boxes"),
        (SIZE, (100, 100, 120, 120), "have boxes outside the image"),
        (SIZE, ("left", 9, 40, 48), "have boxes that are no numbers"),
        (SIZE.replace("<height>64", "<height>32"), (9, 9, 40, 30), "are made for an image of another size"),
        ("<size><width>0</width><height>0</height></size>", (9, 9, 40, 48), None),
    ],
)
def test_boxes_that_no_model_can_be_asked_are_left_out_with_a_reason(source, size, corners, reason):
    read = source(f"<annotation>{size}{thing('dog', corners)}</annotation>")
    _, left_out = fit(read.prompts("00000.png"), (64, 64))
    assert left_out == ([reason] if reason else [])


def test_what_cannot_be_read_or_is_of_another_class_is_counted(source):
    bomb = '<!DOCTYPE a [<!ENTITY b "b">]><annotation>&b;</annotation>'
    read = source(
        f"<annotation>{SIZE}{thing('dog', (9, 9, 40, 48))}{thing('car', (1, 1, 9, 9))}</annotation>",
        "<annot",
        bomb,
        classes=("dog",),
    )
    assert [read.prompts(f"{index:05d}.png") is None for index in range(3)] == [False, True, True]
    tally = read.tally
    assert (tally["objects"].used, tally["objects"].left_out["other-class"].number) == (1, 1)
    assert (tally["label files"].used, tally["label files"].damaged) == (1, 2)


def test_a_list_chooses_images_with_boxes(source, tmp_path):
    (tmp_path / "list.txt").write_text("00001\n")
    document = f"<annotation>{SIZE}{thing('dog', (9, 9, 40, 48))}</annotation>"
    read = source(document, document, image_list=str(tmp_path / "list.txt"))
    assert [row.image_id for row in read.rows()] == ["00001.png"]
    assert len(read.prompts("00001.png")) == 1
    assert read.prompts("00000.png") is None
