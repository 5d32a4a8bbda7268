"""Copies of remote files on this machine, by one process and by several."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.counting_s3 import CountingS3, by_kind
from segray.errors import SourceError
from segray.storage import files, local_copies
from segray.storage.local_copies import file_sha256, local_copy, remembered

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for copies, for this process and those that it starts."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path / f"segray-{os.getuid()}"


@pytest.fixture
def weights(s3_bucket: str) -> str:
    uri = f"{s3_bucket}/sam.pth"
    files.write_bytes_atomic(uri, b"weights" * 1000)
    return uri


def start(script: str, uri: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", script, uri], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_local_file_is_its_own_copy(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"here")
    assert local_copy(str(tmp_path / "file")) == local_copy(f"file://{tmp_path}/file") == tmp_path / "file"


@pytest.mark.parametrize("where", ["memory://copies", "s3"])
def test_a_copy_is_made_once_per_version(where: str, request: pytest.FixtureRequest) -> None:
    uri = f"{request.getfixturevalue('s3_bucket') if where == 's3' else where}/file"
    files.write_bytes_atomic(uri, b"first")
    copy = local_copy(uri)
    assert copy.read_bytes() == b"first"
    assert local_copy(uri) == copy
    files.write_bytes_atomic(uri, b"second, longer")
    assert local_copy(uri).read_bytes() == b"second, longer"
    assert copy.read_bytes() == b"first"


def test_another_hash_than_expected_is_fetched_again_once(weights: str, s3_server: CountingS3) -> None:
    found = file_sha256(local_copy(weights))
    with s3_server.counted() as requests:
        local_copy(weights, sha256=found)
    assert by_kind(requests) == {("weights", "HEAD"): 1}
    with s3_server.counted() as requests:
        local_copy(weights, sha256="0" * 64)
    assert by_kind(requests)["weights", "GET"] == 1


@pytest.mark.parametrize("damage", [b"", b"weights" * 999 + b"nothing"])
def test_a_damaged_copy_is_fetched_again(damage: bytes, weights: str) -> None:
    local_copy(weights).write_bytes(damage)
    assert local_copy(weights).read_bytes() == b"weights" * 1000


def test_processes_that_start_at_once_fetch_once(weights: str, s3_server: CountingS3) -> None:
    script = "import sys; from segray.storage.local_copies import local_copy; print(local_copy(sys.argv[1]))"
    with s3_server.counted() as requests:
        paths = {process.communicate()[0] for process in [start(script, weights) for _ in range(3)]}
    assert len(paths) == 1
    assert by_kind(requests)["weights", "GET"] == 1


def test_a_killed_fetch_leaves_nothing_wrong(weights: str, own_folder: Path) -> None:
    script = """
import os, signal, sys
from segray.storage import files, local_copies

def half(uri, path):
    path.write_bytes(files.read_bytes(uri, 3500))
    os.kill(os.getpid(), signal.SIGKILL)

local_copies.files.fetch = half
local_copies.local_copy(sys.argv[1])
"""
    assert start(script, weights).wait() == -signal.SIGKILL
    assert [path.suffix for path in (own_folder / "copies").iterdir()] == [".tmp"]
    assert local_copy(weights).read_bytes() == b"weights" * 1000
    assert sorted(path.suffix for path in (own_folder / "copies").iterdir()) == ["", ".json"]


def test_a_file_that_changes_meanwhile_is_fetched_again(weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real, changes = files.fetch, iter([b"longer" * 2000])

    def fetch(uri: str, path: Path) -> None:
        real(uri, path)
        for data in changes:
            files.write_bytes_atomic(uri, data)

    monkeypatch.setattr(files, "fetch", fetch)
    assert local_copy(weights).read_bytes() == b"longer" * 2000


def test_all_copies_together_are_bounded(s3_bucket: str, own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGRAY_COPIES_GIB", str(2500 / 2**30))
    monkeypatch.setattr(local_copies, "KEPT_S", 0.0)
    for number in range(4):
        uri = f"{s3_bucket}/{number}"
        files.write_bytes_atomic(uri, bytes([number]) * 1000)
        local_copy(uri)
    kept = sorted(path.read_bytes()[0] for path in (own_folder / "copies").iterdir() if not path.suffix)
    assert kept == [2, 3]


def test_copies_used_within_the_hour_stay(s3_bucket: str, own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGRAY_COPIES_GIB", "0")
    for number in range(2):
        files.write_bytes_atomic(f"{s3_bucket}/{number}", b"data")
        local_copy(f"{s3_bucket}/{number}")
    assert len([path for path in (own_folder / "copies").iterdir() if not path.suffix]) == 2


def test_a_folder_of_somebody_else_is_refused(weights: str, own_folder: Path) -> None:
    own_folder.mkdir(mode=0o700)
    own_folder.chmod(0o777)
    with pytest.raises(SourceError, match="belongs to somebody else"):
        local_copy(weights)


def test_what_is_not_there_is_an_error(s3_bucket: str) -> None:
    with pytest.raises(SourceError, match=r"none\.pth"):
        local_copy(f"{s3_bucket}/none.pth")


def test_a_hash_is_computed_once_for_a_file_as_it_is(tmp_path: Path) -> None:
    path, calls = tmp_path / "weights", []

    def compute(paths: object) -> str:
        calls.append(paths)
        return f"{len(calls)}"

    path.write_bytes(b"one")
    assert [remembered("a", [path], compute), remembered("a", [path], compute)] == ["1", "1"]
    assert remembered("b", [path], compute) == "2"
    path.write_bytes(b"other")
    assert remembered("a", [path], compute) == "3"
