"""Files: the same promises on a disk, in memory, over S3 and over HTTP."""

import http.server
import os
import pickle
import resource
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import fsspec
import pytest

from bench.counting_s3 import CountingS3
from segray.errors import SourceError
from segray.storage import files


@pytest.fixture(params=["local", "file", "memory", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place on each kind of file system."""
    match request.param:
        case "local":
            return str(tmp_path / "place")
        case "file":
            return f"file://{tmp_path}/place"
        case "memory":
            return f"memory://{uuid.uuid4().hex}/place"
        case _:
            return f"{request.getfixturevalue('s3_bucket')}/place"


def test_write_read_list_and_version(root: str) -> None:
    names = ["b.png", "a/x.PNG", "a/deep/y.jpg", "c d/z+%20ü#?.png", "notes.txt", ".hidden.png", "a/.cache/q.png"]
    for name in names:
        files.write_bytes_atomic(files.join(root, name), name.encode())
    listed = list(files.list_files(root, (".png", ".jpg")))
    assert {entry.path for entry in listed} == {"b.png", "a/x.PNG", "a/deep/y.jpg", "c d/z+%20ü#?.png"}
    assert [entry.path for entry in listed] == [entry.path for entry in files.list_files(root, (".png", ".jpg"))]
    for entry in listed:
        assert files.read_bytes(entry.uri) == entry.path.encode()
        assert files.version(entry.uri) == entry.version
        assert entry.size == len(entry.path.encode())
    assert len(list(files.list_files(root))) == len(listed) + 1


def test_overwriting_replaces_whole_and_moves_the_version(root: str) -> None:
    uri = files.join(root, "part.bin")
    assert not files.exists(uri)
    assert files.version(uri) is None
    files.write_bytes_atomic(uri, b"long content")
    first = files.version(uri)
    files.write_bytes_atomic(uri, b"short")
    assert files.read_bytes(uri) == b"short"
    assert files.version(uri) != first
    assert files.exists(uri)
    assert files.exists(root)
    assert [entry.path for entry in files.list_files(root)] == ["part.bin"]


def test_missing_things_are_source_errors(root: str) -> None:
    with pytest.raises(SourceError, match=r"nothing\.png"):
        files.read_bytes(files.join(root, "nothing.png"))
    with pytest.raises(SourceError, match="place"):
        list(files.list_files(root))


def test_no_leavings_beside_a_local_file(tmp_path: Path) -> None:
    files.write_bytes_atomic(str(tmp_path / "a" / "x.bin"), b"1")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x.bin"]


@pytest.mark.parametrize(
    ("uri", "folder", "name"),
    [
        ("runs/one", "runs", "one"),
        ("/runs/one/", "/runs", "one"),
        ("one", ".", "one"),
        ("/one", "/", "one"),
        ("s3://b/runs/one", "s3://b/runs", "one"),
        ("s3://b/runs/one/?endpoint_override=http://h:1/", "s3://b/runs?endpoint_override=http://h:1/", "one"),
        ("s3://b/runs/what?", "s3://b/runs", "what?"),
    ],
)
def test_parent_and_name(uri: str, folder: str, name: str) -> None:
    assert (files.parent(uri), files.name(uri)) == (folder, name)


@pytest.mark.parametrize(
    ("uri", "parts", "expected"),
    [
        ("data", ("a", "b.png"), "data/a/b.png"),
        ("data/", ("a/b.png",), "data/a/b.png"),
        ("/", ("a",), "/a"),
        ("data", ("/abs/b.png",), "/abs/b.png"),
        ("data", ("s3://bucket/b.png",), "s3://bucket/b.png"),
        ("s3://bucket", ("/a", "b.png"), "s3://bucket/a/b.png"),
        ("s3://b/c?endpoint_override=http://h:1", ("d",), "s3://b/c/d?endpoint_override=http://h:1"),
        ("s3://b/what?.png", ("d",), "s3://b/what?.png/d"),
        ("memory://x", ("y",), "memory://x/y"),
    ],
)
def test_join(uri: str, parts: tuple[str, ...], expected: str) -> None:
    assert files.join(uri, *parts) == expected


@pytest.mark.parametrize("uri", ["nosuch://a/b.png", "sftp+x://a", "gs", "bad\0name.png"])
def test_what_cannot_be_opened_says_so(uri: str) -> None:
    with pytest.raises(SourceError) as caught:
        files.read_bytes(uri)
    assert uri in str(caught.value)


def test_the_endpoint_may_stand_in_the_uri(s3_bucket: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_bytes_atomic(f"{s3_bucket}/a.bin", b"1")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    root = f"{s3_bucket}?endpoint_override={s3_endpoint}"
    assert files.read_bytes(files.join(root, "a.bin")) == b"1"
    assert [files.read_bytes(entry.uri) for entry in files.list_files(root)] == [b"1"]


def test_file_systems_are_made_once_and_travel(s3_bucket: str) -> None:
    files.write_bytes_atomic(f"{s3_bucket}/a.bin", b"1")
    system, path = files.filesystem(f"{s3_bucket}/a.bin")
    assert files.filesystem(f"{s3_bucket}/other")[0] is system
    with pickle.loads(pickle.dumps(system)).open_input_stream(path) as stream:
        assert stream.read() == b"1"


def test_order_over_many_remote_subfolders(s3_bucket: str) -> None:
    names = [f"d{folder:02}/{name}.png" for folder in range(11) for name in "ab"]
    for name in reversed(names):
        files.write_bytes_atomic(f"{s3_bucket}/{name}", b"")
    assert [entry.path for entry in files.list_files(s3_bucket)] == names


def test_links_are_followed_but_never_round(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.png").write_bytes(b"1")
    (tmp_path / "real" / "loop").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "real")
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    listed = {entry.path: entry.version for entry in files.list_files(str(tmp_path), (".png",))}
    assert {"real/x.png", "again/x.png", "gone.png", "self.png"} <= set(listed)
    assert all(path.count("/") <= 2 for path in listed)
    assert "pipe.png" not in listed
    assert listed["gone.png"] == listed["self.png"] == files.MISSING


def test_a_name_that_is_not_utf8_is_still_listed(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")).write_bytes(b"1")
    (entry,) = files.list_files(str(tmp_path))
    entry.uri.encode()
    with pytest.raises(SourceError):
        files.read_bytes(entry.uri)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if "broken" in self.path:
            self.send_error(500)
        else:
            super().do_GET()


@pytest.fixture
def http_root(tmp_path: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_http(http_root: str, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"over the wire")
    assert files.read_bytes(f"{http_root}/x.bin") == b"over the wire"
    for bad in ("absent.bin", "broken.bin"):
        with pytest.raises(SourceError, match=bad):
            files.read_bytes(f"{http_root}/{bad}")


def test_an_etag_is_the_version_where_a_listing_has_one() -> None:
    class Tagged(type(fsspec.filesystem("memory"))):  # type: ignore[misc]
        protocol = "tagged"

        def info(self, path: str, **_: object) -> dict[str, object]:
            return {**super().info(path), "ETag": '"abc"'}

    fsspec.register_implementation("tagged", Tagged, clobber=True)
    files.write_bytes_atomic("tagged://t/x.bin", b"1")
    assert files.version("tagged://t/x.bin") == "abc"


@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_subfolders_are_listed_by_name(tmp_path: Path, kind: str) -> None:
    root = str(tmp_path / "runs") if kind == "disk" else f"memory://{tmp_path}/runs"
    assert files.list_folders(root) == []
    for name in ("b/x.json", "a/deep/y.json", ".hidden/z.json", "file.json"):
        files.write_bytes_atomic(files.join(root, name), b"{}")
    assert files.list_folders(root) == ["a", "b"]


def test_a_file_is_created_once(root: str) -> None:
    uri = files.join(root, "deep/note.json")
    assert [files.create(uri, b"first"), files.create(uri, b"second")] == [True, False]
    assert files.read_bytes(uri) == b"first"
    assert [entry.path for entry in files.list_files(root)] == ["deep/note.json"]


def test_a_disk_that_takes_no_more_leaves_no_part_of_a_created_file(tmp_path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            files.create(str(tmp_path / "note.json"), b"more than four bytes")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
    assert files.create(str(tmp_path / "note.json"), b"whole")


def test_many_files_are_deleted_and_missing_ones_are_no_error(root: str) -> None:
    uris = [files.join(root, f"{number}.json") for number in range(4)]
    for uri in uris[:3]:
        files.write_bytes_atomic(uri, b"1")
    files.delete([])
    files.delete(uris[1:])
    assert [entry.path for entry in files.list_files(root)] == ["0.json"]


def test_requests_of_writing_creating_and_deleting(s3_server: CountingS3, s3_bucket: str) -> None:
    uris = [f"{s3_bucket}/{number}.json" for number in range(3)]
    with s3_server.counted() as requests:
        for uri in uris:
            files.create(uri, b"1")
        files.write_bytes_atomic(uris[0], bytes(20 << 20))
        files.delete(uris)
    assert Counter(request.method for request in requests) == {"PUT": 4, "DELETE-MANY": 1}
