import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from segray.errors import StoreError
from segray.storage import files
from segray.store import Store, catalog, out_of_core, parts
from segray.store.rows import LABELED, labeled_table

CONTENT = {"threshold": 0.88, "model": {"name": "nano", "weights": "ab"}}
HOSTILE = [
    "../../etc/passwd",
    "/abs/a.jpg",
    "ä 雪.png",
    "a" * 5000,
    "a\nb",
    "",
    " ",
    "C:\\x",
    "*?",
    "e\u0301",
    "é",
    ".",
    "x.parquet",
]


@pytest.fixture(params=["disk", "s3", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        return f"{request.getfixturevalue('s3_bucket')}/stores"
    return str(tmp_path / "stores") if request.param == "disk" else f"memory://{tmp_path.name}/stores"


def test_a_store_lives_on_every_kind_of_storage(root, row, read, ids, image):
    store = Store.create(root, "masks", CONTENT, price_per_second=2.0)
    store.write_part([row("a"), row("b", error="damaged")])
    store.write_part([row("a", "2"), row("c"), row("d", error="too-large")])
    store.write_part([row("b")])
    expected = ["a@2", "b@1", "c@1", "d@1!too-large"]
    assert ids(read(store)) == expected
    assert [found.image_id for found in store.missing(map(image, "abcdx"))] == ["x"]

    store.compact()
    assert ids(read(Store.open(store.uri))) == expected
    assert [found.image_id for found in store.missing(map(image, "abcdx"))] == ["x"]
    (info,) = catalog(root)
    assert (info.images, info.masks, info.refused, info.parts) == (4, 6, {"too-large": 1}, 1)
    assert (info.stage, info.content, info.seconds, info.cost) == ("masks", CONTENT, 1.5, 3.0)
    assert info.bytes > 1000

    assert store.remove_image("a") == 2
    assert ids(read(store)) == expected[1:]
    assert [found.image_id for found in store.missing(map(image, "abcdx"))] == ["a", "x"]
    store.delete()
    assert catalog(root) == []
    with pytest.raises(StoreError, match=r"no store here.*`segray store ls FOLDER`"):
        Store.open(store.uri)


def test_same_content_is_the_same_store(tmp_path, row):
    first = Store.create(str(tmp_path), "masks", CONTENT)
    first.write_part([row("a")])
    turned = {"model": {"weights": "ab", "name": "nano"}, "threshold": 0.88}
    assert Store.create(str(tmp_path), "masks", turned) == first
    assert Store.create(str(tmp_path), "masks", {**CONTENT, "threshold": 0.9}).uri != first.uri
    assert Store.create(str(tmp_path), "labels", CONTENT).uri != first.uri
    # The name must never change between releases: people would pay for their masks again.
    assert Path(first.uri).name == "masks-9416433d7abb"


def test_a_store_travels_to_other_processes(store, row, read, ids):
    pickle.loads(pickle.dumps(store)).write_part([row("a")])
    assert ids(read(store)) == ["a@1"]


def test_a_relative_folder_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Store.create("stores", "masks", CONTENT).uri.startswith(str(tmp_path))


def test_a_price_is_noted_and_changed(tmp_path, row):
    Store.create(str(tmp_path), "masks", CONTENT).write_part([row("a")])
    assert catalog(str(tmp_path))[0].cost is None
    Store.create(str(tmp_path), "masks", CONTENT, price_per_second=4.0)
    Store.create(str(tmp_path), "masks", CONTENT)
    assert catalog(str(tmp_path))[0].cost == 1.0


@pytest.mark.parametrize("stage", ["", "Masks", "a/b", "..", "x" * 50, "1"])
def test_a_stage_is_a_plain_name(tmp_path, stage):
    with pytest.raises(ValueError, match="stage"):
        Store.create(str(tmp_path), stage, CONTENT)


def test_an_empty_store_answers_everything(store, image, read):
    assert read(store) == []
    assert read(store, image_ids=["a"]) == []
    assert [found.image_id for found in store.missing([image("a")])] == ["a"]
    assert list(store.missing([])) == []
    assert store.remove_image("a") == 0
    store.compact()
    assert (store.info().images, store.info().parts, store.info().refused) == (0, 0, {})


def test_what_is_read_is_what_was_written(store, row, read):
    written = [row("a"), row("b", error="damaged"), row("c", num_masks=0), row("d", num_masks=5)]
    store.write_part(written[:3])
    store.write_part(labeled_table(written[3:]))
    table = pa.Table.from_batches(store.rows()).sort_by("image_id")
    assert table.schema == LABELED
    # As text, in which NaN is equal to itself.
    assert str(table.to_pylist()) == str(labeled_table(written).to_pylist())
    store.compact()
    assert pa.Table.from_batches(store.rows()).num_rows == 4
    assert list(read(store)[3].instances.counts) == list(written[3].instances.counts)


def test_columns_are_read_alone(store, row):
    store.write_part([row("a")])
    (batch,) = store.rows(["error", "image_id"])
    assert batch.to_pydict() == {"error": [None], "image_id": ["a"]}
    with pytest.raises(ValueError, match="no column key, nope"):
        store.rows(["image_id", "nope", "key"])


@pytest.mark.parametrize("name", HOSTILE)
def test_any_image_id_is_kept_and_removed(store, row, image, read, *, ids, name):
    store.write_part([row(name), row("other")])
    assert ids(read(store, image_ids=[name])) == [f"{name}@1"]
    assert list(store.missing([image(name)])) == []
    store.compact()
    assert store.remove_image(name) == 1
    assert ids(read(store)) == ["other@1"]
    assert all(store.uri in str(path.resolve()) for path in Path(store.uri).rglob("*"))


def test_names_that_differ_are_never_one(store, row, read):
    store.write_part([row(name) for name in HOSTILE])
    assert len(read(store)) == len(HOSTILE)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param([["a@1"], ["a@1"]], ["a@1"], id="written twice"),
        pytest.param([["a@1", "b@1"], ["a@1", "c@1"]], ["a@1", "b@1", "c@1"], id="parts that overlap"),
        pytest.param([["a@1!cut"], ["a@1"]], ["a@1"], id="a retry that went well"),
        pytest.param([["a@1!cut"], ["a@1!gone"]], ["a@1!gone"], id="a retry that failed again"),
        pytest.param([["a@1", "b@1"], ["a@1!cut"]], ["a@1", "b@1"], id="a late failure hides no masks"),
        pytest.param([["a@1!cut", "b@1"], ["a@1!gone"], ["a@1", "x@1"]], ["a@1", "b@1", "x@1"], id="third try"),
        pytest.param([["a@1"], ["a@2"]], ["a@2"], id="a changed image"),
        pytest.param([["a@1"], ["a@2!cut"]], ["a@2!cut"], id="a changed image that is no image"),
        pytest.param([["a@2"], ["a@1"]], ["a@1"], id="versions have no order of their own"),
        pytest.param([["a@1", "a@1"]], ["a@1"], id="twice in one part"),
    ],
)
@pytest.mark.parametrize(
    ("in_memory", "compacted"),
    [(out_of_core.IN_MEMORY, False), (out_of_core.IN_MEMORY, True), (0, False)],
    ids=["as written", "compacted", "on disk"],
)
def test_every_image_once(monkeypatch, store, row, read, *, ids, written, expected, compacted, in_memory):
    monkeypatch.setattr(out_of_core, "IN_MEMORY", in_memory)
    for names in written:
        store.write_part([_row(row, name) for name in names])
    if compacted:
        store.compact()
        assert store.info().parts == 1
    assert ids(read(store)) == expected
    assert store.info().images == len(expected)


