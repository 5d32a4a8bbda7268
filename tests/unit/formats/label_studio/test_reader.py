"""Label Studio exports: which task is which image, which annotation counts, and our own export read back."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segray.errors import SourceError
from segray.formats.label_studio import LabelStudioSource
from segray.formats.label_studio.reader import LabelStudioTasks
from segray.formats.label_studio.writer import export_label_studio
from segray.masks.instances import UNLABELED, Instances
from segray.storage import files
from segray.store.rows import ImageRow, LabeledRow

CORNERS = [[25, 25], [75, 25], [75, 75], [25, 75]]


def region(label: str, **changes: Any) -> dict[str, Any]:
    value = {"points": CORNERS, "polygonlabels": [label]}
    return {
        "id": label,
        "type": "polygonlabels",
        "original_width": 40,
        "original_height": 20,
        "value": value,
        **changes,
    }


def task(image: str, *annotations: dict[str, Any]) -> dict[str, Any]:
    return {"id": 1, "data": {"image": image}, "annotations": list(annotations), "predictions": []}


def source(tmp_path: Path, tasks: Any) -> LabelStudioTasks:
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    (tmp_path / "pictures").mkdir(exist_ok=True)
    config = LabelStudioSource(uri=str(tmp_path / "pictures"), annotations=str(tmp_path / "export.json"))
    return LabelStudioTasks(config)


@pytest.mark.parametrize(
    ("data", "image_id", "path"),
    [
        ({"image": "/data/local-files/?d=below/a%20b.png"}, "below/a b.png", "{folder}/below/a b.png"),
        ({"image": "/data/upload/3/0a1b2c3d-a.png"}, "a.png", "{folder}/a.png"),
        ({"image": "/data/upload/0a1b2c3d-a%20b.png"}, "a b.png", "{folder}/a b.png"),
        ({"image": "{folder}/below/a.png"}, "below/a.png", "{folder}/below/a.png"),
        ({"image": "a.png"}, "a.png", "{folder}/a.png"),
        ({"scan": "a.png", "note": "on a tree"}, "a.png", "{folder}/a.png"),
        ({"image": "s3://bucket/a.png"}, "s3://bucket/a.png", "s3://bucket/a.png"),
        (
            {"image": "/data/upload/3/0a1b2c3d-a.png", "image_id": "below/a.png"},
            "below/a.png",
            "{folder}/below/a.png",
        ),
        ({"image": "s3://bucket/a.png", "image_id": "one"}, "one", "s3://bucket/a.png"),
    ],
)
def test_which_image_a_task_is_of(data: dict[str, str], image_id: str, path: str, tmp_path: Path) -> None:
    folder = str(tmp_path / "pictures")
    given = {key: value.format(folder=folder) for key, value in data.items()}
    opened = source(tmp_path, [{"data": given, "annotations": []}])
    assert list(opened._paths) == [image_id]
    assert files.join(folder, opened._paths[image_id]) == path.format(folder=folder)


def test_rows_with_and_without_a_file(tmp_path: Path) -> None:
    opened = source(tmp_path, [task("a.png"), task("b.png")])
    (tmp_path / "pictures/b.png").write_bytes(b"1")
    rows = list(opened.rows())
    assert [row.image_id for row in rows] == ["a.png", "b.png"]
    assert rows[0].version == files.MISSING
    assert rows[1].version == files.version(rows[1].uri)


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ([], None),
        ([{"was_cancelled": True, "result": [region("a")]}], None),
        ([{"was_cancelled": "true", "result": [region("a")]}], None),
        ([{"was_cancelled": "false", "ground_truth": "false", "result": [region("a")]}], ["a"]),
        ([{"result": [region("a")]}], ["a"]),
        (
            [
                {"updated_at": "2026-02-01T00:00:00Z", "result": [region("new")]},
                {"updated_at": "2026-01-01T00:00:00Z", "result": [region("old")]},
            ],
            ["new"],
        ),
        (
            [
                {"updated_at": "2026-02-01T00:00:00Z", "result": [region("new")]},
                {"updated_at": "2026-01-01T00:00:00Z", "ground_truth": True, "result": [region("true")]},
            ],
            ["true"],
        ),
        ([{"result": [region("b"), region("a")]}], ["b", "a"]),
    ],
)
def test_which_annotation_counts(annotations: list[dict[str, Any]], expected: list[str] | None, tmp_path: Path) -> None:
    opened = source(tmp_path, [task("a.png", *annotations)])
    found = opened.instances("a.png")
    assert (found and [opened.classes[index] for index in found.classes]) == expected
    assert list(opened.annotated) == ([] if expected is None else ["a.png"])
    assert opened.classes == tuple(sorted(expected or []))


def test_nothing_marked_is_an_empty_result_of_the_right_size(tmp_path: Path) -> None:
    opened = source(tmp_path, [task("a.png", {"result": []}), task("b.png", {"result": []})])
    Image.new("RGB", (30, 10)).save(tmp_path / "pictures/a.png")
    found = opened.instances("a.png")
    assert found is not None
    assert (len(found), found.size_hw) == (0, (10, 30))
    with pytest.raises(SourceError, match=r"b\.png"):
        opened.instances("b.png")


def test_our_own_export_comes_back(tmp_path: Path) -> None:
    """Pre-annotations, accepted unchanged: Label Studio copies a prediction's result into an annotation."""
    masks = np.random.default_rng(0).random((3, 20, 40)) > 0.5
    instances = Instances.from_masks(masks, provenance="sam", classes=[1, UNLABELED, 0])
    row = LabeledRow(image=ImageRow(image_id="below/a b.png", uri="/x/below/a b.png", version="1"), instances=instances)
    export_label_studio([row], tmp_path / "out", ("cat", "tree"), model_version="1")
    tasks = json.loads((tmp_path / "out/tasks.json").read_text())
    for one in tasks:
        one["annotations"] = [{"id": 1, "result": one.pop("predictions")[0]["result"]}]
    opened = source(tmp_path, tasks)
    found = opened.instances("below/a b.png")
    assert found is not None
    assert found.counts.tolist() == instances.counts.tolist()
    assert [opened.classes[index] for index in found.classes] == ["tree", "object", "cat"]


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({}, "a list of tasks"),
        ([3], r"\[0\]: a task has data and annotations"),
        ([{"image": "a.png", "label": []}], "not as JSON-MIN"),
        ([{"data": {"image": "a.png"}, "annotations": {}}], "must be a list of objects"),
        ([task("a.png", {"result": None})], "must be a list of objects"),
        ([task("a.png", {"result": [{"value": 3}]})], "must be a list of objects"),
        ([task("a.png"), task("a.png")], r"\[1\]: there is another task for image 'a.png'"),
        ([{"data": {"text": "hello"}, "annotations": []}], r"\[0\]: its image is ''"),
    ],
)
def test_a_broken_export_is_one_clear_error(tasks: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        source(tmp_path, tasks)
    assert "export.json" in str(caught.value)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ([region("a", type="cuboidlabels")], r"task 1, .*region 'a' of type 'cuboidlabels'"),
        ([region("a"), region("b", original_width=41)], "sizes"),
    ],
)
def test_a_broken_annotation_names_its_image(result: Any, message: str, tmp_path: Path) -> None:
    opened = source(tmp_path, [task("a.png", {"result": result})])
    with pytest.raises(SourceError, match=message) as caught:
        opened.instances("a.png")
    assert "'a.png'" in str(caught.value)
    assert "export.json" in str(caught.value)


