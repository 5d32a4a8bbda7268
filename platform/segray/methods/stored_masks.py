"""A label job's store, asked by image: masks or label maps that training learns from without a SAM in its process."""

from collections.abc import Iterable

from segray.errors import TrainError
from segray.masks.instances import Instances
from segray.store import Store
from segray.store.mapped_rows import MappedRows

_SHOWN = 5


class StoredMasks:
    """The masks of a store, of each image the version written last; an image's become `Instances` when asked for."""

    def __init__(self, store: str) -> None:
        """Map the store's rows (see `MappedRows`).

        Raises:
            StoreError: it is not there, or damaged.
        """
        self.store = store
        self._rows = MappedRows(Store.open(store))

    def find(self, image_id: str) -> Instances | None:
        """The image's masks; None where the store does not hold it, or only as refused."""
        row = self._rows.find(image_id)
        return None if row is None else row.instances

    def check(self, image_ids: Iterable[str]) -> None:
        """See that all images are there, before a training leans on it.

        Raises:
            TrainError: some are not.
        """
        missing = [image_id for image_id in image_ids if image_id not in self._rows]
        if missing:
            few = ", ".join(missing[:_SHOWN])
            raise TrainError(
                f"{len(missing)} unlabeled images are not in {self.store}: {few}; label them first (`segray label`)"
            )
