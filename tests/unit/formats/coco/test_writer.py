"""COCO JSON, as pycocotools reads it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from segray.errors import ExportError
from segray.formats.coco import CocoSource
from segray.formats.coco.ids import CocoIds
from segray.formats.coco.writer import export_coco
from segray.formats.registry import open_source
from segray.formats.tally import image_number


def decoded(out: Path) -> list[np.ndarray]:
    coco = COCO(str(out))
    return [coco.annToMask(annotation).astype(bool) for annotation in coco.dataset["annotations"]]


def test_run_lengths_come_back_to_the_pixel(tmp_path, make_row, left_out, make_refused, classes) -> None:
    rows = [make_row("a.jpg", classes=[0, 1, 2, 0, 1, 2]), make_refused("b.jpg", "damaged"), make_row("c/d.jpg")]
    summary = export_coco(rows, tmp_path / "out.json", classes)
    assert (summary.images, summary.masks, left_out(summary)) == (2, 12, {"damaged": 1})
    wanted = [mask for row in (rows[0], rows[2]) for mask in row.instances.to_masks()]
    for mask, want in zip(decoded(tmp_path / "out.json"), wanted, strict=True):
        np.testing.assert_array_equal(mask, want)


def test_what_is_known_of_a_mask_is_kept(tmp_path, make_row, classes) -> None:
    row = make_row("é/a.jpg", classes=[0, 1, 2, -1, 1, 2])
    export_coco([row], tmp_path / "out.json", classes)
    document = json.loads((tmp_path / "out.json").read_text())
    assert [category["name"] for category in document["categories"]] == [*classes, "object"]
    assert [annotation["category_id"] for annotation in document["annotations"]] == [1, 2, 3, 4, 2, 3]
    assert document["images"][0]["file_name"] == "é/a.jpg"
    assert (document["images"][0]["height"], document["images"][0]["width"]) == row.instances.size_hw
    first, last = document["annotations"][0], document["annotations"][-1]
    assert (first["score"], first["stability"], first["point"]) == (0.9, 0.9625, [9.625, 19.25])
    assert (last["score"], last["stability"], last["point"]) == (1.0, None, None)
    assert {annotation["provenance"] for annotation in document["annotations"]} == {"sam:nano"}
    assert last["bbox"] == [119, 89, 1, 1]
    assert [a["area"] for a in document["annotations"]] == row.instances.areas.tolist()
    assert {annotation["iscrowd"] for annotation in document["annotations"]} == {0}


def test_ids_and_attributes_of_the_objects_own_file_are_kept(tmp_path, make_row, classes) -> None:
    row = make_row("a.jpg")
    number = len(row.instances)
    attributes = np.array(['{"review": "stability below 0.5", "drawn_by": "ann"}', *[""] * (number - 1)], object)
    ids = np.array(["291613", *[""] * (number - 1)], object)
    kept = replace(row, instances=replace(row.instances, ids=ids, attributes=attributes))
    export_coco([kept], tmp_path / "out.json", classes)
    first, *others = json.loads((tmp_path / "out.json").read_text())["annotations"]
    assert first["id"] == 291613
    assert first["attributes"] == {"review": "stability below 0.5", "drawn_by": "ann"}
    assert [one["id"] for one in others] == list(range(291614, 291613 + number))
    assert not any({"source_id", "attributes"} & one.keys() for one in others)


def test_an_id_that_is_no_number_or_is_taken_stays_beside(tmp_path, make_row) -> None:
    row = make_row("a.jpg")
    ids = np.array(["7", "", "7", "007", "ann-3", "0"], object)
    export_coco([replace(row, instances=replace(row.instances, ids=ids))], tmp_path / "out.json", ())
    found = json.loads((tmp_path / "out.json").read_text())["annotations"]
    assert [(one["id"], one.get("source_id")) for one in found] == [
        *((7, None), (8, None), (9, "7"), (10, "007"), (11, "ann-3"), (0, None))
    ]
    source = open_source(CocoSource(uri=str(tmp_path), annotations=str(tmp_path / "out.json")))
    assert source.instances("a.jpg").ids.tolist() == ["7", "8", "7", "007", "ann-3", "0"]


def test_numbers_of_the_images_own_file_are_kept(tmp_path, make_row) -> None:
    ids = CocoIds(images={"a.jpg": 139, "b.jpg": 0}, categories={"dog": 18, "cat": 90})
    rows = [make_row(name, classes=[0, 1, 2, 0, 1, 2]) for name in ("a.jpg", "b.jpg", "new.jpg")]
    export_coco(rows, tmp_path / "out.json", ("cat", "dog", "emu"), ids=ids)
    document = json.loads((tmp_path / "out.json").read_text())
    assert [one["id"] for one in document["images"]] == [139, 0, image_number("new.jpg")]
    assert [one["id"] for one in document["categories"]] == [90, 18, 93]
    assert [one["category_id"] for one in document["annotations"]] == [90, 18, 93] * 6
    assert [one["image_id"] for one in document["annotations"]][::6] == [139, 0, image_number("new.jpg")]


@pytest.mark.parametrize(("form", "tolerance", "least"), [("polygons", 0.0, 1.0), ("polygons", 0.75, 0.95)])
def test_polygons_come_back_close(tmp_path, make_row, form, tolerance, least) -> None:
    row = make_row()
    export_coco([row], tmp_path / "out.json", (), form=form, tolerance_px=tolerance)
    document = json.loads((tmp_path / "out.json").read_text())
    assert all(isinstance(annotation["segmentation"], list) for annotation in document["annotations"])
    for mask, want in zip(decoded(tmp_path / "out.json"), row.instances.to_masks(), strict=True):
        assert (mask & want).sum() / (mask | want).sum() >= least


def test_cvat_gets_polygons_without_holes_and_plain_run_lengths_with(tmp_path, make_row) -> None:
    row = make_row()
    export_coco([row], tmp_path / "out.json", (), form="cvat", tolerance_px=0)
    document = json.loads((tmp_path / "out.json").read_text())
    kinds = [(type(a["segmentation"]).__name__, a["iscrowd"]) for a in document["annotations"]]
    assert kinds == [("dict", 1) if index == 1 else ("list", 0) for index in range(6)]
    assert isinstance(document["annotations"][1]["segmentation"]["counts"], list)
    for mask, want in zip(decoded(tmp_path / "out.json"), row.instances.to_masks(), strict=True):
        np.testing.assert_array_equal(mask, want)


@pytest.mark.parametrize(("form", "masks", "gone"), [("rle", 2, {}), ("polygons", 1, {"empty": 1})])
def test_an_empty_mask_is_counted_where_the_form_cannot_hold_it(
    tmp_path, make_row, left_out, form, masks, gone
) -> None:
    dense = np.zeros((2, 8, 9), dtype=bool)
    dense[1, 2:4] = True
    summary = export_coco([make_row(masks=dense)], tmp_path / "out.json", (), form=form)
    assert (summary.masks, left_out(summary, "masks")) == (masks, gone)
    assert len(decoded(tmp_path / "out.json")) == masks


def test_image_ids_do_not_depend_on_what_else_is_exported(tmp_path, make_row) -> None:
    export_coco([make_row("a"), make_row("b")], tmp_path / "1.json", ())
    export_coco([make_row("b")], tmp_path / "2.json", ())
    first, second = (json.loads((tmp_path / name).read_text()) for name in ("1.json", "2.json"))
    assert first["images"][1]["id"] == second["images"][0]["id"]
    assert [annotation["id"] for annotation in first["annotations"]] == list(range(1, 13))
    assert all(0 < image["id"] < 2**53 for image in first["images"])


@pytest.mark.parametrize("rows", [0, 1])
def test_nothing_to_say_is_valid_too(tmp_path, make_row, rows) -> None:
    dense = np.zeros((0, 8, 9), dtype=bool)
    export_coco([make_row(masks=dense)] * rows, tmp_path / "out.json", ())
    coco = COCO(str(tmp_path / "out.json"))
    assert (len(coco.imgs), len(coco.anns)) == (rows, 0)


def test_a_class_without_a_name_is_an_error(tmp_path, make_row) -> None:
    with pytest.raises(ExportError, match=r"'a.jpg' has class 7, but 3 class names.*order of their ids"):
        export_coco([make_row(classes=[7] * 6)], tmp_path / "out.json", ("a", "b", "c"))
    assert list(tmp_path.iterdir()) == []


def test_compressed_counts_are_those_of_the_row(tmp_path, make_row) -> None:
    row = make_row()
    export_coco([row], tmp_path / "out.json", ())
    segmentation = json.loads((tmp_path / "out.json").read_text())["annotations"][0]["segmentation"]
    assert segmentation["counts"].encode() == row.instances.counts[0]
    assert coco_mask.area(segmentation) == row.instances.areas[0]


@pytest.mark.parametrize("form", ["rle", "polygons", "cvat"])
def test_our_own_source_reads_it_back(tmp_path, make_row, classes, form) -> None:
    row = make_row("d/a.jpg", classes=[0, 1, 2, 0, 1, 2])
    export_coco([row], tmp_path / "out.json", classes, form=form, tolerance_px=0)
    source = open_source(CocoSource(uri=str(tmp_path), annotations=str(tmp_path / "out.json")))
    found = source.instances("d/a.jpg", crowds=True)
    assert source.classes == classes
    assert found.counts.tolist() == row.instances.counts.tolist()
    assert found.classes.tolist() == row.instances.classes.tolist()


@pytest.mark.parametrize("area", [7.25, 30.0])
def test_the_area_of_the_objects_own_file_is_kept(tmp_path, make_row, classes, area) -> None:
    row = make_row(classes=[0, 1, 2, 0, 1, 2])
    given = np.array([area, *[np.nan] * 5])
    export_coco([replace(row, instances=replace(row.instances, file_areas=given))], tmp_path / "out.json", classes)
    areas = [one["area"] for one in json.loads((tmp_path / "out.json").read_text())["annotations"]]
    assert areas == [area, *row.instances.areas[1:].tolist()]
