"""Streaming the rows of a store, one row group in memory, while others write, merge and delete.

Which rows to give is settled when reading begins. Where a part goes away meanwhile, the rows not yet given are looked
for in the parts that took its place; rows that are nowhere any more are an error, never left out.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from segray.errors import StoreError
from segray.store.keys import KeySet
from segray.store.out_of_core import KEY, RecordFile
from segray.store.part_listing import with_parts
from segray.store.parts import Part, PartMoved, keys_of, read_rows
from segray.store.selection import RowFilter, Selection, select


def stream(store_uri: str, columns: Sequence[str], row_filter: RowFilter) -> Iterator[pa.RecordBatch]:
    """The chosen rows' columns, at most a row group at a time, in an order that the parts decide.

    Raises:
        StoreError: a part is damaged, or rows were deleted while they were read.
    """

    def pick(row_filter: RowFilter, parts: Sequence[Part]) -> Selection:
        return select(parts, row_filter)

    selection = with_parts(store_uri, partial(pick, row_filter))
    planned, given = selection.keys, RecordFile(KEY)
    while selection.count:
        try:
            yield from _stream(selection, columns, given)
            break
        except PartMoved:
            left = np.setdiff1d(planned.load(), given.load())
            selection = with_parts(store_uri, partial(pick, RowFilter(keys=KeySet([[left]]))))
            if selection.count < len(left):
                gone = len(left) - selection.count
                raise StoreError(f"{store_uri}: {gone} rows were deleted while they were read; read again") from None


def _stream(selection: Selection, columns: Sequence[str], given: RecordFile) -> Iterator[pa.RecordBatch]:
    needed = [*columns, *({"key"} - set(columns))]
    for part, chosen in zip(selection.parts, selection.chosen, strict=True):
        for rows in read_rows(part, chosen, needed):
            # Before the yield: whoever stops reading never comes back, whoever goes on has had them.
            given.append(keys_of(rows))
            yield from rows.select(columns).combine_chunks().to_batches()
