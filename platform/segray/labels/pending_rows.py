"""What is still to do: pending rows spooled to the driver's disk, so that they can be counted and memory stays flat."""

import random
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from segray.store.rows import SOURCE, ImageRow, source_table

CHUNK = 4096
"""Rows to a batch on disk."""


class PendingRows(AbstractContextManager["PendingRows"]):
    """Rows in an Arrow file that goes with the plan. Use in a `with`."""

    def __init__(self, rows: Iterable[ImageRow]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="segray-plan-")
        self._path = Path(self._folder.name) / "rows.arrow"
        self.number = 0
        rows = iter(rows)
        with pa.OSFile(str(self._path), "wb") as sink, pa.ipc.new_file(sink, SOURCE) as writer:
            while chunk := list(islice(rows, CHUNK)):
                writer.write_table(source_table(chunk))
                self.number += len(chunk)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def parts(self, rows_per_part: int, chosen: frozenset[int] | None = None) -> Iterator[pa.Table]:
        """All rows, or the ones at the chosen positions, in tables of `rows_per_part`."""
        waiting, position = pa.Table.from_batches([], SOURCE), 0
        for batch in self._batches():
            table = pa.Table.from_batches([batch])
            if chosen is not None:
                here = [i for i in range(len(table)) if position + i in chosen]
                table = table.take(pa.array(here, pa.int64()))
            position += len(batch)
            waiting = pa.concat_tables([waiting, table])
            while len(waiting) >= rows_per_part:
                yield waiting.slice(0, rows_per_part).combine_chunks()
                waiting = waiting.slice(rows_per_part)
        if len(waiting):
            yield waiting.combine_chunks()

    def sample(self, number: int, seed: int) -> frozenset[int]:
        """Positions of rows drawn without replacement."""
        return frozenset(random.Random(seed).sample(range(self.number), min(number, self.number)))

    def _batches(self) -> Iterator[pa.RecordBatch]:
        with pa.memory_map(str(self._path)) as source, pa.ipc.open_file(source) as reader:
            for index in range(reader.num_record_batches):
                yield reader.get_batch(index)
