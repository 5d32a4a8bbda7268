"""Image lists over folders, COCO files, class maps and object stores."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segray.config.base import build
from segray.errors import ConfigError, SourceError
from segray.formats.coco import CocoSource
from segray.formats.folder import FolderSource
from segray.formats.image_list import read_list
from segray.formats.registry import open_source
from segray.formats.voc import VocSource
from segray.storage import files

NAMES = ("JPEGImages/2007_000032.jpg", "JPEGImages/2007_000039.jpg", "JPEGImages/below/a b.png", "other/9.jpg")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set whose pictures are empty: a list opens none."""
    folder = tmp_path_factory.mktemp("listed")
    for name in (*NAMES, "other/000000000010.jpg"):
        path = folder / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for number, name in enumerate(("2007_000032", "2007_000039", "below/a b")):
        path = folder / "maps" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((2, 3), number, dtype=np.uint8)).save(path)
    images = [{"id": 10 * at, "file_name": name, "height": 2, "width": 3} for at, name in enumerate(NAMES, 1)]
    (folder / "coco.json").write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    return folder


def listed(root: Path, text: str, kind: str = "folder", below: str = "") -> list[str]:
    path = root / "list.txt"
    path.write_text(text, encoding="utf-8")
    settings = {
        "folder": FolderSource(uri=str(root / "data" / below), image_list=str(path)),
        "coco": CocoSource(uri=str(root / "data"), annotations=str(root / "coco.json"), image_list=str(path)),
    }
    return [row.image_id for row in open_source(settings[kind]).rows()]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (NAMES[0], [NAMES[0]]),
        ("\ufeff" + NAMES[1] + "\r\n\n  " + NAMES[0] + "  \n", [NAMES[0], NAMES[1]]),
        ("2007_000039", [NAMES[1]]),
        ("/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png", [NAMES[0]]),
        ("./JPEGImages/2007_000032.jpg\tNone", [NAMES[0]]),
        ("below/a b.png", [NAMES[2]]),
        ("a b", [NAMES[2]]),
        ("a b maps/c.png\n9", [NAMES[2], NAMES[3]]),
        ("10", ["other/000000000010.jpg"]),
        ("[10, 9]", ["other/000000000010.jpg", NAMES[3]]),
        ('["2007_000032.jpg"]', [NAMES[0]]),
        ('{"images": [{"id": 1, "file_name": "other/9.jpg"}]}', [NAMES[3]]),
        ("2007_000032\nJPEGImages/2007_000032.jpg", [NAMES[0]]),
    ],
)
def test_a_name_finds_its_image_in_a_folder(root: Path, text: str, found: list[str]) -> None:
    assert listed(root, text) == sorted(found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[10, 40]", [NAMES[0], NAMES[3]]),
        ("20", [NAMES[1]]),
        ("2007_000039.jpg JPEGImages/x.png", [NAMES[1]]),
    ],
)
def test_a_coco_file_knows_images_by_id_too(root: Path, text: str, found: list[str]) -> None:
    assert listed(root, text, "coco") == found


def test_ids_count_from_the_folder_and_lists_from_above_it(root: Path) -> None:
    assert listed(root, "JPEGImages/2007_000032.jpg", below="JPEGImages") == ["2007_000032.jpg"]
    with pytest.raises(SourceError, match="names no image"):
        listed(root, "other/9.jpg", below="JPEGImages")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2007_000032\nmissing.jpg", r"1 problem\n  'missing.jpg' names no image of the source"),
        ("", "names no images"),
        ("[]", "names no images"),
        ("[1.5]", "entry 0 is 1.5, it must be a name"),
        ("[true]", "entry 0 is True"),
        ('{"0.01": {"0": [1]}}', "is a JSON object"),
        ("[1", "nor a JSON list"),
        ("2007_000032 -1\n2007_000039  1", "ends in a class's flag"),
        (".jpg", "names no image"),
    ],
)
def test_lists_that_cannot_be_used(root: Path, text: str, why: str) -> None:
    with pytest.raises(SourceError, match=why):
        listed(root, text)


def test_an_exact_id_wins_and_equals_are_refused(tmp_path: Path) -> None:
    for name in ("x.jpg", "a/x.jpg", "b/y.jpg", "c/y.jpg"):
        (tmp_path / "data" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "data" / name).touch()
    assert listed(tmp_path, "x.jpg") == ["x.jpg"]
    assert listed(tmp_path, "x") == ["x.jpg"]
    with pytest.raises(SourceError, match=r"'y' fits several images \('b/y.jpg', 'c/y.jpg'\)"):
        listed(tmp_path, "y")


def test_only_listed_images_have_masks_and_repeated_lines_are_counted(root: Path) -> None:
    (root / "list.txt").write_text("2007_000039\nJPEGImages/2007_000039.jpg\n")
    uri, masks = str(root / "data/JPEGImages"), str(root / "maps")
    source = open_source(VocSource(uri=uri, masks=masks, image_list=str(root / "list.txt")))
    assert [row.image_id for row in source.rows()] == ["2007_000039.jpg"]
    found = source.instances("2007_000039.jpg")
    assert found is not None
    assert found.classes.tolist() == [1]
    assert source.instances("2007_000032.jpg") is None
    assert "  1 of 2 lines name an image that an earlier line of the list names" in source.tally.lines()


def test_a_list_says_where_class_maps_are(root: Path) -> None:
    (root / "list.txt").write_text("data/JPEGImages/2007_000032.jpg maps/2007_000039.png\n2007_000039 None\n")
    source = open_source(VocSource(uri=str(root / "data/JPEGImages"), image_list=str(root / "list.txt")))
    found = source.instances("2007_000032.jpg")
    assert found is not None
    assert found.classes.tolist() == [1]
    assert source.instances("2007_000039.jpg") is None
    with pytest.raises(ConfigError, match=r"masks: missing, give the folder of class maps, or an image_list"):
        build(VocSource, {"uri": "a"}, "test")


def test_lists_and_images_in_an_object_store() -> None:
    for name in ("JPEGImages/x.jpg", "SegmentationClass/x.png"):
        files.write_bytes_atomic(f"memory://listed/{name}", b"")
    files.write_bytes_atomic("memory://listed/split.txt", b"JPEGImages/x.jpg SegmentationClass/x.png")
    source = open_source(FolderSource(uri="memory://listed/JPEGImages", image_list="memory://listed/split.txt"))
    assert [(row.image_id, row.uri) for row in source.rows()] == [("x.jpg", "memory://listed/JPEGImages/x.jpg")]
    assert read_list("memory://listed/split.txt") == ["JPEGImages/x.jpg SegmentationClass/x.png"]
