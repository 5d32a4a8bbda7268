"""A store's rows by image id, none of them in this process's own memory."""

from collections.abc import Iterable
from tempfile import TemporaryDirectory

import pyarrow as pa

from segray.masks.instances import Instances
from segray.store import Store
from segray.store.rows import LABELED, LabeledRow, labeled_rows


class StoreLookup:
    """The rows of a store by image id, of each image the version written last.

    They lie in a mapped temporary file (as large as the store is uncompressed, one per process), so that the system may
    drop from memory what is not in use; only the images' ids are held.
    """

    def __init__(self, store_uri: str) -> None:
        """Copy the store's rows.

        Raises:
            StoreError: it is not there, or damaged.
        """
        self.store_uri = store_uri
        self._batches = _mapped(Store.open(store_uri).rows())
        self._places = {
            image_id: (number, row)
            for number, batch in enumerate(self._batches)
            for row, image_id in enumerate(batch.column("image_id").to_pylist())
        }

    def row(self, image_id: str) -> LabeledRow | None:
        """Return the image's row; None where the store does not hold it."""
        place = self._places.get(image_id)
        return None if place is None else labeled_rows(self._batches[place[0]].slice(place[1], 1))[0]

    def masks(self, image_id: str) -> Instances | None:
        """Return the image's masks; None where the store does not hold it, or only with an error."""
        row = self.row(image_id)
        return None if row is None else row.instances

    def missing(self, image_ids: Iterable[str]) -> list[str]:
        """Return those of the images that the store does not hold, in their order."""
        return [image_id for image_id in image_ids if image_id not in self._places]


def _mapped(batches: Iterable[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """Write batches to a file and map it. Its name is deleted at once, its space with the last of the batches."""
    with TemporaryDirectory() as folder:
        path = f"{folder}/masks.arrow"
        with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, LABELED) as writer:
            for batch in batches:
                writer.write_batch(batch)
        reader = pa.ipc.open_file(pa.memory_map(path))
        return [reader.get_batch(number) for number in range(reader.num_record_batches)]
