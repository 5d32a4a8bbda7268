"""Many fixed-size records, split by the first byte of a key once they are too many for memory.

Knows NumPy and local temporary files, nothing of stores. Splitting and sorting partition by partition is what bounds
the memory of every question about all keys of a store.
"""

import weakref
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import Any

import numpy as np
import numpy.typing as npt

KEY = np.dtype("S16")
"""A 16-byte hash. All lengths being equal, comparing, sorting and searching are right also where zero bytes end it."""

IN_MEMORY = 64 * 2**20
"""Bytes of records held before they are split into files."""

PARTITIONS = 256
_FILE_IN_MEMORY = 2**18
"""Bytes that a file of records holds in memory before it lies on disk."""

Records = npt.NDArray[Any]


def first_bytes(keys: Records) -> npt.NDArray[np.uint8]:
    """(N,) the byte that partitions go by."""
    return np.ascontiguousarray(keys).view(np.uint8)[:: KEY.itemsize]


class RecordFile:
    """Records in the order they came, on disk where they are many."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._file = SpooledTemporaryFile(max_size=_FILE_IN_MEMORY)  # noqa: SIM115 - lives as long as this object
        weakref.finalize(self, self._file.close)

    def append(self, records: Records) -> None:
        """Add records of the one dtype."""
        self._file.write(np.ascontiguousarray(records).tobytes())

    def load(self) -> Records:
        """All records, in memory."""
        self._file.seek(0)
        records = np.frombuffer(self._file.read(), self._dtype)
        self._file.seek(0, 2)
        return records


class PartitionedRecords:
    """Records that are read back as one array, or, beyond `IN_MEMORY` bytes, as 256 by the first byte of a key.

    Equal keys are always in the same array; where there are 256, they come in the order of that byte.
    """

    def __init__(self, dtype: np.dtype[Any], key: str | None = None) -> None:
        """`key` names the field that partitions go by; None: the records are bare keys."""
        self._dtype = dtype
        self._key = key
        self._held: list[Records] = []
        self._held_bytes = 0
        self._files: list[RecordFile] = []

    def append(self, records: Records) -> None:
        """Add records of the one dtype."""
        self._held.append(records)
        self._held_bytes += records.nbytes
        if self._held_bytes > IN_MEMORY:
            self._split()

    def __iter__(self) -> Iterator[Records]:
        if not self._files:
            yield self._together()
            return
        self._split()
        for file in self._files:
            yield file.load()

    def _together(self) -> Records:
        return np.concatenate([np.empty(0, self._dtype), *self._held])

    def _split(self) -> None:
        records = self._together()
        self._held, self._held_bytes = [], 0
        if not self._files:
            self._files = [RecordFile(self._dtype) for _ in range(PARTITIONS)]
        places = first_bytes(records if self._key is None else records[self._key])
        order = np.argsort(places, kind="stable")
        edges = np.searchsorted(places[order], np.arange(PARTITIONS + 1))
        for file, start, stop in zip(self._files, edges[:-1], edges[1:], strict=True):
            file.append(records[order[start:stop]])