def test_tasks_and_regions_are_counted(tmp_path: Path) -> None:
    choice = {"id": "c", "type": "choices", "value": {"choices": ["good"]}}
    two = [{"result": [region("a"), choice]}, {"result": [region("b")]}]
    opened = source(
        tmp_path, [task("a.png", *two), task("b.png"), task("c.png", {"was_cancelled": True, "result": []})]
    )
    opened.instances("a.png")
    assert opened.tally.to_json().keys() == {"tasks", "regions"}
    assert (opened.tally["tasks"].read, opened.tally["tasks"].used) == (3, 1)
    assert opened.tally["tasks"].left_out["unfinished"].number == 2
    assert opened.tally["tasks"].notes["several"].number == 1
    opened.tally.check(0)


CASES = Path(__file__).parents[5] / "shared/cases"


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("mixed.json", {"s0.png": [1150, 481, 556, 1157]}),
        ("bitmask.json", {"s0.png": [1150, 481, 556, 1157], "s1.png": [824, 978, 587, 493]}),
    ],
)
def test_bit_masks_that_people_brought(file: str, expected: dict[str, list[int]]) -> None:
    """The regions' ids say their areas."""
    config = LabelStudioSource(uri=str(CASES / "00-base/images"), annotations=str(CASES / "15-ls-bitmask" / file))
    opened = LabelStudioTasks(config)
    found = {image_id: opened.instances(image_id) for image_id in opened.annotated}
    assert {image_id: one.areas.tolist() for image_id, one in found.items() if one is not None} == expected
    assert opened.classes == ("blue", "green", "red")[-len(set(opened.classes)) :]
    assert opened.tally["regions"].read == opened.tally["regions"].used


def test_a_closed_vector_that_people_brought() -> None:
    config = LabelStudioSource(uri=".", annotations=str(CASES / "15-ls-bitmask/vector.json"))
    (found,) = [one for one in map(LabelStudioTasks(config).instances, ["s0.png"]) if one is not None]
    assert len(found) == 1
    assert found.size_hw == (120, 160)
    assert found.areas[0] > 0
