"""Outputs are whole or absent, and stay where they belong."""

import gc
import json
import os
import re
import resource
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest

from segray.errors import ExportError
from segray.formats.coco.writer import export_coco
from segray.formats.label_studio.writer import export_label_studio
from segray.formats.output import MARKER, create_unique_file, create_unique_folder
from segray.formats.png.writer import export_png
from segray.formats.tally import ExportSummary
from segray.formats.voc.writer import export_voc
from segray.formats.yolo.writer import export_yolo
from segray.store.rows import LabeledRow

Export = Callable[..., ExportSummary]


def label_studio(rows: Iterable[LabeledRow], out: Path, classes: tuple[str, ...], **options: bool) -> ExportSummary:
    return export_label_studio(rows, out, classes, model_version="x", **options)


FOLDERS = {"yolo": export_yolo, "voc": export_voc, "png": export_png, "label-studio": label_studio}
EXPORTS = {"coco": export_coco, **FOLDERS}
ALL_CLASSES = [0, 1, 2, 0, 1, 2]

HOSTILE = [
    "../../escape.jpg",
    "/absolute/a.jpg",
    "..\\..\\windows.jpg",
    "C:\\a.jpg",
    "s3://bucket/key.jpg",
    "a/./../../b.jpg",
    "x" * 3000 + ".jpg",
    "é/" * 400 + "ü.jpg",
    "漢字" * 200,
    "nul\0byte.jpg",
    "line\nbreak.jpg",
    "CON.jpg",
    "trailing. ",
    "...",
    "",
    "a",
    "a/b",
    "a/b/000.png",
    "same:.jpg",
    "same?.jpg",
    "stem.jpg",
    "stem.png",
    "lone\udc80surrogate.jpg",
    "-rf",
    "export.json",
    "index.jsonl",
]


def everything(folder: Path) -> set[Path]:
    return {Path(at) / name for at, _, names in os.walk(folder) for name in names}


@pytest.mark.parametrize("name", EXPORTS)
def test_hostile_ids_stay_inside_and_lose_nothing(name, tmp_path, make_row, left_out, classes) -> None:
    home = tmp_path / "deep" / "er"
    rows = [make_row(image_id, classes=ALL_CLASSES) for image_id in HOSTILE]
    summary = EXPORTS[name](rows, home / "out", classes)
    assert (summary.images, summary.masks, left_out(summary)) == (len(HOSTILE), 6 * len(HOSTILE), {})
    assert {path.relative_to(home).parts[0] for path in everything(tmp_path)} == {"out"}
    index = home / "out" / "index.jsonl"
    if index.exists():
        records = [json.loads(line) for line in index.read_text().splitlines()]
        assert [one["image_id"] for one in records] == HOSTILE
        places = [(home / "out" / one.get("file", one.get("folder"))).resolve() for one in records]
        assert len(set(places)) == len(HOSTILE)
        assert all(place.exists() and place.is_relative_to((home / "out").resolve()) for place in places)


@pytest.mark.parametrize("name", EXPORTS)
def test_an_image_that_comes_twice_is_written_once(name, tmp_path, make_row, left_out, classes) -> None:
    rows = [make_row("a.jpg", classes=ALL_CLASSES)] * 3
    summary = EXPORTS[name](rows, tmp_path / "out", classes)
    assert (summary.images, summary.masks, left_out(summary)) == (1, 6, {"duplicate": 2})