def _row(row, name):
    name, _, error = name.partition("!")
    return row(*name.split("@"), error=error or None)


def test_the_source_says_which_version_is_current(store, row, read, ids):
    store.write_part([row("a", "1"), row("b", "1")])
    store.write_part([row("a", "2"), row("c", "1")])
    for _ in range(2):
        assert ids(read(store, versions={"a": "1", "b": "1", "c": "9", "d": "1"})) == ["a@1", "b@1"]
        assert ids(read(store, versions={"a": "2"}, image_ids=["a", "b"])) == ["a@2"]
        assert ids(read(store, versions={})) == []
        assert ids(read(store, image_ids=[])) == []
        store.compact()


@pytest.mark.parametrize(("retry", "expected"), [(False, ["new@1", "a@2"]), (True, ["bad@1", "new@1", "a@2"])])
@pytest.mark.parametrize("compacted", [0, 1, 2])
def test_failed_images_are_done_unless_asked_for(store, row, image, *, retry, expected, compacted):
    parts_written = [[row("a"), row("bad", error="cut"), row("mended", error="cut")], [row("mended")]]
    for number, part in enumerate(parts_written):
        store.write_part(part)
        if compacted > number:
            store.compact()
    asked = [image("a"), image("bad"), image("mended"), image("new"), image("a", "2")]
    assert [f"{found.image_id}@{found.version}" for found in store.missing(asked, retry_errors=retry)] == expected


def test_a_part_written_again_replaces_itself_and_is_seen_beside_the_shards(store, row, image):
    first = store.write_part([row("b"), row("a", error="cut")])
    store.compact(part_bytes=100)
    assert store.write_part([row("a"), row("b")]) == first
    assert store.info().refused == {}
    assert list(store.missing([image("a"), image("b")], retry_errors=True)) == []


