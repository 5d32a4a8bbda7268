"""A label job's store, asked by image: for refinement without a SAM in the training process."""

from collections.abc import Iterable
from tempfile import TemporaryDirectory

import pyarrow as pa

from segray.data.rows import LABELED, labeled_rows
from segray.data.store import Store
from segray.errors import TrainError
from segray.masks.instances import Instances

_SHOWN = 5


def _mapped(batches: Iterable[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """The batches in a file that has no name any more: it goes with the last of them."""
    with TemporaryDirectory() as folder:
        path = f"{folder}/masks.arrow"
        with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, LABELED) as writer:
            for batch in batches:
                writer.write_batch(batch)
        reader = pa.ipc.open_file(pa.memory_map(path))
        return [reader.get_batch(number) for number in range(reader.num_record_batches)]


class AutomaticMasks:
    """The masks of a store, of each image the version written last; an image's become `Instances` when asked for.

    They lie in a mapped temporary file (as large as the store is uncompressed, one per process), so that the system may
    drop from memory what is not in use; only the images' ids are held.
    """

    def __init__(self, store: str) -> None:
        """Copy the store's rows.

        Raises:
            StoreError: it is not there, or damaged.
        """
        self.store = store
        self._batches = _mapped(Store.open(store).rows())
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
