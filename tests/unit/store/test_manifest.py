"""What the manifest says of a store, and of those written before it said it."""

import json
from pathlib import Path

import pytest

from segray.store import Store, StoreKind

KINDS = [
    ({}, StoreKind.MASKS),
    ({"classes": ["cat"]}, StoreKind.OBJECTS),
    ({"classes": ["background", "cat"]}, StoreKind.LABEL_MAPS),
]


@pytest.mark.parametrize(("content", "kind"), KINDS)
def test_a_store_of_before_loads_with_the_kind_of_its_content(tmp_path, content, kind) -> None:
    store = Store.create(str(tmp_path), "labels", content)
    path = Path(store.uri) / "store.json"
    said = json.loads(path.read_text())
    assert said.pop("kind") == kind
    path.write_text(json.dumps(said))
    assert Store.open(store.uri) == store


@pytest.mark.parametrize("kind", StoreKind)
def test_what_a_stage_says_counts_and_is_no_part_of_the_name(tmp_path, kind) -> None:
    content = {"classes": ["background", "cat"]}
    store = Store.create(str(tmp_path), "labels", content, kind=kind)
    assert Store.open(store.uri).manifest.kind is kind
    assert store.uri == Store.create(str(tmp_path), "labels", content).uri
