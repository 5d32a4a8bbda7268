"""COCO: classes, masks of every form against pycocotools, missing images, and everything a file can have wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as reference
from pycocotools.coco import COCO

from segray.errors import SourceError
from segray.formats.coco import CocoSource
from segray.formats.coco.reader import CocoImages
from segray.masks import rle
from segray.storage import files

FREE = Path(__file__).parents[5] / "shared/data/coco-free"
SQUARE = np.zeros((20, 30), dtype=bool)
SQUARE[5:10, 8:20] = True
PACKED = rle.encode(SQUARE[None])[0]
RUNS = rle.to_runs(PACKED).tolist()
FORMS: dict[str, Any] = {
    "polygon": [[8, 5, 20, 5, 20, 10, 8, 10]],
    "two polygons": [[8, 5, 14, 5, 14, 10, 8, 10], [14, 5, 20, 5, 20, 10, 14, 10]],
    "run lengths": {"size": [20, 30], "counts": RUNS},
    "packed": {"size": [20, 30], "counts": PACKED.decode()},
}


def content(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "images": [
            {"id": 7, "file_name": "a.png", "height": 20, "width": 30},
            {"id": 3, "file_name": "below/b.png", "height": 20, "width": 30},
        ],
        "categories": [{"id": 90, "name": "tree"}, {"id": 4, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 90, "segmentation": FORMS["polygon"], "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 4, "segmentation": FORMS["run lengths"], "iscrowd": 1},
        ],
    }
    return document | changes


def source(tmp_path: Path, document: Any) -> CocoImages:
    text = document if isinstance(document, str) else json.dumps(document)
    (tmp_path / "instances.json").write_text(text)
    (tmp_path / "pictures").mkdir(exist_ok=True)
    return CocoImages(CocoSource(uri=str(tmp_path / "pictures"), annotations=str(tmp_path / "instances.json")))


def annotated(tmp_path: Path, segmentation: Any) -> CocoImages:
    one = {"id": 5, "image_id": 7, "category_id": 4, "segmentation": segmentation}
    return source(tmp_path, content(annotations=[one]))


def test_classes_are_numbered_by_category_id(tmp_path: Path) -> None:
    opened = source(tmp_path, content())
    assert opened.classes == ("cat", "tree")
    found = opened.instances("a.png")
    assert found is not None
    assert found.classes.tolist() == [1]
    assert found.provenance.tolist() == ["gt"]


def test_categories_of_one_name_are_one_class(tmp_path: Path) -> None:
    opened = source(tmp_path, content(categories=[{"id": 90, "name": "cat"}, {"id": 4, "name": "cat"}]))
    assert opened.classes == ("cat",)
    found = opened.instances("a.png", crowds=True)
    assert found is not None
    assert found.classes.tolist() == [0, 0]


def test_crowds_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    found = source(tmp_path, content()).instances("a.png", crowds=True)
    assert found is not None
    assert found.provenance.tolist() == ["gt", "gt:crowd"]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_mask(form: str, tmp_path: Path) -> None:
    found = annotated(tmp_path, FORMS[form]).instances("a.png")
    assert found is not None
    assert np.array_equal(found.to_masks()[0], SQUARE)
    assert found.boxes_xyxy.tolist() == [[8, 5, 20, 10]]


def test_images_without_annotations_and_unknown_ones(tmp_path: Path) -> None:
    opened = source(tmp_path, content())
    empty = opened.instances("below/b.png")
    assert empty is not None
    assert len(empty) == 0
    assert empty.size_hw == (20, 30)
    assert opened.instances("c.png") is None


def test_a_list_of_images_alone_is_enough(tmp_path: Path) -> None:
    opened = source(tmp_path, {"images": [{"id": 1, "file_name": "a.png"}]})
    assert [row.image_id for row in opened.rows()] == ["a.png"]
    with pytest.raises(SourceError, match="no usable height and width"):
        opened.instances("a.png")


@pytest.mark.parametrize("segmentation", [[], [[1, 1, 2, 2]], {"size": [20, 30], "counts": [600]}])
def test_what_covers_nothing_is_left_out_with_a_warning(
    segmentation: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = annotated(tmp_path, segmentation).instances("a.png")
    assert found is not None
    assert len(found) == 0
    assert "a.png" in caplog.text


@pytest.mark.parametrize("where", ["disk", "s3", "memory"])
def test_missing_images_are_rows(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    root = str(tmp_path / "pictures")
    if where != "disk":
        root = request.getfixturevalue("s3_bucket") if where == "s3" else f"memory://{tmp_path.name}"
    there = files.join(root, "below/b.png")
    files.write_bytes_atomic(there, b"1")
    elsewhere = tmp_path / "elsewhere.png"
    elsewhere.write_bytes(b"1")
    listed = [
        {"id": number, "file_name": name}
        for number, name in enumerate(["a.png", "below/b.png", str(elsewhere), ".hidden/c.png", "./below/d.png"])
    ]
    listed[2]["file_name"] = f"file://{elsewhere}"
    (tmp_path / "images.json").write_text(json.dumps({"images": listed}))
    rows = list(CocoImages(CocoSource(uri=root, annotations=str(tmp_path / "images.json"))).rows())
    versions = {row.image_id: row.version for row in rows}
    assert list(versions) == [image["file_name"] for image in listed]
    assert versions["below/b.png"] == files.version(there)
    assert versions[f"file://{elsewhere}"] == files.version(str(elsewhere))
    assert versions["a.png"] == versions[".hidden/c.png"] == files.MISSING


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    opened = source(tmp_path, content())
    (tmp_path / "pictures").rmdir()
    with pytest.raises(SourceError, match="pictures"):
        list(opened.rows())


Change = Callable[[dict[str, Any]], Any]
WRONG: dict[str, tuple[Any, str]] = {
    "not json": ("{'images': ]", "not JSON"),
    "not utf-8": ("[" * 100_000, "not JSON"),
    "a list": ([], "is a list"),
    "no images": ({"annotations": [], "categories": []}, "images: missing"),
    "no categories": ({**content(), "categories": None}, "categories: must be a list, got null"),
    "images no list": (content(images={}), "images: must be a list, got object"),
    "image no object": (content(images=[3]), r"images\[0\]: must be an object"),
    "no file name": (content(images=[{"id": 7}]), r"images\[0\].file_name is None"),
    "empty file name": (content(images=[{"id": 7, "file_name": " "}]), "file_name is ' '"),
    "no text": (content(images=[{"id": 7, "file_name": "\ud800.png"}]), "not Unicode"),
    "file name twice": (
        content(images=[{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "a.png"}]),
        r"images\[1\].file_name 'a.png': there is another one",
    ),
    "id twice": (
        content(images=[{"id": 7, "file_name": "a.png"}, {"id": 7, "file_name": "b.png"}]),
        r"images\[1\].id 7: there is another one",
    ),
    "category no id": (content(categories=[{"name": "cat"}]), r"categories\[0\].id is None"),
    "no such image": (content(images=[]), r"annotations\[0\].image_id is 7, which the file does not list"),
    "no such category": (content(categories=[]), r"annotations\[0\].category_id is 90"),
    "unhashable": (content(annotations=[{"image_id": [], "category_id": 4}]), r"image_id is \[\]"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_broken_file_is_one_clear_error(name: str, tmp_path: Path) -> None:
    document, message = WRONG[name]
    with pytest.raises(SourceError, match=message) as caught:
        source(tmp_path, document)
    assert "instances.json" in str(caught.value)


def test_all_problems_are_told_but_not_thousands(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        source(tmp_path, content(images=[{"id": "x"}] * 30))
    lines = str(caught.value).splitlines()
    assert "60 problems" in lines[0]
    assert len(lines) == 12
    assert "and 50 more" in lines[-1]


def test_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="absent"):
        CocoImages(CocoSource(uri=str(tmp_path), annotations=str(tmp_path / "absent.json")))


BROKEN: dict[str, Any] = {
    "none": None,
    "text": "polygon",
    "odd": [[1, 2, 3, 4, 5, 6, 7]],
    "words": [["a", "b", "c", "d", "e", "f"]],
    "nested": [[[1, 2], [3, 4]]],
    "not finite": [[1, 2, float("nan"), 4, 5, 6]],
    "beyond the sky": [[1, 2, 1e12, 4, 5, 6]],
    "other size": {"size": [30, 20], "counts": RUNS},
    "too many": {"size": [20, 30], "counts": [601]},
    "negative": {"size": [20, 30], "counts": [-5, 605]},
    "no whole numbers": {"size": [20, 30], "counts": [300.0, 300.0]},
    "packed, too many": {"size": [20, 30], "counts": rle.encode(np.ones((1, 90, 90), dtype=bool))[0].decode()},
    "packed, cut": {"size": [20, 30], "counts": PACKED.decode()[:-1]},
    "packed, open end": {"size": [20, 30], "counts": "ooo"},
    "packed, nothing": {"size": [20, 30], "counts": ""},
    "packed, other letters": {"size": [20, 30], "counts": "\x01\x02é"},
    "no counts": {"size": [20, 30]},
    "size no list": {"size": 5, "counts": RUNS},
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_mask_names_its_annotation(name: str, tmp_path: Path) -> None:
    opened = annotated(tmp_path, BROKEN[name])
    with pytest.raises(SourceError, match=r"annotation 5 of image 'a.png'"):
        opened.instances("a.png")


@pytest.mark.skipif(not FREE.is_dir(), reason="the coco-free photographs are not here")
def test_the_same_masks_as_pycocotools_on_photographs() -> None:
    opened = CocoImages(CocoSource(uri=str(FREE / "images"), annotations=str(FREE / "instances.json")))
    rows = list(opened.rows())
    assert len(rows) == 186
    assert all(row.version != files.MISSING for row in rows)
    assert len(opened.classes) == 80
    theirs = COCO(str(FREE / "instances.json"))
    compared = crowds = 0
    for image in theirs.dataset["images"]:
        expected = theirs.loadAnns(theirs.getAnnIds(imgIds=image["id"]))
        found = opened.instances(image["file_name"], crowds=True)
        assert found is not None
        assert len(found) == len(expected)
        for index, annotation in enumerate(expected):
            mine = {"size": list(found.size_hw), "counts": found.counts[index]}
            assert reference.iou([theirs.annToRLE(annotation)], [mine], [0])[0, 0] == 1
            assert opened.classes[found.classes[index]] == theirs.cats[annotation["category_id"]]["name"]
            compared += 1
            crowds += found.provenance[index] == "gt:crowd"
    assert compared == len(theirs.anns)
    assert crowds > 0
