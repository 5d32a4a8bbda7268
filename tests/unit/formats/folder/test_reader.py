"""Folders: which files are images, in which order, from where."""

import shutil
from pathlib import Path

import pytest

from segray.errors import ImageError, SourceError
from segray.formats.folder import FolderSource
from segray.formats.registry import open_source
from segray.images import decoding
from segray.storage import files

NAMES = ["b.PNG", "a/z.jpg", "a/b/c.webp", "a b/ü#%20.tiff", "notes.txt", "mask.npy", ".trash/x.png", "a/._z.jpg"]
EXPECTED = {"b.PNG", "a/z.jpg", "a/b/c.webp", "a b/ü#%20.tiff"}


def fill(root: str) -> None:
    for name in NAMES:
        files.write_bytes_atomic(files.join(root, name), b"1")


@pytest.mark.parametrize("where", ["disk", "s3"])
def test_every_image_once_in_one_order(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    root = str(tmp_path / "pictures") if where == "disk" else f"{request.getfixturevalue('s3_bucket')}/pictures"
    fill(root)
    source = open_source(FolderSource(uri=root))
    rows = list(source.rows())
    assert {row.image_id for row in rows} == EXPECTED
    assert len(rows) == len(EXPECTED)
    assert list(source.rows()) == rows
    assert all(files.read_bytes(row.uri) == b"1" for row in rows)
    assert source.classes == ()
    assert source.instances("b.PNG") is None
    assert (source.tally["files"].used, source.tally["files"].read) == (4, 6)
    assert sorted(source.tally["files"].left_out["beside"].examples) == ["mask.npy", "notes.txt"]


def test_photographs_that_are_not_read_are_damage_and_notes_are_not(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.CR2", "c.psd", "notes.txt"):
        (tmp_path / name).touch()
    source = open_source(FolderSource(uri=str(tmp_path)))
    assert [row.image_id for row in source.rows()] == ["a.jpg"]
    assert source.tally["files"].left_out["foreign"].examples == ["b.CR2", "c.psd"]
    assert source.tally["files"].damaged == 2


def test_ids_and_order_stay_when_the_folder_moves(tmp_path: Path) -> None:
    fill(str(tmp_path / "one"))
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    first, second = (list(open_source(FolderSource(uri=str(tmp_path / n))).rows()) for n in ("one", "two"))
    assert [(row.image_id, row.version) for row in first] == [(row.image_id, row.version) for row in second]


def test_a_changed_file_is_a_new_version(tmp_path: Path) -> None:
    fill(str(tmp_path))
    before = {row.image_id: row.version for row in open_source(FolderSource(uri=str(tmp_path))).rows()}
    (tmp_path / "b.PNG").write_bytes(b"other")
    after = {row.image_id: row.version for row in open_source(FolderSource(uri=str(tmp_path))).rows()}
    assert {name for name in before if before[name] != after[name]} == {"b.PNG"}


def test_a_relative_folder_gives_uris_that_open_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(str(tmp_path / "pictures"))
    monkeypatch.chdir(tmp_path)
    rows = list(open_source(FolderSource(uri="pictures")).rows())
    monkeypatch.chdir("/")
    assert all(files.read_bytes(row.uri) for row in rows)


def test_a_link_to_nothing_is_a_row_that_ends_as_an_error(tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (row,) = open_source(FolderSource(uri=str(tmp_path))).rows()
    assert row.version == files.MISSING
    with pytest.raises(ImageError, match="unreadable"):
        decoding.load(row.uri, 100)


@pytest.mark.parametrize("uri", ["absent", "file.png", "nosuch://a/b"])
def test_no_folder_is_one_clear_error(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file.png").write_bytes(b"1")
    with pytest.raises(SourceError, match=uri.rpartition("/")[2]):
        list(open_source(FolderSource(uri=uri)).rows())
