"""Cityscapes as a source: what cityscapesScripts draws is what is read, from each of its files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segray.config.base import build
from segray.errors import ConfigError, SourceError
from segray.formats.cityscapes import CityscapesSource
from segray.formats.cityscapes.labels import CLASS_IDS, LABEL_IDS, OBJECT_CLASSES, VOID_IDS
from segray.formats.registry import open_source
from segray.masks.instances import CROWD, UNLABELED
from segray.masks.semantic import paint
from tests.cityscapes_scripts import HEIGHT, OBJECTS, WIDTH, scripts, write_city

FIRST, LAST = (f"train/{name}_leftImg8bit.png" for name in ("aachen/aachen_000000_000019", "bonn/bonn_000000_000019"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        return write_city(tmp_path_factory.mktemp("cities"), patch)


def settings(root: Path, **changes: object) -> CityscapesSource:
    return replace(CityscapesSource(uri=str(root), split="train", level="instance"), **changes)


def polygons(objects: list[object]) -> bytes:
    return json.dumps({"imgHeight": 2, "imgWidth": 2, "objects": objects}).encode()


def label_file(root: Path, image_id: str, ending: str) -> np.ndarray:
    path = root / "gtFine" / image_id.replace("leftImg8bit.png", f"gtFine_{ending}.png")
    return np.array(Image.open(path), dtype=np.int32)


def test_the_tables_are_those_of_cityscapes_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = scripts("helpers.labels", monkeypatch).labels
    assert {one.name: one.id for one in theirs if one.id >= 0} == LABEL_IDS
    evaluated = sorted((one for one in theirs if not one.ignoreInEval), key=lambda one: one.trainId)
    assert {one.name: one.id for one in evaluated} == CLASS_IDS
    assert [one.trainId for one in evaluated] == list(range(19))
    assert tuple(one.name for one in evaluated if one.hasInstances) == OBJECT_CLASSES == OBJECTS


@pytest.mark.parametrize("files", ["instanceIds", "polygons"])
def test_objects_are_those_of_the_instance_files(root: Path, files: str) -> None:
    source = open_source(settings(root, label_files=files))
    assert [row.image_id for row in source.rows()][::2] == [FIRST, LAST]
    ids = label_file(root, FIRST, "instanceIds")
    found = source.instances(FIRST)
    assert found is not None
    assert [source.classes[one] for one in found.classes] == ["person", "car", "car", "bus"]
    for mask, number in zip(found.to_masks(), (24000, 26000, 26001, 28000), strict=True):
        assert np.array_equal(mask, ids == number)
    assert set(found.provenance) == {"gt"}
    nothing = source.instances(LAST)
    assert nothing is not None
    assert source.tally.lines() == [
        "3 files read, all used",
        "2 label files read, all used",
        "6 objects read, 4 used",
        "  2 of 6 objects are regions of several objects and are left out",
        f"    {FIRST}, ...",
    ]
    assert (len(nothing), nothing.size_hw) == (0, (HEIGHT, WIDTH))


def test_regions_of_several_objects_are_crowds_and_void_has_no_class(root: Path) -> None:
    found = open_source(settings(root)).instances(FIRST, crowds=True)
    assert found is not None
    crowds = found.filter(found.provenance == CROWD)
    ids = label_file(root, FIRST, "instanceIds")
    assert crowds.classes.tolist() == [OBJECTS.index("person"), OBJECTS.index("car"), UNLABELED]
    person, car, void = crowds.to_masks()
    assert np.array_equal(person, ids == 24)
    assert np.array_equal(car, ids == 26)
    assert np.array_equal(void, np.isin(ids, list(VOID_IDS.values())))


@pytest.mark.parametrize("files", ["instanceIds", "polygons", "labelTrainIds"])
def test_class_maps_are_the_train_ids(root: Path, files: str) -> None:
    source = open_source(settings(root, level="pixel", label_files=files))
    assert source.classes[13] == "car"
    for image_id in (FIRST, LAST):
        found = source.instances(image_id)
        assert found is not None
        assert np.array_equal(paint(found), label_file(root, image_id, "labelTrainIds"))


@pytest.mark.parametrize(
    "name",
    [
        "aachen_000000_000019_gtFine_instanceIds.png",
        "aachen_000000_000019",
        "train/aachen/aachen_000000_000019_leftImg8bit",
        "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png gtFine/train/aachen/x_gtFine_labelTrainIds.png",
    ],
)
def test_published_lists_name_its_images(root: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "list.txt").write_text(f"{name}\n")
    source = open_source(settings(root, image_list=str(tmp_path / "list.txt")))
    assert [row.image_id for row in source.rows()] == [FIRST]
    assert len(source.instances(FIRST) or ()) == 4
    assert source.instances(LAST) is None


def test_withheld_and_missing_labels_are_none(root: Path) -> None:
    assert open_source(settings(root, split="test")).instances(FIRST.replace("train", "test")) is None
    assert open_source(settings(root, labels="gtCoarse")).instances(FIRST) is None
    with pytest.raises(SourceError):
        list(open_source(settings(root, split="val")).rows())
    with pytest.raises(ConfigError, match="label_files: labelTrainIds knows no objects"):
        build(CityscapesSource, {"uri": "a", "split": "val", "level": "instance", "label_files": "labelTrainIds"}, "x")


@pytest.mark.parametrize(
    ("ending", "content", "why"),
    [
        ("instanceIds.png", b"x", "not a label file"),
        ("instanceIds.png", np.full((2, 2), 34, np.uint16), "holds 34, which is neither"),
        ("instanceIds.png", np.full((2, 2), 34001, np.uint16), "holds 34001, which is neither"),
        ("labelTrainIds.png", np.full((2, 2), 19, np.uint8), "holds train id 19"),
        ("polygons.json", polygons([{"label": "x", "polygon": [[0, 0], [1, 1]]}]), "unknown label 'x'"),
        ("polygons.json", polygons([{"label": "car", "polygon": [[0]]}]), "not polygons of Cityscapes"),
        ("polygons.json", b'{"imgHeight": 1e9, "imgWidth": 2, "objects": []}', "pixels"),
        ("polygons.json", b'{"imgHeight": 99999999, "imgWidth": 9, "objects": []}', "are allowed"),
        ("polygons.json", b"[]", "not polygons of Cityscapes"),
    ],
)
def test_broken_label_files(tmp_path: Path, ending: str, content: bytes | np.ndarray, why: str) -> None:
    path = tmp_path / "gtFine/train/a" / f"a_gtFine_{ending}"
    path.parent.mkdir(parents=True)
    path.write_bytes(content) if isinstance(content, bytes) else Image.fromarray(content).save(path)
    files = ending.partition(".")[0]
    source = open_source(settings(tmp_path, level="pixel", label_files=files))
    assert source.instances("train/a/a_leftImg8bit.png") is None
    (count,) = source.tally["label files"].left_out.values()
    assert (count.number, count.reason.is_damage) == (1, True)
    assert str(path) in count.examples[0]
    assert why in count.examples[0]
