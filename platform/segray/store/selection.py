"""Which rows count: each image and version once, and of several versions the newest written.

Of several rows with one key one without an error beats one with, then the newest beats the older. Knows keys, never
masks: 49 bytes a row, on disk beyond `out_of_core.IN_MEMORY`, plus one byte a row for the answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segray.store.keys import KeySet
from segray.store.out_of_core import KEY, PartitionedRecords, RecordFile, Records
from segray.store.parts import Part, keys_of, read_ahead

_COLUMNS = ("key", "image_key", "written", "error")
_INDEX = np.dtype([("key", KEY), ("image", KEY), ("written", "i8"), ("ok", "?"), ("place", "i8")])


@dataclass(frozen=True, kw_only=True)
class RowFilter:
    """What to choose from."""

    keys: KeySet | None = None
    """Only these images and versions."""
    images: KeySet | None = None
    """Only these images."""
    newest: bool = False
    """Of each image only the version written last."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The rows that count, part by part."""

    parts: Sequence[Part]
    chosen: Sequence[npt.NDArray[np.bool_]]
    """Of each part, (rows,)."""
    keys: RecordFile
    """The keys of the chosen rows, in no order."""

    @property
    def count(self) -> int:
        """Rows that count."""
        return sum(int(chosen.sum()) for chosen in self.chosen)


def select(parts: Sequence[Part], row_filter: RowFilter) -> Selection:
    """Choose the rows that count among all rows of these parts.

    Raises:
        PartMoved, StoreError: as `parts.read_groups`.
    """
    partitions, edges = PartitionedRecords(_INDEX, key="image"), [0]
    for table in read_ahead(parts, _COLUMNS):
        index = _index(table, edges[-1])
        edges.append(edges[-1] + len(index))
        partitions.append(index[_matching(index, row_filter)])
    chosen, keys = np.zeros(edges[-1], bool), RecordFile(KEY)
    for index in partitions:
        winners = _winners(index, newest=row_filter.newest)
        chosen[winners["place"]] = True
        keys.append(winners["key"])
    return Selection(parts=parts, chosen=np.split(chosen, edges[1:-1]) if parts else [], keys=keys)


def _index(table: pa.Table, start: int) -> Records:
    index = np.empty(table.num_rows, _INDEX)
    index["key"], index["image"] = keys_of(table, "key"), keys_of(table, "image_key")
    index["written"] = table["written"].cast(pa.int64()).to_numpy()
    index["ok"] = pc.is_null(table["error"]).to_numpy()
    index["place"] = np.arange(start, start + table.num_rows)
    return index


def _matching(index: Records, row_filter: RowFilter) -> npt.NDArray[np.bool_]:
    matching = np.ones(len(index), bool)
    if row_filter.keys is not None:
        matching &= row_filter.keys.contains(index["key"])
    if row_filter.images is not None:
        matching &= row_filter.images.contains(index["image"])
    return matching


def _winners(index: Records, *, newest: bool) -> Records:
    best = _last_of_each(index, "key", ("ok", "written", "place"))
    return _last_of_each(best, "image", ("written", "key")) if newest else best


def _last_of_each(index: Records, group: str, by: Sequence[str]) -> Records:
    """Of the records that are equal in `group` the one that is last by the other fields."""
    order = np.argsort(index[group], kind="stable")
    sorted_group = index[group][order]
    last = np.ones(len(index), bool)
    last[:-1] = sorted_group[1:] != sorted_group[:-1]
    if last.all():
        return index
    # Few rows have doubles, and only those are worth a sort by several fields.
    double = ~last
    double[1:] |= ~last[:-1]
    several = index[order[double]]
    several = several[np.lexsort([several[name] for name in (*reversed(by), group)])]
    ends = np.ones(len(several), bool)
    ends[:-1] = several[group][1:] != several[group][:-1]
    return np.concatenate([index[order[~double]], several[ends]])
