"""What comes out of a store: refused images by name, and exports with the corrections that people brought."""

import json
import shutil
from pathlib import Path

import pytest

from segray.errors import DamageError, SourceError
from segray.formats.coco import CocoSource
from segray.formats.registry import open_source
from segray.jobs.outputs import export, refused
from segray.masks.instances import Instances
from segray.store import Store
from segray.store.rows import ImageRow, LabeledRow

CASES = Path(__file__).parents[4] / "shared/cases"


def row(name, **content):
    return LabeledRow(image=ImageRow(image_id=name, uri=f"/{name}", version="1"), seconds=1.0, **content)


def test_a_few_refused_images_are_named_with_their_reasons(tmp_path):
    store = Store.create(str(tmp_path), "masks", {})
    store.write_part(
        [
            row("good.jpg", instances=Instances.from_rle([], (4, 4), provenance="sam")),
            row("text.jpg", error="not-an-image", detail="begins with 'hello'"),
            row("void.jpg", error="empty"),
        ]
    )
    assert sorted(refused(store, 5)) == ["text.jpg: not-an-image (begins with 'hello')", "void.jpg: empty"]
    assert len(refused(store, 1)) == 1


@pytest.fixture
def store(tmp_path):
    """The six pictures of the cases with their 24 true masks, as a machine's."""
    source = open_source(
        CocoSource(uri=str(CASES / "00-base/images"), annotations=str(CASES / "00-base/instances.json"))
    )
    store = Store.create(str(tmp_path / "stores"), "masks", {"classes": source.classes, "source": "six pictures"})
    store.write_part([LabeledRow(image=one, instances=source.instances(one.image_id)) for one in source.rows()])
    return store


@pytest.mark.parametrize(
    ("file", "crowds", "masks", "of_s0"),
    [
        ("31-ls-cleared/cleared.json", "masks", 20, 0),
        ("15-ls-bitmask/mixed.json", "masks", 24, 4),
        ("15-ls-bitmask/bitmask.json", "masks", 24, 4),
        ("15-ls-bitmask/vector.json", "masks", 21, 1),
        ("04-crowd-masks/mixed.json", "masks", 24, 4),
        ("04-crowd-masks/mixed.json", "leave_out", 12, 2),
        ("04-crowd-masks/all.json", "masks", 24, 4),
        ("04-crowd-masks/all.json", "leave_out", 0, 0),
        ("05-iscrowd-text/text-false.json", "leave_out", 24, 4),
        ("05-iscrowd-text/null.json", "leave_out", 24, 4),
    ],
)
def test_corrections_that_people_brought(store, tmp_path, monkeypatch, file, crowds, masks, of_s0):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    summary = export(store, "coco", tmp_path / "out.json", corrections=[str(CASES / file)], crowds=crowds)
    written = json.loads((tmp_path / "out.json").read_text())
    (s0,) = [one for one in written["images"] if one["file_name"] == "s0.png"]
    assert (s0["height"], s0["width"]) == (120, 160)
    assert len([one for one in written["annotations"] if one["image_id"] == s0["id"]]) == of_s0
    assert summary.masks == masks
    assert summary.corrections.lines()


def test_what_cvat_is_given_comes_back_as_a_correction(store, tmp_path):
    shutil.copy(CASES / "04-crowd-masks/donuts.json", tmp_path / "donuts.json")
    export(store, "cvat", tmp_path / "cvat.json", corrections=[str(tmp_path / "donuts.json")])
    assert {one["iscrowd"] for one in json.loads((tmp_path / "cvat.json").read_text())["annotations"]} == {0, 1}
    for crowds in ("masks", "leave_out"):
        back = [str(tmp_path / "cvat.json")]
        export(store, "coco", tmp_path / f"{crowds}.json", corrections=back, crowds=crowds)
    export(store, "coco", tmp_path / "direct.json", corrections=[str(tmp_path / "donuts.json")])
    direct, *round_trips = (
        sorted(
            (one["image_id"], one["area"], one["category_id"]) for one in json.loads(path.read_text())["annotations"]
        )
        for path in (tmp_path / "direct.json", tmp_path / "masks.json", tmp_path / "leave_out.json")
    )
    assert round_trips[0] == round_trips[1]
    assert len(round_trips[0]) == len(direct) == 24


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_list_of_tasks_is_label_studios_whatever_stands_before_it(store, tmp_path, mark):
    text = (CASES / "31-ls-cleared/cleared.json").read_text()
    (tmp_path / "fixed.json").write_text(f"{mark}\n  {text}", encoding="utf-8")
    assert export(store, "coco", tmp_path / "out.json", corrections=[str(tmp_path / "fixed.json")]).masks == 20


def test_damaged_corrections_stop_before_anything_is_written(store, tmp_path):
    document = json.loads((CASES / "00-base/instances.json").read_text())
    document["annotations"][0]["segmentation"] = None
    document["annotations"][1]["segmentation"] = {"size": [1, 1], "counts": [1]}
    (tmp_path / "fixed.json").write_text(json.dumps(document))
    fixed, out = [str(tmp_path / "fixed.json")], tmp_path / "out.json"
    with pytest.raises(DamageError, match=r"corrections: 2 of 24 annotations \(8.3%\)"):
        export(store, "coco", out, corrections=fixed)
    assert not out.exists()
    assert export(store, "coco", out, corrections=fixed, max_damaged=0.1).masks == 22


def test_a_shape_that_is_not_understood_is_an_error_of_the_export(store, tmp_path):
    tasks = json.loads((CASES / "15-ls-bitmask/mixed.json").read_text())
    tasks[0]["annotations"][0]["result"][1]["type"] = "blobmasklabels"
    (tmp_path / "fixed.json").write_text(json.dumps(tasks))
    with pytest.raises(
        SourceError, match=r"fixed\.json: task 1, image 's0\.png': region 'b481' of type 'blobmasklabels'"
    ):
        export(store, "coco", tmp_path / "out.json", corrections=[str(tmp_path / "fixed.json")])