@pytest.mark.parametrize("in_memory", [out_of_core.IN_MEMORY, 1000], ids=["in-memory", "on-disk"])
def test_missing_keeps_order_and_streams(monkeypatch, store, row, image, in_memory):
    monkeypatch.setattr(out_of_core, "IN_MEMORY", in_memory)
    store.write_part([row(str(number)) for number in range(0, 300, 3)])
    store.compact()
    store.write_part([row(str(number)) for number in range(1, 300, 3)])
    found = store.missing(image(str(number)) for number in range(300))
    assert [int(one.image_id) for one in found] == list(range(2, 300, 3))

    def endless():
        number = 0
        while True:
            yield image(str(number))
            number += 1

    assert next(store.missing(endless())).image_id == "2"


def test_200_000_keys_cost_16_bytes_each(store, image):
    number = 200_000
    names = [f"photo-{place}.jpg" for place in range(number)]
    for part in np.array_split(np.array(names), 4):
        columns = {name: [None] * len(part) for name in LABELED.names}
        columns |= {"image_id": part, "uri": part, "version": ["1"] * len(part), "error": ["cut"] * len(part)}
        columns |= {"seconds": np.zeros(len(part)), "masks": [[]] * len(part), "left_out": [[]] * len(part)}
        store.write_part(pa.table(columns, schema=LABELED))
    assert store.committed().nbytes == 16 * number
    store.compact()
    assert store.committed().nbytes == 16 * number
    assert store.committed(errors=False).nbytes == 0
    asked = [image(name) for name in [*names, "new"]]
    assert [found.image_id for found in store.missing(asked)] == ["new"]


def test_rows_come_in_batches_of_bounded_size(store, row):
    written = [row(str(number), num_masks=number % 8, mask_bytes=2**19) for number in range(30)]
    store.write_part(written)
    store.compact(part_bytes=2**20)
    batches = list(store.rows())
    assert sum(batch.num_rows for batch in batches) == 30
    assert len(batches) > 2
    assert max(batch.nbytes for batch in batches) <= parts.GROUP_BYTES


@pytest.mark.parametrize("rows", [[], labeled_table([])], ids=["list", "table"])
def test_a_part_of_nothing_is_refused(store, rows):
    with pytest.raises(ValueError, match="0 rows"):
        store.write_part(rows)


def test_a_table_of_other_columns_is_refused(store, row):
    with pytest.raises((ValueError, KeyError)):
        store.write_part(pa.table({"image_id": ["a"]}))
    loose = labeled_table([row("a")])
    nullable = pa.schema([field.with_nullable(True) for field in reversed(list(LABELED))])
    store.write_part(loose.select(nullable.names).cast(nullable))
    assert store.info().images == 1


def test_reading_goes_on_while_parts_are_merged(root, row):
    store = Store.create(root, "masks", CONTENT)
    for number in range(12):
        store.write_part([row(f"{number}-{place}") for place in range(3)])
    batches = store.rows(["image_id"])
    seen = [name for _ in range(3) for name in next(batches)["image_id"].to_pylist()]
    store.compact()
    assert store.info().parts == 1
    store.write_part([row("later")])
    seen += [name for batch in batches for name in batch["image_id"].to_pylist()]
    assert sorted(seen) == sorted(f"{number}-{place}" for number in range(12) for place in range(3))


@pytest.mark.parametrize("whole", [False, True], ids=["image", "store"])
def test_rows_deleted_while_they_are_read_are_an_error(store, row, whole):
    names = {str(number) for number in range(12)}
    for name in names:
        store.write_part([row(name)])
    batches = store.rows(["image_id"])
    given = next(batches)["image_id"].to_pylist()
    if whole:
        store.delete()
    else:
        store.remove_image(max(names - set(given)))
        store.write_part([row("later")])
    with pytest.raises(StoreError, match=f"{11 if whole else 1} rows were deleted while they were read"):
        list(batches)


def test_a_store_of_a_root_that_is_a_file_cannot_be_made(tmp_path):
    (tmp_path / "stores").write_text("")
    with pytest.raises(StoreError, match="stores"):
        Store.create(str(tmp_path / "stores"), "masks", CONTENT)


def test_a_store_of_other_content_under_this_name_is_refused(tmp_path):
    store = Store.create(str(tmp_path), "masks", CONTENT)
    files.write_bytes_atomic(
        files.join(store.uri, "store.json"),
        files.read_bytes(files.join(store.uri, "store.json")).replace(b'"stage": "masks"', b'"stage": "other"'),
    )
    with pytest.raises(StoreError, match="other content"):
        Store.create(str(tmp_path), "masks", CONTENT)


def test_damaged_stores_do_not_hide_the_others(tmp_path, row):
    good = Store.create(str(tmp_path), "masks", CONTENT)
    good.write_part([row("a")])
    bad = Store.create(str(tmp_path), "labels", CONTENT)
    (Path(bad.uri) / "store.json").write_text("{")
    (tmp_path / "notes").mkdir()
    damaged, whole = catalog(str(tmp_path))
    assert "damaged" in damaged.problem
    assert (whole.uri, whole.images, whole.problem) == (good.uri, 1, None)
    assert replace(damaged, problem=None).images == 0
