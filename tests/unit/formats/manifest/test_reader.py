"""Manifests: columns given and not given, files and folders, near and far."""

import itertools
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segray.errors import SourceError
from segray.formats.manifest import ManifestSource
from segray.formats.manifest.reader import ManifestImages, SeenIds
from segray.formats.registry import open_source
from segray.storage import files


def write(path: Path, columns: dict[str, Any], **options: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)
    return str(path)


def test_uri_alone_is_enough(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"12")
    uri = write(
        tmp_path / "m.parquet", {"uri": ["a.png", "absent.png", "https://127.0.0.1:9/y.png"], "note": [1, 2, 3]}
    )
    first, second, third = open_source(ManifestSource(uri=uri)).rows()
    assert first.image_id == "a.png"
    assert first.uri == str(tmp_path / "a.png")
    assert first.version == files.version(str(tmp_path / "a.png"))
    assert second.version == third.version == files.MISSING
    assert third.uri == "https://127.0.0.1:9/y.png"


def test_what_is_given_is_taken(tmp_path: Path) -> None:
    columns = {"uri": ["s3://b/a.png", "/x/b.png"], "image_id": ["one", "two"], "version": ["v1", "v2"]}
    uri = write(tmp_path / "m.parquet", columns)
    with pytest.raises(SourceError, match="outside = true"):
        list(open_source(ManifestSource(uri=uri)).rows())
    rows = list(open_source(ManifestSource(uri=uri, outside=True)).rows())
    assert [(row.image_id, row.uri, row.version) for row in rows] == [
        ("one", "s3://b/a.png", "v1"),
        ("two", "/x/b.png", "v2"),
    ]


def test_of_several_rows_of_one_id_the_first_counts(tmp_path: Path) -> None:
    ids = [f"{index % 7}" for index in range(20)]
    uri = write(tmp_path / "m.parquet", {"uri": [f"{at}.png" for at in range(20)], "image_id": ids})
    source = ManifestImages(ManifestSource(uri=uri))
    for _ in range(2):
        assert [row.image_id for row in source.rows()] == ids[:7]
        assert (source.tally["rows"].read, source.tally["rows"].damaged) == (20, 13)


@pytest.mark.parametrize("sizes", [[1, 1, 1, 1], [5, 1, 3, 20, 2]])
def test_ids_are_remembered_over_all_batches(sizes: list[int]) -> None:
    ids, known = SeenIds(), set[str]()
    for number, size in enumerate(sizes):
        batch = [f"{(number + at) % 11}" for at in range(size)]
        expected = [one not in known and batch.index(one) == at for at, one in enumerate(batch)]
        assert ids.add(batch) == expected
        known.update(batch)


def test_versions_given_for_some(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(b"12")
    columns = {"uri": pa.array(["a.png", "b.png"]).dictionary_encode(), "version": pa.array([7, None])}
    rows = list(open_source(ManifestSource(uri=write(tmp_path / "m.parquet", columns))).rows())
    assert [row.version for row in rows] == ["7", files.version(str(tmp_path / "b.png"))]


def test_a_folder_is_read_in_the_order_of_its_files(tmp_path: Path) -> None:
    for name, uris in {"b.parquet": ["3"], "a/x.parquet": ["1", "2"], "_.txt": []}.items():
        write(tmp_path / "m" / name, {"uri": pa.array(uris, pa.string()), "version": pa.array(uris, pa.string())})
    rows = list(open_source(ManifestSource(uri=str(tmp_path / "m"))).rows())
    assert [row.image_id for row in rows] == ["1", "2", "3"]
    assert rows[0].uri == str(tmp_path / "m" / "1")


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    held = []
    for number in (40_000, 200_000):
        names = [f"s3://bucket/pictures/{index}.png" for index in range(number)]
        uri = write(tmp_path / f"{number}.parquet", {"uri": names, "version": names}, row_group_size=20_000)
        rows = open_source(ManifestSource(uri=uri)).rows()
        before = pa.total_allocated_bytes()
        assert [row.image_id for row in itertools.islice(rows, 3)] == names[:3]
        held.append(pa.total_allocated_bytes() - before)
        assert sum(1 for _ in rows) == number - 3
    assert held[1] < held[0] + 1_000_000


def test_over_s3(s3_bucket: str, s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_bytes_atomic(f"{s3_bucket}/lists/p/a.png", b"1")
    written = Path(write(tmp_path / "m.parquet", {"uri": ["p/a.png"]})).read_bytes()
    files.write_bytes_atomic(f"{s3_bucket}/lists/m.parquet", written)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    (row,) = open_source(ManifestSource(uri=f"{s3_bucket}/lists/m.parquet?endpoint_override={s3_endpoint}")).rows()
    assert files.read_bytes(row.uri) == b"1"
    assert row.version == files.version(row.uri)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"path": ["a.png"]}, "has no column uri, only path"),
        ({"uri": ["a.png", None]}, "uri is None"),
        ({"uri": [3]}, "uri is 3"),
        ({"uri": ["a.png"], "image_id": pa.array([None], pa.string())}, "image_id is None"),
    ],
)
def test_a_wrong_table_says_so(columns: dict[str, Any], message: str, tmp_path: Path) -> None:
    uri = write(tmp_path / "m.parquet", columns)
    with pytest.raises(SourceError, match=message) as caught:
        list(open_source(ManifestSource(uri=uri)).rows())
    assert "m.parquet" in str(caught.value)


@pytest.mark.parametrize("keep", [0, 3, -20])
def test_what_is_not_parquet_says_so(keep: int, tmp_path: Path) -> None:
    uri = write(tmp_path / "m.parquet", {"uri": ["a.png"]})
    Path(uri).write_bytes(Path(uri).read_bytes()[:keep])
    with pytest.raises(SourceError, match="Parquet"):
        list(open_source(ManifestSource(uri=uri)).rows())


def test_damage_inside_says_so(tmp_path: Path) -> None:
    names = [f"{index * 7919 % 100_003}.png" for index in range(50_000)]
    path = Path(write(tmp_path / "m.parquet", {"uri": names, "version": names}, compression="zstd"))
    data = bytearray(path.read_bytes())
    data[1000:3000] = bytes(2000)
    path.write_bytes(data)
    with pytest.raises(SourceError, match="Parquet"):
        list(open_source(ManifestSource(uri=str(path))).rows())


def test_a_folder_without_parquet_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"holds no \.parquet files"):
        list(open_source(ManifestSource(uri=str(tmp_path))).rows())