@pytest.mark.parametrize("name", EXPORTS)
def test_a_failure_on_the_way_leaves_nothing(name, tmp_path, make_row, classes) -> None:
    def broken() -> Iterable[LabeledRow]:
        yield make_row(classes=ALL_CLASSES)
        raise RuntimeError("the store went away")

    with pytest.raises(RuntimeError, match="went away"):
        EXPORTS[name](broken(), tmp_path / "out", classes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", EXPORTS)
def test_what_is_there_is_replaced_only_when_asked(name, tmp_path, make_row, classes) -> None:
    EXPORTS[name]([make_row("a.jpg", classes=ALL_CLASSES)], tmp_path / "out", classes)
    before = everything(tmp_path)
    with pytest.raises(ExportError, match=r"is there already.*--overwrite"):
        EXPORTS[name]([make_row("b.jpg", classes=ALL_CLASSES)], tmp_path / "out", classes)
    assert everything(tmp_path) == before
    EXPORTS[name]([make_row("b.jpg", classes=ALL_CLASSES)], tmp_path / "out", classes, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    text = b"".join(path.read_bytes() for path in everything(tmp_path))
    assert b"b.jpg" in text
    assert b"a.jpg" not in text


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_no_export_wrote_is_never_replaced(name, tmp_path, make_row, classes) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(ExportError, match=rf"no {MARKER}.*new path"):
        FOLDERS[name]([make_row(classes=ALL_CLASSES)], tmp_path / "out", classes, overwrite=True)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("name", FOLDERS)
def test_an_empty_folder_is_taken(name, tmp_path, make_row, classes) -> None:
    (tmp_path / "out").mkdir()
    summary = FOLDERS[name]([make_row(classes=ALL_CLASSES)], tmp_path / "out", classes)
    marker = json.loads((tmp_path / "out" / MARKER).read_text())
    tally = marker.pop("tally")
    assert marker == {"format": name, "images": 1, "masks": 6}
    assert (tally["images"]["used"], tally["masks"]["used"]) == (1, 6)
    assert summary.images == 1


@pytest.mark.parametrize("name", EXPORTS)
def test_rows_are_let_go_of(name, tmp_path, make_row, classes) -> None:
    alive: list[weakref.ref[object]] = []
    most = 0

    def counted() -> Iterable[LabeledRow]:
        nonlocal most
        for number in range(12):
            row = make_row(f"{number}.jpg", classes=ALL_CLASSES)
            alive.append(weakref.ref(row.instances))
            gc.collect()
            most = max(most, sum(ref() is not None for ref in alive))
            yield row

    EXPORTS[name](counted(), tmp_path / "out", classes)
    assert 1 <= most <= 3


@pytest.mark.parametrize("name", EXPORTS)
def test_a_disk_that_takes_no_more_is_told_with_a_remedy(name, tmp_path, make_row, classes) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    rows = [make_row(f"{number}.jpg", classes=ALL_CLASSES) for number in range(20)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (150, limits[1]))
    try:
        with pytest.raises(ExportError, match=r"cannot write .*out: .*; free space or give another path"):
            EXPORTS[name](rows, tmp_path / "out", classes)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_of_a_folder_is_told(tmp_path, make_row) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot write"):
        export_coco([make_row()], tmp_path / "file" / "out.json", ())


@pytest.mark.parametrize(
    "name",
    [
        "2024-01-01T12:00:00.png",
        "what?.png",
        "x*y.png",
        '"q".png',
        "aux.png",
        "cam1\\f001.png",
        "line\nbreak.png",
        " led by a blank.png",
        "dots...png",
        "n" * 200 + ".png",
        "é/漢字.png",
        "a<b>|c.png",
    ],
)
def test_a_name_that_the_file_system_takes_is_kept(tmp_path, name) -> None:
    stem = Path(name).with_suffix("").as_posix()
    for place, expected in (
        (create_unique_file(tmp_path / "files", name, ".txt"), tmp_path / "files" / f"{stem}.txt"),
        (create_unique_folder(tmp_path / "folders", name), tmp_path / "folders" / name),
    ):
        assert (place.path, place.is_kept) == (expected, True)
        assert place.path.exists()


@pytest.mark.parametrize(
    "image_id",
    ["../../b.jpg", "/etc/passwd", "s3://bucket/a.jpg", "a//b.jpg", "./b.jpg", "", "...\0", "x\udc80\ud800", "x" * 300],
)
def test_a_name_that_cannot_be_kept_gets_a_plain_one(tmp_path, image_id) -> None:
    for make in (partial(create_unique_file, suffix=".txt"), create_unique_folder):
        place = make(tmp_path / "out", image_id)
        assert not place.is_kept
        assert place.path.parent == tmp_path / "out"
        assert re.fullmatch(r"[\w.-]+-[0-9a-f]{12}(\.txt)?", place.path.name)


def test_names_that_are_taken_get_a_digest_and_are_told(tmp_path) -> None:
    places = [create_unique_file(tmp_path, image_id, ".txt") for image_id in ("a.jpg", "a.png", "b/c.jpg", "A.png")]
    assert [place.is_kept for place in places] == [True, False, True, True]
    assert places[1].path.stem.startswith("a-")
    folders = [create_unique_folder(tmp_path / "x", image_id) for image_id in ("a/b", "a")]
    assert folders[1].path.name.startswith("a-")
    with pytest.raises(ExportError, match="more than once"):
        create_unique_file(tmp_path, "a.png", ".txt")


@pytest.mark.parametrize("name", ["png", "voc", "yolo"])
def test_changed_names_are_counted_and_shown(name, tmp_path, make_row, classes) -> None:
    rows = [make_row(image_id, classes=ALL_CLASSES) for image_id in ("ok.png", "../up.png", "same.bmp", "same.png")]
    tally = FOLDERS[name](rows, tmp_path / "out", classes).tally["file names"]
    changed = ["'../up.png'"] if name == "png" else ["'../up.png'", "'same.png'"]
    assert (tally.used, tally.notes["renamed"].number) == (4, len(changed))
    assert [one.partition(" is ")[0] for one in tally.notes["renamed"].examples] == changed
