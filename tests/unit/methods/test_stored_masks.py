"""A store's masks by image: the newest version's, and none of them in this process's own memory."""

import numpy as np
import pyarrow as pa
import pytest

from segray.errors import TrainError
from segray.masks.instances import Instances
from segray.methods.stored_masks import StoredMasks
from segray.store import Store
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
    store.write_part([labeled("a", "2", 96)])
    return store.uri


def test_masks_are_the_newest_versions_and_mapped(store):
    before = pa.total_allocated_bytes()
    masks = StoredMasks(store)
    assert pa.total_allocated_bytes() - before < 1000
    assert [masks.find(one).size_hw for one in "ab"] == [(96, 96), (32, 32)]
    assert masks.find("a").areas.tolist() == [96 * 48]
    assert masks.find("c") is None


def test_images_that_are_missing_are_named(store):
    masks = StoredMasks(store)
    masks.check(["a", "b"])
    with pytest.raises(TrainError, match=r"1 unlabeled images are not in .*: c;"):
        masks.check(["a", "c"])
