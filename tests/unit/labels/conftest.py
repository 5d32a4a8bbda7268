"""Images with rectangles of two classes, and a store whose masks are those rectangles: a SAM that is never wrong."""

import dataclasses

import numpy as np
import pytest

from segray.formats.sources import open_source
from segray.store import Store
from segray.store.rows import LabeledRow, labeled_rows
from segray.testing import write_coco

IMAGES = 8


@pytest.fixture(scope="session")
def coco(tmp_path_factory):
    return write_coco(tmp_path_factory.mktemp("coco"), IMAGES)


@pytest.fixture(scope="session")
def masks_store(coco, tmp_path_factory):
    source = open_source(coco)
    rows = []
    for image in source.rows():
        found = source.instances(image.image_id)
        unknown = dataclasses.replace(
            found, classes=np.full(len(found), -1, np.int32), provenance=np.full(len(found), "sam:true", object)
        )
        rows.append(LabeledRow(image=image, sha256="0" * 64, instances=unknown))
    rows[-1] = LabeledRow(image=rows[-1].image, error="truncated", detail="as a test has it")
    store = Store.create(str(tmp_path_factory.mktemp("stores")), "masks", {"of": "rectangles"})
    store.write_part(rows)
    return store


@pytest.fixture
def run(tmp_path):
    """What a stage leaves of images, read back from the store that its content names."""

    def go(stage, images):
        store = Store.create(str(tmp_path / "stores"), stage.name, stage.content)
        store.write_part(list(stage.build()(list(images))))
        rows = [row for batch in store.rows() for row in labeled_rows(batch)]
        return store, {row.image.image_id: row for row in rows}

    return go
