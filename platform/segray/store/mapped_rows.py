"""A store's rows, asked by image, and none of them in this process's own memory."""

from collections.abc import Iterable
from tempfile import TemporaryDirectory

import pyarrow as pa

from segray.store import Store
from segray.store.rows import LABELED, LabeledRow, labeled_rows


class MappedRows:
    """The rows of a store, of each image the version written last.

    They lie in a mapped temporary file (as large as the store is uncompressed, one per process), so that the system may
    drop from memory what is not in use; only the images' ids are held.
    """

    def __init__(self, store: Store) -> None:
        """Copy the store's rows.

        Raises:
            StoreError: it is damaged.
        """
        self._batches = _mapped(store.rows())
        self._places = {
            image_id: (number, row)
            for number, batch in enumerate(self._batches)
            for row, image_id in enumerate(batch.column("image_id").to_pylist())
        }

    def __contains__(self, image_id: str) -> bool:
        return image_id in self._places

    def find(self, image_id: str) -> LabeledRow | None:
        """The image's row; None where the store does not hold it."""
        place = self._places.get(image_id)
        return None if place is None else labeled_rows(self._batches[place[0]].slice(place[1], 1))[0]


def _mapped(batches: Iterable[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """The batches in a file that has no name any more: it goes with the last of them."""
    with TemporaryDirectory() as folder:
        path = f"{folder}/masks.arrow"
        with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, LABELED) as writer:
            for batch in batches:
                writer.write_batch(batch)
        reader = pa.ipc.open_file(pa.memory_map(path))
        return [reader.get_batch(number) for number in range(reader.num_record_batches)]
