"""A label job's store, asked by image: for refinement without a SAM in the training process."""

from collections.abc import Iterable

import pyarrow as pa

from segray.data.rows import labeled_rows
from segray.data.store import Store
from segray.errors import TrainError
from segray.masks.instances import Instances

_SHOWN = 5


class AutomaticMasks:
    """The masks of a store, held as its Arrow batches; those of an image become `Instances` when they are asked for."""

    def __init__(self, store: str) -> None:
        """Read the store.

        Raises:
            StoreError: it is not there, or damaged.
        """
        self.store = store
        self._batches: list[pa.RecordBatch] = list(Store.open(store).rows())
        self._places = {
            image_id: (number, row)
            for number, batch in enumerate(self._batches)
            for row, image_id in enumerate(batch.column("image_id").to_pylist())
        }

    def find(self, image_id: str) -> Instances | None:
        """The image's masks; None where the store does not hold it, or only as refused."""
        place = self._places.get(image_id)
        if place is None:
            return None
        return labeled_rows(self._batches[place[0]].slice(place[1], 1))[0].instances

    def check(self, image_ids: Iterable[str]) -> None:
        """See that all images are there, before a training leans on it.

        Raises:
            TrainError: some are not.
        """
        missing = [image_id for image_id in image_ids if image_id not in self._places]
        if missing:
            few = ", ".join(missing[:_SHOWN])
            raise TrainError(
                f"{len(missing)} unlabeled images are not in {self.store}: {few}; label them first (`segray label`)"
            )
