import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from segray.datasets import training_rows
from segray.datasets.training_rows import ELSEWHERE, LeftOut, TrainingRows
from segray.errors import TrainError
from segray.formats.folder import FolderSource
from segray.formats.registry import open_source
from segray.testing import write_coco, write_images


def edited(source, change):
    """The source after a change to its COCO document."""
    path = Path(source.annotations)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return open_source(source)


@pytest.mark.parametrize("chunk", [1, 4, 1024])
def test_rows_are_what_the_source_says(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(training_rows, "_CHUNK", chunk)
    source = open_source(write_coco(tmp_path, 9))
    rows = TrainingRows.build(source, tmp_path / "rows" / "a.arrow")
    assert [path.name for path in (tmp_path / "rows").iterdir()] == ["a.arrow"]
    assert (len(rows), rows.classes) == (9, ("disc", "square"))
    for index, image in enumerate(source.rows()):
        row, expected = rows.row(index), source.instances(image.image_id)
        assert (row.image_id, row.uri, rows.image_ids[index]) == (image.image_id, image.uri, image.image_id)
        assert row.instances.size_hw == expected.size_hw
        for column in ("counts", "classes", "boxes_xyxy", "areas", "file_areas"):
            np.testing.assert_array_equal(getattr(row.instances, column), getattr(expected, column))
    for index in (-1, 9):
        with pytest.raises(IndexError):
            rows.row(index)


def test_rows_pickle_as_their_path(tmp_path):
    rows = TrainingRows.build(open_source(write_coco(tmp_path, 40)), tmp_path / "a.arrow")
    packed = pickle.dumps(rows)
    again = pickle.loads(packed)
    assert len(packed) < 500
    assert again.fingerprint == rows.fingerprint
    assert again.row(3).instances.counts.tolist() == rows.row(3).instances.counts.tolist()


def test_fingerprint_is_of_content_only(tmp_path, monkeypatch):
    source = write_coco(tmp_path, 6)

    def build(opened, name, **options):
        return TrainingRows.build(opened, tmp_path / name, **options).fingerprint

    first = build(open_source(source), "a")
    monkeypatch.setattr(training_rows, "_CHUNK", 2)
    assert build(open_source(source), "b") == first
    others = {
        build(open_source(source), "c", with_masks=False),
        build(open_source(source), "d", classes=("square", "disc")),
        build(edited(source, lambda d: d["annotations"].pop()), "e"),
        build(edited(source, lambda d: d["images"].pop(0)), "f"),
    }
    assert len({first, *others}) == 5


def test_classes_are_matched_by_name(tmp_path):
    source = open_source(write_coco(tmp_path, 4))
    rows = TrainingRows.build(source, tmp_path / "a.arrow", classes=("square", "other", "disc"))
    assert rows.classes == ("square", "other", "disc")
    assert rows.row(3).instances.classes.tolist() == [2 - 2 * one for one in source.instances("00003.png").classes]


def test_masks_are_left_unread_or_unknown(tmp_path):
    rows = TrainingRows.build(open_source(write_coco(tmp_path, 4)), tmp_path / "a.arrow", with_masks=False)
    assert [rows.row(index).instances for index in range(4)] == [None] * 4
    write_images(tmp_path / "plain", 2)
    folder = open_source(FolderSource(uri=str(tmp_path / "plain")))
    assert TrainingRows.build(folder, tmp_path / "b.arrow", with_masks=False).row(1).instances is None


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda d: d["annotations"].clear(), {}, "5 images with 0 masks"),
        (lambda d: d.update(images=[], annotations=[]), {"with_masks": False}, "0 images"),
        (lambda _: None, {"classes": ("disc", "cat")}, "which are 'square'; it knows 'disc', 'cat'"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(tmp_path, change, options, message):
    source = edited(write_coco(tmp_path, 5), change)
    with pytest.raises(TrainError, match=message):
        TrainingRows.build(source, tmp_path / "rows" / "a.arrow", **options)
    assert list((tmp_path / "rows").iterdir()) == []


def test_images_whose_masks_nobody_knows_are_left_out_and_counted(tmp_path):
    source = open_source(write_coco(tmp_path, 5))
    known = source.instances
    source.instances = lambda image_id, **asked: None if image_id == "00002.png" else known(image_id, **asked)
    rows = TrainingRows.build(source, tmp_path / "a.arrow")
    assert rows.image_ids == ("00000.png", "00001.png", "00003.png", "00004.png")
    assert (source.tally["images"].read, source.tally["images"].used) == (5, 4)
    assert source.tally["images"].left_out["unlabeled"].examples == ["00002.png"]
    source.tally.check(0)


def test_classes_without_a_mask_are_counted(tmp_path):
    source = edited(write_coco(tmp_path, 5), lambda document: document["categories"].append({"id": 99, "name": "kite"}))
    TrainingRows.build(source, tmp_path / "a.arrow")
    assert source.tally["classes"].left_out["no-mask"].examples == ["kite"]
    assert source.tally["classes"].used == len(source.classes) - 1


def test_images_that_are_not_wanted_are_left_out(tmp_path):
    source = open_source(write_coco(tmp_path, 5))
    whole = TrainingRows.build(source, tmp_path / "a.arrow")
    rows = TrainingRows.build(
        source, tmp_path / "b.arrow", without=dict.fromkeys([*whole.uris[:3], "other"], LeftOut(reason=ELSEWHERE))
    )
    assert rows.uris == whole.uris[3:]


@pytest.mark.parametrize("content", [None, b"", b"not Arrow"])
def test_no_file_of_ours_is_one_error(tmp_path, content):
    if content is not None:
        (tmp_path / "a.arrow").write_bytes(content)
    with pytest.raises(TrainError, match=r"a\.arrow: no training rows"):
        TrainingRows.open(tmp_path / "a.arrow")


@pytest.mark.parametrize(("crowds", "makers"), [(False, []), (True, ["gt:crowd"])])
def test_crowds_are_kept_where_they_are_asked_for(tmp_path, crowds, makers):
    def one_crowd(document):
        document["annotations"][0]["iscrowd"] = 1

    source = edited(write_coco(tmp_path, 3), one_crowd)
    rows = TrainingRows.build(source, tmp_path / "rows.arrow", crowds=crowds)
    found = [maker for index in range(3) for maker in rows.row(index).instances.provenance if maker != "gt"]
    assert found == makers


def test_areas_that_the_file_gives_are_kept(tmp_path):
    def odd_areas(document):
        for number, annotation in enumerate(document["annotations"]):
            annotation["area"] = number + 0.25

    source = edited(write_coco(tmp_path, 4), odd_areas)
    rows = TrainingRows.build(source, tmp_path / "rows.arrow")
    areas = [area for index in range(4) for area in rows.row(index).instances.file_areas.tolist()]
    assert sorted(areas) == [number + 0.25 for number in range(len(areas))]


def test_images_without_objects_can_be_left_out_and_are_counted(tmp_path):
    """The first of four images has no object."""
    source = open_source(write_coco(tmp_path, 4))
    rows = TrainingRows.build(source, tmp_path / "rows.arrow", keep_empty=False)
    assert len(rows) == 3
    assert source.tally["images"].left_out["empty"].examples == ["00000.png"]
    source.tally.check(0)
