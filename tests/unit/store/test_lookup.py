"""A store's rows by image: the newest version's, and none of them in this process's own memory."""

import numpy as np
import pyarrow as pa
import pytest

from segray.masks.instances import Instances
from segray.store import Store
from segray.store.lookup import StoreLookup
from segray.store.rows import ImageRow, LabeledRow


def labeled(image_id: str, version: str, side: int) -> LabeledRow:
    mask = np.zeros((1, side, side), dtype=bool)
    mask[0, : side // 2] = True
    found = Instances.from_masks(mask, provenance="sam:test", scores=[0.5])
    return LabeledRow(image=ImageRow(image_id=image_id, uri=image_id, version=version), instances=found, seconds=0.0)


@pytest.fixture
def store(tmp_path):
    store = Store.create(str(tmp_path), "masks", {})
    store.write_part([labeled("a", "1", 64), labeled("b", "1", 32)])
    refused = LabeledRow(image=ImageRow(image_id="d", uri="d", version="1"), error="damaged", detail="ends early")
    store.write_part([labeled("a", "2", 96), refused])
    return store.uri


def test_masks_are_the_newest_versions_and_mapped(store):
    before = pa.total_allocated_bytes()
    lookup = StoreLookup(store)
    assert pa.total_allocated_bytes() - before < 1000
    assert [lookup.masks(one).size_hw for one in "ab"] == [(96, 96), (32, 32)]
    assert lookup.masks("a").areas.tolist() == [96 * 48]
    assert (lookup.row("a").image.version, lookup.row("b").image.version) == ("2", "1")


def test_an_image_with_an_error_has_a_row_and_no_masks(store):
    lookup = StoreLookup(store)
    assert lookup.row("d").error == "damaged"
    assert lookup.masks("d") is None


def test_missing_images_have_neither(store):
    lookup = StoreLookup(store)
    assert (lookup.row("c"), lookup.masks("c")) == (None, None)
    assert lookup.missing(["c", "a", "d", "e"]) == ["c", "e"]
