"""What other tools, full disks and bad luck do to a store."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segray.errors import StoreError
from segray.storage import commits, files
from segray.store import Store, keys, part_listing

WORKER = Path(__file__).with_name("worker.py")


def part_paths(store):
    return sorted((Path(store.uri) / "parts").iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "damaged"),
        ("{", "damaged"),
        ("[]", "damaged"),
        ('"x"', "damaged"),
        ('{"format": 1}', "damaged"),
        ('{"format": "one"}', "damaged"),
        ('{"format": 1, "content": null}', "damaged"),
        ('{"format": 1, "content": [1]}', "damaged"),
        ("changed", "fingerprint"),
        ("newer", "format 99, written by segray 9.9.9.*update"),
        ("older", "format 1, written by segray 0.1.0.*label into another folder"),
        ("gone", "no store here"),
    ],
)
def test_damaged_manifests_are_told(store, text, message):
    path = Path(store.uri) / "store.json"
    values = json.loads(path.read_text())
    changed = {
        "changed": {**values, "content": {"threshold": 0.1}},
        "newer": {**values, "format": 99, "segray": "9.9.9", "unheard": 1},
        "older": {**values, "format": 1, "segray": "0.1.0"},
    }
    path.write_text(json.dumps(changed[text]) if text in changed else text)
    if text == "gone":
        path.unlink()
    with pytest.raises(StoreError, match=message) as error:
        Store.open(store.uri)
    assert store.uri in str(error.value)


@pytest.mark.parametrize("kept", [0, 3, 100, 0.5, -1], ids=str)
@pytest.mark.parametrize("ask", ["missing", "rows", "info", "compact", "remove"])
def test_a_truncated_part_is_named(store, row, image, kept, ask):
    store.write_part([row("a"), row("b")])
    store.write_part([row("c")])
    path = part_paths(store)[0]
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    asked = {
        "missing": lambda: list(store.missing([image("z")])),
        "rows": lambda: list(store.rows()),
        "info": store.info,
        "compact": store.compact,
        "remove": lambda: store.remove_image("c"),
    }
    with pytest.raises(StoreError, match=rf"{path.name}.*delete it and run the job again"):
        asked[ask]()
    # What the message says to do helps.
    path.unlink()
    asked[ask]()
    assert len(list(store.missing([image("a"), image("b")]))) in (0, 2)


def test_flipped_bits_are_found_not_read(store, row):
    store.write_part([row("a", num_masks=50, mask_bytes=200)])
    (path,) = part_paths(store)
    data = bytearray(path.read_bytes())
    place = len(data) // 2
    data[place] ^= 0x40
    path.write_bytes(data)
    with pytest.raises(StoreError, match=path.name):
        list(store.rows())


def test_a_foreign_parquet_file_is_named(store, row):
    store.write_part([row("a")])
    pq.write_table(pa.table({"x": [1]}), Path(store.uri) / "parts" / "other.parquet")
    with pytest.raises(StoreError, match=r"other\.parquet"):
        list(store.rows())


def test_a_part_that_is_a_link_to_nothing_is_named(monkeypatch, store, row):
    monkeypatch.setattr(part_listing, "_WAIT_S", 0)
    store.write_part([row("a")])
    (path,) = part_paths(store)
    path.with_name("batch-far.parquet").symlink_to("/not-mounted/batch-far.parquet")
    with pytest.raises(StoreError, match=r"last batch-far\.parquet.*link to nothing"):
        list(store.rows())


def test_leftovers_are_passed_over_and_go_when_old(store, row, read, ids):
    store.write_part([row("a")])
    parts = Path(store.uri) / "parts"
    old, young, other = parts / ".batch-1.parquet.aa.tmp", parts / ".batch-2.parquet.bb.tmp", parts / "notes.txt"
    for path in (old, young, other):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    assert ids(read(store)) == ["a@1"]
    store.compact()
    assert (old.exists(), young.exists(), other.exists()) == (False, True, True)


@pytest.mark.parametrize("damage", ["gone", "short", "no json", "other parts", "odd shards"])
def test_key_shards_that_do_not_fit_are_passed_over(store, row, image, damage):
    store.write_part([row("a"), row("b")])
    store.compact()
    folder = Path(store.uri) / "keys"
    index = json.loads((folder / "index.json").read_text())
    shard = folder / index["folder"] / "good-000.keys"
    changes = {
        "gone": shard.unlink,
        "short": lambda: shard.write_bytes(shard.read_bytes()[:-1]),
        "no json": lambda: (folder / "index.json").write_text("{"),
        "other parts": lambda: (folder / "index.json").write_text(
            json.dumps({**index, "parts": {"batch-x.parquet": "1"}})
        ),
        "odd shards": lambda: (folder / "index.json").write_text(json.dumps({**index, "good": [1, 1]})),
    }
    changes[damage]()
    assert [found.image_id for found in store.missing(map(image, "abc"))] == ["c"]
    store.compact()
    assert len(list((folder).iterdir())) == 2


def test_key_shards_answer_without_the_parts(store, row, image):
    store.write_part([row(str(number)) for number in range(50)])
    store.compact()
    (path,) = part_paths(store)
    stamp = path.stat()
    path.write_bytes(b"x" * stamp.st_size)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert [found.image_id for found in store.missing(map(image, ["3", "new"]))] == ["new"]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free space"),
        (errno.EDQUOT, "free space"),
        (errno.EACCES, "may write"),
        (errno.EROFS, "may write"),
        (errno.EIO, "check the path"),
    ],
)
def test_errors_of_writing_say_what_to_do(number, remedy):
    with pytest.raises(StoreError, match=f"here.*{remedy}.*intact"), commits.as_store_errors("here"):
        raise OSError(number, os.strerror(number))


def test_a_full_disk_leaves_the_store_valid(store, row, read, ids):
    for number in range(40):
        store.write_part([row(f"kept-{number}", num_masks=4, mask_bytes=200)])
    before = ids(read(store))
    limit = max(path.stat().st_size for path in part_paths(store)) + 2000
    command = [sys.executable, str(WORKER), "fill", store.uri, str(limit)]
    said = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": "platform"}, stdout=subprocess.PIPE, text=True, check=True
    )
    assert said.stdout.count("the disk is full") == 2
    assert ids(read(store)) == before
    assert [path for path in part_paths(store) if path.suffix != ".parquet"] == []
    store.compact()
    assert (ids(read(store)), store.info().parts) == (before, 1)


def test_two_sets_of_shards_are_asked_by_their_first_byte():
    every = np.sort(np.frombuffer(np.random.default_rng(0).bytes(16 * 5000), "S16"))
    layer = [every[every.astype("S1").view(np.uint8) == byte] for byte in range(256)]
    known = keys.KeySet([layer, [every[:3]]])
    asked = np.concatenate([every[::-1], np.frombuffer(bytes(16) + b"\xff" * 16, "S16")])
    assert known.contains(asked).tolist() == [True] * 5000 + [False] * 2
    assert known.nbytes == 16 * 5003


def test_a_store_that_may_not_be_written(store, row):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (Path(store.uri) / "parts").mkdir()
    (Path(store.uri) / "parts").chmod(0o500)
    with pytest.raises(StoreError, match="may write"):
        store.write_part([row("a")])


def test_an_unreachable_store_is_an_error_of_the_store():
    with pytest.raises(StoreError, match="nosuch://x"):
        Store.open("nosuch://x/y")
    assert not files.exists("memory://nothing-here")
