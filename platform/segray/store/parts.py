"""Parts: the Parquet files of a store. One file is one commit; everything known of its rows is read out of itself.

A part holds `LABELED` rows sorted by key, and beside each what questions about all rows need: `key` (16 bytes for
image and version), `image_key` (16 bytes for the image alone), `written` and `num_masks`. A key is known exactly when
the part that holds it is. Knows one part at a time, nothing of which row counts.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from segray.errors import SourceError, StoreError
from segray.storage import commits, files
from segray.storage.prefetch import map_in_order
from segray.store.out_of_core import KEY, Records
from segray.store.rows import LABELED, ImageRow, LabeledRow, labeled_table

FOLDER = "parts"
PART = pa.schema(
    [
        *LABELED,
        pa.field("key", pa.binary(16), nullable=False),
        pa.field("image_key", pa.binary(16), nullable=False),
        pa.field("written", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("num_masks", pa.int32(), nullable=False),
    ]
)
"""A part's columns."""

GROUP_BYTES = 16 * 2**20
"""Uncompressed bytes of a row group, unless one row has more: what a reader holds at once."""

WHOLE_BYTES = 256 * 2**10
"""Largest part that is read whole from an object store, where a few columns are asked for: a request costs as much."""

_AHEAD = 16
"""Parts read before they are asked for."""
_MASKS = "masks.list.element."
_STATISTICS = ["image_id", "version", "error", "seconds", "height", "width", "key", "image_key", "written", "num_masks"]
_DICTIONARY = ["error", "written", "height", "width", f"{_MASKS}provenance", f"{_MASKS}class_id", f"{_MASKS}attributes"]


class PartMoved(Exception):  # noqa: N818 - a turn of events, not an error
    """A part was deleted or replaced since it was listed: list again."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part as listed."""

    uri: str
    name: str
    size: int
    version: str


def image_key(image_id: str) -> bytes:
    """16 bytes that stand for an image, whatever its version."""
    return hashlib.blake2b(image_id.encode(), digest_size=16).digest()


