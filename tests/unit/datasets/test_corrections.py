"""Corrections: what people said of an image replaces what machines said, and nothing else changes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segray.datasets.corrections import Corrections
from segray.errors import SourceError
from segray.formats.coco import CocoSource
from segray.formats.coco.writer import export_coco
from segray.formats.label_studio import LabelStudioSource
from segray.masks.instances import UNLABELED, Instances
from segray.store.rows import ImageRow, LabeledRow

SQUARE = [[8, 5, 20, 5, 20, 10, 8, 10]]


def machine(image_id: str, size_hw: tuple[int, int] = (20, 30)) -> LabeledRow:
    masks = np.ones((2, *size_hw), dtype=bool)
    instances = Instances.from_masks(masks, provenance="sam", classes=[0, UNLABELED], scores=[0.5, 0.6])
    return LabeledRow(
        image=ImageRow(image_id=image_id, uri=f"/x/{image_id}", version="1"),
        sha256="ab",
        seconds=2,
        instances=instances,
    )


def failed(image_id: str) -> LabeledRow:
    image = ImageRow(image_id=image_id, uri=f"/x/{image_id}", version="1")
    return LabeledRow(image=image, error="too-large", detail="so many pixels", seconds=1)


def coco(
    tmp_path: Path, annotations: dict[str, list[tuple[str, int]]], name: str = "fixed.json", crowds: Any = "leave_out"
) -> CocoSource:
    """A COCO file: image -> (category, iscrowd) of each annotation."""
    names = sorted({category for found in annotations.values() for category, _ in found})
    images = [{"id": i, "file_name": n, "height": 20, "width": 30} for i, n in enumerate(annotations)]
    listed = [
        {"id": 1, "image_id": i, "category_id": names.index(category), "segmentation": SQUARE, "iscrowd": crowd}
        for i, found in enumerate(annotations.values())
        for category, crowd in found
    ]
    categories = [{"id": i, "name": n} for i, n in enumerate(names)]
    document = {"images": images, "annotations": listed, "categories": categories}
    (tmp_path / name).write_text(json.dumps(document))
    return CocoSource(uri=str(tmp_path), annotations=str(tmp_path / name), crowds=crowds)


def label_studio(tmp_path: Path, image_id: str, labels: list[str]) -> LabelStudioSource:
    result = [
        {
            "id": str(index),
            "type": "rectanglelabels",
            "original_width": 30,
            "original_height": 20,
            "value": {"x": 10, "y": 10, "width": 20, "height": 20, "rectanglelabels": [label]},
        }
        for index, label in enumerate(labels)
    ]
    skipped = {"data": {"image": "skipped.png"}, "annotations": [{"was_cancelled": True, "result": []}]}
    tasks: list[dict[str, Any]] = [{"data": {"image_id": image_id}, "annotations": [{"result": result}]}, skipped]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    return LabelStudioSource(uri=str(tmp_path), annotations=str(tmp_path / "tasks.json"))


def test_corrected_masks_replace_all_of_the_image(tmp_path: Path) -> None:
    corrections = Corrections.open([coco(tmp_path, {"a.png": [("tree", 0), ("cat", 0)]})], ("cat", "dog"))
    assert corrections.classes == ("cat", "dog", "tree")
    row = machine("a.png")
    fixed = corrections.apply(row)
    assert fixed.instances is not None
    assert fixed.instances.provenance.tolist() == ["correction:fixed.json"] * 2
    assert [corrections.classes[index] for index in fixed.instances.classes] == ["tree", "cat"]
    assert fixed.instances.areas.tolist() == [60, 60]
    assert fixed.instances.scores.tolist() == [1, 1]
    assert (fixed.image, fixed.sha256, fixed.seconds) == (row.image, row.sha256, row.seconds)


def test_other_images_pass_unchanged(tmp_path: Path) -> None:
    corrections = Corrections.open([coco(tmp_path, {"a.png": []})])
    for row in (machine("b.png"), failed("c.png")):
        assert corrections.apply(row) is row
    assert corrections.image_ids == {"a.png"}


def test_no_corrections_change_nothing() -> None:
    row = machine("a.png")
    assert Corrections.open([]).apply(row) is row


def test_nothing_left_by_a_person_is_nothing(tmp_path: Path) -> None:
    fixed = Corrections.open([coco(tmp_path, {"a.png": []})]).apply(machine("a.png"))
    assert fixed.instances is not None
    assert len(fixed.instances) == 0
    assert fixed.instances.size_hw == (20, 30)


def test_an_error_goes_where_a_person_marked_the_image(tmp_path: Path) -> None:
    fixed = Corrections.open([coco(tmp_path, {"a.png": [("cat", 0)]})]).apply(failed("a.png"))
    assert (fixed.error, fixed.detail) == (None, None)
    assert fixed.instances is not None
    assert len(fixed.instances) == 1


def test_the_later_file_counts_and_skipped_tasks_do_not(tmp_path: Path) -> None:
    first = coco(tmp_path, {"a.png": [("cat", 0)], "b.png": [("cat", 0)], "skipped.png": [("cat", 0)]})
    corrections = Corrections.open([first, label_studio(tmp_path, "a.png", ["tree", "tree"])])
    made = {}
    for name in ("a.png", "b.png", "skipped.png"):
        fixed = corrections.apply(machine(name)).instances
        assert fixed is not None
        made[name] = fixed.provenance.tolist()
    assert made == {
        "a.png": ["correction:tasks.json"] * 2,
        "b.png": ["correction:fixed.json"],
        "skipped.png": ["correction:fixed.json"],
    }
    assert corrections.classes == ("cat", "tree")


@pytest.mark.parametrize(("crowds", "masks"), [("leave_out", 1), ("masks", 2)])
def test_crowds_are_what_the_file_is_said_to_mean_by_them(crowds: Any, masks: int, tmp_path: Path) -> None:
    corrections = Corrections.open([coco(tmp_path, {"a.png": [("cat", 1), ("cat", 0)]}, crowds=crowds)])
    fixed = corrections.apply(machine("a.png"))
    assert fixed.instances is not None
    assert fixed.instances.provenance.tolist() == ["correction:fixed.json"] * masks
    assert corrections.read_all()["annotations"].used == masks


def test_a_task_that_a_person_cleared_has_the_size_of_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image is nowhere, and the current folder has another one of its name."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    Image.new("RGB", (7, 5)).save("a.png")
    corrections = Corrections.open([label_studio(tmp_path, "a.png", [])])
    assert corrections.read_all()["tasks"].used == 1
    fixed = corrections.apply(machine("a.png")).instances
    assert fixed is not None
    assert (len(fixed), fixed.size_hw) == (0, (20, 30))


@pytest.mark.parametrize(("classes", "expected"), [((), UNLABELED), (("cat", "object"), 1)])
def test_object_is_no_class_unless_it_is_one(classes: tuple[str, ...], expected: int, tmp_path: Path) -> None:
    source = label_studio(tmp_path, "a.png", ["object"])
    corrections = Corrections.open([source], classes)
    fixed = corrections.apply(machine("a.png"))
    assert corrections.classes == classes
    assert fixed.instances is not None
    assert fixed.instances.classes.tolist() == [expected]


def test_our_own_export_corrected_by_nobody_gives_the_same_masks(tmp_path: Path) -> None:
    row = machine("below/a.png")
    export_coco([row], tmp_path / "out.json", ("cat",))
    config = CocoSource(uri=str(tmp_path), annotations=str(tmp_path / "out.json"))
    fixed = Corrections.open([config], ("cat",)).apply(row).instances
    assert fixed is not None
    assert row.instances is not None
    assert fixed.counts.tolist() == row.instances.counts.tolist()
    assert fixed.classes.tolist() == row.instances.classes.tolist()


def test_a_correction_of_another_size_says_so(tmp_path: Path) -> None:
    corrections = Corrections.open([coco(tmp_path, {"a.png": []})])
    with pytest.raises(SourceError, match=r"fixed\.json: image 'a\.png' .*\(20, 30\).*\(20, 31\)"):
        corrections.apply(machine("a.png", (20, 31)))
