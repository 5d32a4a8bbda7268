"""Images that a training needs and a store lacks."""

from pathlib import Path

import pytest

from segray.errors import TrainError
from segray.masks.instances import Instances
from segray.methods.labeled_images import check_labeled
from segray.store import Store
from segray.store.lookup import StoreLookup
from segray.store.rows import ImageRow, LabeledRow


def test_images_that_the_store_lacks_are_named(tmp_path: Path) -> None:
    store = Store.create(str(tmp_path), "masks", {})
    image = ImageRow(image_id="a", uri="a", version="1")
    store.write_part([LabeledRow(image=image, instances=Instances.empty((4, 4)))])
    lookup = StoreLookup(store.uri)
    check_labeled(lookup, ["a"])
    with pytest.raises(TrainError, match=r"1 unlabeled images are not in .*: c;"):
        check_labeled(lookup, ["a", "c"])
