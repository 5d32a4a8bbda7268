"""COCO: classes, masks of every form against pycocotools, missing images, and everything a file can have wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as reference
from pycocotools.coco import COCO

from segray.errors import DamageError, SourceError
from segray.formats.coco import CocoSource
from segray.formats.coco.reader import CocoImages
from segray.formats.coco.writer import export_coco
from segray.formats.registry import open_source
from segray.masks import rle
from segray.masks.instances import Instances
from segray.storage import files
from segray.store.rows import ImageRow, LabeledRow

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


def source(tmp_path: Path, document: Any, crowds: Any = "leave_out") -> CocoImages:
    text = document if isinstance(document, str) else json.dumps(document)
    (tmp_path / "instances.json").write_text(text)
    (tmp_path / "pictures").mkdir(exist_ok=True)
    given = {"uri": str(tmp_path / "pictures"), "annotations": str(tmp_path / "instances.json"), "crowds": crowds}
    return CocoImages(CocoSource(**given))


def annotated(tmp_path: Path, segmentation: Any) -> CocoImages:
    one = {"id": 5, "image_id": 7, "category_id": 4, "segmentation": segmentation}
    return source(tmp_path, content(annotations=[one]))


@pytest.mark.parametrize(
    ("area", "read"), [(7.5, 7.5), (0, 0), (None, 12), ("7", 12), (-1, 12), (True, 12), (1e30, 12), (float("inf"), 12)]
)
def test_the_area_is_the_file_s_where_it_gives_one(tmp_path, area, read):
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 3, 0, 3]], "area": area}
    document = {"images": [{"id": 1, "file_name": "a.png", "height": 8, "width": 8}]}
    document |= {"categories": [{"id": 1, "name": "cat"}], "annotations": [annotation]}
    (tmp_path / "a.json").write_text(json.dumps(document))
    source = open_source(CocoSource(uri=str(tmp_path), annotations=str(tmp_path / "a.json")))
    found = source.instances("a.png")
    assert (found.coco_areas().tolist(), found.areas.tolist()) == ([read], [12])


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


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ([], "no-segmentation"),
        (None, "no-segmentation"),
        ([[1, 1, 2, 2]], "too-few-points"),
        ([[], [1, 1]], "too-few-points"),
        ([[1.1, 1.1, 1.2, 1.1, 1.1, 1.2]], "no-pixel"),
        ({"size": [20, 30], "counts": [600]}, "no-pixel"),
    ],
)
def test_what_covers_nothing_is_left_out_and_counted(segmentation: Any, reason: str, tmp_path: Path) -> None:
    opened = annotated(tmp_path, segmentation)
    found = opened.instances("a.png")
    assert found is not None
    assert len(found) == 0
    count = opened.tally["annotations"].left_out[reason]
    assert (count.number, count.reason.is_damage, count.examples) == (1, True, ["annotation 5 of 'a.png'"])


def test_a_polygon_of_two_points_beside_others_is_noted(tmp_path: Path) -> None:
    opened = annotated(tmp_path, [*FORMS["polygon"], [1, 1, 2, 2]])
    found = opened.instances("a.png")
    assert found is not None
    assert np.array_equal(found.to_masks()[0], SQUARE)
    assert opened.tally["annotations"].used == opened.tally["annotations"].notes["short-polygons"].number == 1


def test_an_id_that_two_annotations_have_is_noted(tmp_path: Path) -> None:
    one = {"id": 5, "image_id": 7, "category_id": 4, "segmentation": FORMS["polygon"]}
    opened = source(tmp_path, content(annotations=[one, one | {"id": "5"}, one | {"id": 6}]))
    opened.instances("a.png")
    assert opened.tally["annotations"].used == 3
    assert opened.tally["annotations"].notes["repeated"].number == 2


def test_an_image_that_is_read_twice_is_counted_once(tmp_path: Path) -> None:
    opened = source(tmp_path, content())
    for _ in range(2):
        opened.instances("a.png", crowds=True)
    assert (opened.tally["annotations"].used, opened.tally["annotations"].read) == (1, 2)


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
    rows = list(CocoImages(CocoSource(uri=root, annotations=str(tmp_path / "images.json"), outside=True)).rows())
    versions = {row.image_id: row.version for row in rows}
    assert list(versions) == [image["file_name"] for image in listed]
    assert versions["below/b.png"] == files.version(there)
    assert versions[f"file://{elsewhere}"] == files.version(str(elsewhere))
    assert versions["a.png"] == versions[".hidden/c.png"] == files.MISSING


@pytest.mark.parametrize("name", ["../a.png", "/etc/passwd", "file:///a.png", "reference://x::http://h/refs.json"])
def test_names_that_lead_elsewhere_are_not_opened(name: str, tmp_path: Path) -> None:
    (tmp_path / "images.json").write_text(json.dumps({"images": [{"id": 1, "file_name": name}]}))
    with pytest.raises(SourceError, match="are not opened"):
        list(CocoImages(CocoSource(uri=str(tmp_path), annotations=str(tmp_path / "images.json"))).rows())


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
    "no flag": (content(annotations=[{"image_id": 7, "category_id": 4, "iscrowd": "maybe"}]), "iscrowd is 'maybe'"),
    "flag of two": (content(annotations=[{"image_id": 7, "category_id": 4, "iscrowd": 2}]), "iscrowd is 2, it must be"),
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
def test_a_broken_mask_is_damage_and_says_why(name: str, tmp_path: Path) -> None:
    opened = annotated(tmp_path, BROKEN[name])
    found = opened.instances("a.png")
    assert found is not None
    assert len(found) == 0
    (example,) = opened.tally["annotations"].left_out["invalid"].examples
    assert example.startswith("annotation 5 of 'a.png': ")
    with pytest.raises(DamageError, match=r"1 of 1 annotations"):
        opened.tally.check(0.05)


FLAGS = {
    "0": 0,
    "1": 1,
    "text 0": "0",
    "text 1": "1",
    "false": False,
    "true": True,
    "null": None,
    "text false": "false",
}


@pytest.mark.parametrize(("flag", "is_crowd"), [(FLAGS[name], name.endswith(("1", "true"))) for name in FLAGS])
@pytest.mark.parametrize("crowds", ["leave_out", "masks"])
def test_iscrowd_is_read_in_every_form(flag: Any, is_crowd: bool, crowds: Any, tmp_path: Path) -> None:
    one = {"id": 5, "image_id": 7, "category_id": 4, "segmentation": FORMS["polygon"], "iscrowd": flag}
    opened = source(tmp_path, content(annotations=[one]), crowds=crowds)
    found = opened.instances("a.png")
    assert found is not None
    assert len(found) == (not is_crowd or crowds == "masks")
    assert set(found.provenance) <= {"gt"}


def test_ids_are_numbers_or_texts_of_digits(tmp_path: Path) -> None:
    images = [{"id": "7", "file_name": "a.png", "height": 20, "width": 30}]
    one = {"id": "5", "image_id": 7, "category_id": "04", "segmentation": FORMS["polygon"]}
    opened = source(tmp_path, content(images=images, annotations=[one]))
    found = opened.instances("a.png")
    assert found is not None
    assert [opened.classes[index] for index in found.classes] == ["cat"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_the_file(encoding: str, tmp_path: Path) -> None:
    opened = source(tmp_path, content())
    path = tmp_path / "instances.json"
    path.write_bytes(path.read_text().encode(encoding))
    again = CocoImages(CocoSource(uri=str(tmp_path / "pictures"), annotations=str(path)))
    assert list(again.annotated) == list(opened.annotated)


def test_masks_with_holes_survive_our_own_export_for_cvat(tmp_path: Path) -> None:
    """CVAT's form has `iscrowd` 1 for each of them; `provenance` says that they are no crowds."""
    ring = np.zeros((2, 20, 30), dtype=bool)
    ring[:, 3:15, 3:15] = True
    ring[0, 6:10, 6:10] = False
    made = Instances.from_masks(ring, provenance="sam:nano", classes=[0, 0])
    row = LabeledRow(image=ImageRow(image_id="a.png", uri="a.png", version="1"), instances=made)
    export_coco([row], tmp_path / "cvat.json", ("cell",), form="cvat")
    written = json.loads((tmp_path / "cvat.json").read_text())["annotations"]
    assert [one["iscrowd"] for one in written] == [1, 0]
    opened = CocoImages(CocoSource(uri=str(tmp_path), annotations=str(tmp_path / "cvat.json")))
    found = opened.instances("a.png")
    assert found is not None
    assert np.array_equal(found.to_masks(), ring)
    assert opened.tally["annotations"].notes["crowd"].number == 1