def part_table(rows: pa.Table | Sequence[LabeledRow]) -> pa.Table:
    """`LABELED` rows as a part holds them: sorted by key, each key once (the last row given with it), stamped now.

    Raises:
        ValueError: no rows, or a table that is not `LABELED`.
    """
    table = rows if isinstance(rows, pa.Table) else labeled_table(rows)
    if not table.num_rows:
        raise ValueError("a part of 0 rows: give at least one")
    table = table.select(LABELED.names).cast(LABELED)
    ids, versions = table["image_id"].to_pylist(), table["version"].to_pylist()
    pairs = zip(ids, versions, strict=True)
    keys = [ImageRow(image_id=image_id, uri="", version=version).key for image_id, version in pairs]
    last = {key: place for place, key in enumerate(keys)}
    order = [last[key] for key in sorted(last)]
    columns = {
        **{name: table[name] for name in LABELED.names},
        "key": pa.array(keys, pa.binary(16)),
        "image_key": pa.array([image_key(image_id) for image_id in ids], pa.binary(16)),
        "written": pa.array(np.full(len(keys), time.time_ns() // 1000), PART.field("written").type),
        "num_masks": pc.list_value_length(table["masks"]).cast(pa.int32()),
    }
    return pa.table(columns, schema=PART).take(order)


def commit_part(store_uri: str, table: pa.Table) -> str:
    """Commit a part named by its keys, so that writing the same images again replaces it. Returns its name.

    Raises:
        StoreError: it could not be written; the store is as before.
    """
    name = f"batch-{hashlib.blake2b(b''.join(table['key'].to_pylist()), digest_size=16).hexdigest()}.parquet"
    with PartWriter() as writer:
        writer.write(table)
        commits.commit(files.join(store_uri, FOLDER, name), writer.finish())
    return name


class PartWriter:
    """A part in the making, in memory: compressed bytes, plus at most one row group not yet written.

    A part is one buffer because one write is all that every object store promises to be whole.
    """

    def __init__(self) -> None:
        self._sink = pa.BufferOutputStream()
        self._writer = pq.ParquetWriter(
            self._sink,
            PART,
            compression="zstd",
            use_dictionary=_DICTIONARY,
            write_statistics=_STATISTICS,
            write_page_checksum=True,
        )
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0

    def __enter__(self) -> "PartWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, table: pa.Table) -> None:
        """Add `PART` rows."""
        if table.nbytes > GROUP_BYTES and table.num_rows > 1:
            half = table.num_rows // 2
            self.write(table.slice(0, half))
            self.write(table.slice(half))
            return
        if self._waiting_bytes + table.nbytes > GROUP_BYTES:
            self._flush()
        self._waiting.append(table)
        self._waiting_bytes += table.nbytes

    def finish(self) -> pa.Buffer:
        """The file's bytes."""
        self._flush()
        self._writer.close()
        return self._sink.getvalue()

    def _flush(self) -> None:
        if self._waiting:
            table = pa.concat_tables(self._waiting)
            self._writer.write_table(table, row_group_size=table.num_rows)
        self._waiting, self._waiting_bytes = [], 0


def list_parts(store_uri: str) -> list[Part]:
    """The parts that are there, by name; temporary files are none.

    Raises:
        StoreError: the folder cannot be listed.
    """
    folder = files.join(store_uri, FOLDER)
    try:
        found = files.list_files(folder, (".parquet",))
        return [Part(uri=entry.uri, name=entry.path, size=entry.size, version=entry.version) for entry in found]
    except SourceError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return []
        raise StoreError(str(error)) from error


def read_groups(part: Part, columns: Sequence[str]) -> Iterator[pa.Table]:
    """A part's columns, row group by row group.

    Raises:
        PartMoved: it is not what was listed any more.
        StoreError: it is damaged, or no part of a store.
    """
    try:
        with _open(part) as source:
            file = pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=True)
            for group in range(file.num_row_groups):
                yield file.read_row_group(group, columns=list(columns), use_threads=False).select(columns)
    except (OSError, pa.ArrowException, KeyError, SourceError) as error:
        _judge(part, error)


def _open(part: Part) -> Any:
    """Open a part for reading: one in an object store that is small in one request, whatever is read of it."""
    system, path = files.filesystem(part.uri)
    if part.size <= WHOLE_BYTES and not isinstance(system, fs.LocalFileSystem):
        return pa.BufferReader(files.read_bytes(part.uri))
    return system.open_input_file(path)


def read_rows(part: Part, chosen: npt.NDArray[np.bool_], columns: Sequence[str]) -> Iterator[pa.Table]:
    """Columns of the chosen rows of a part, row group by row group; `chosen` is (rows,).

    Raises:
        PartMoved: as `read_groups`, or it has another number of rows.
        StoreError: as `read_groups`.
    """
    if not chosen.any():
        return
    start = 0
    for group in read_groups(part, columns):
        mask = chosen[start : start + group.num_rows]
        if len(mask) != group.num_rows:
            raise PartMoved(part.name)
        start += group.num_rows
        if mask.any():
            yield group if mask.all() else group.filter(pa.array(mask))


def read_ahead(parts: Sequence[Part], columns: Sequence[str]) -> Iterator[pa.Table]:
    """These columns of each part as one table, in order, read by a few threads a few parts ahead.

    Raises:
        PartMoved, StoreError: as `read_groups`.
    """

    def read(part: Part) -> pa.Table:
        return pa.concat_tables([_empty(columns), *read_groups(part, columns)])

    return map_in_order(read, parts, ahead=_AHEAD)


def keys_of(table: pa.Table, name: str = "key") -> Records:
    """(N,) 16-byte keys of a column."""
    array = table[name].combine_chunks()
    if not len(array):
        return np.empty(0, KEY)
    return np.frombuffer(array.buffers()[1], KEY, count=len(array), offset=array.offset * KEY.itemsize)


def _empty(columns: Sequence[str]) -> pa.Table:
    return pa.schema([PART.field(name) for name in columns]).empty_table()


def _judge(part: Part, error: Exception) -> NoReturn:
    """Tell a part that another process replaced from one that is damaged."""
    try:
        moved = files.version(part.uri) != part.version
    except SourceError as unreachable:
        raise StoreError(str(unreachable)) from error
    if moved:
        raise PartMoved(part.name) from error
    raise StoreError(
        f"{part.uri}: this part cannot be read ({str(error).splitlines()[0]}); if it is damaged, delete it and run "
        "the job again: its images are computed again"
    ) from error