CASES = Path(__file__).parents[5] / "shared/cases"


@pytest.mark.parametrize(
    ("file", "crowds", "masks", "left_out"),
    [
        ("00-base/instances.json", "leave_out", 24, 0),
        ("04-crowd-masks/mixed.json", "leave_out", 12, 12),
        ("04-crowd-masks/mixed.json", "masks", 24, 0),
        ("04-crowd-masks/all.json", "leave_out", 0, 24),
        ("04-crowd-masks/all.json", "masks", 24, 0),
        ("04-crowd-masks/donuts.json", "leave_out", 24, 0),
        ("05-iscrowd-text/text-0.json", "leave_out", 24, 0),
        ("05-iscrowd-text/text-false.json", "leave_out", 24, 0),
        ("05-iscrowd-text/null.json", "leave_out", 24, 0),
        ("05-iscrowd-text/false.json", "leave_out", 24, 0),
    ],
)
def test_cases_that_people_brought(file: str, crowds: Any, masks: int, left_out: int) -> None:
    opened = CocoImages(CocoSource(uri=str(CASES / "00-base/images"), annotations=str(CASES / file), crowds=crowds))
    found = [opened.instances(image_id) for image_id in opened.annotated]
    assert sum(len(one) for one in found if one is not None) == masks
    assert opened.tally["annotations"].used == masks
    told = f'  {left_out} of 24 annotations have iscrowd 1 and are left out; `crowds = "masks"` takes them'
    assert (told in opened.tally.lines()) == bool(left_out)
    opened.tally.check(0)


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
