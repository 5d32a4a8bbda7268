"""A Parquet manifest: a table of URIs, for sources too large or too scattered to list.

Columns: `uri` (absolute, or relative to the manifest's folder), `image_id` (the URI as written where absent), `version`
(asked for, one request an image, where absent). Of several rows of one id the first counts. Read as a stream, file by
file, in their order; sixteen bytes of each id are held.
"""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from segray.errors import SourceError
from segray.formats.manifest import ManifestSource
from segray.formats.source import name_problem, version_or_missing
from segray.storage import files, names
from segray.storage.prefetch import map_in_order
from segray.store.keys import KeySet, as_keys
from segray.store.out_of_core import Records
from segray.store.rows import SOURCE, ImageRow
from segray.tally import Reason, Tally

REPEATED = Reason("repeated", "have an image_id that an earlier row has", is_damage=True)
BESIDE = Reason("beside", "have no name in .parquet and are left out")

_BATCH_ROWS = 16_384


class ManifestImages:
    """The images that a Parquet file, or all those below a folder, name."""

    classes: tuple[str, ...] = ()

    def __init__(self, config: ManifestSource) -> None:
        self._uri, self._outside, self.tally = config.uri, config.outside, Tally()

    def rows(self) -> Iterator[ImageRow]:
        """See `Source`."""
        uri = files.absolute(self._uri)
        single = files.version(uri) is not None
        base = files.parent(uri) if single else uri
        parts = iter([uri]) if single else self._parquet_files(uri)
        self.tally.restart("rows")
        ids, found = SeenIds(), False
        for part in parts:
            found = True
            for read in _read(part, base, outside=self._outside):
                rows = self._first(read, ids)
                complete = all(row.version for row in rows)
                yield from rows if complete else map_in_order(_complete, rows)
        if not found:
            raise SourceError(f"{uri}: holds no .parquet files")

    def _parquet_files(self, folder: str) -> Iterator[str]:
        self.tally.restart("files")
        for entry in files.list_files(folder):
            if entry.path.lower().endswith(".parquet"):
                self.tally.use("files")
                yield entry.uri
            else:
                self.tally.leave_out("files", BESIDE, entry.path)

    def _first(self, rows: list[ImageRow], ids: "SeenIds") -> list[ImageRow]:
        """Return the rows whose id no earlier row has, and count all of them."""
        first = []
        for row, is_new in zip(rows, ids.add([row.image_id for row in rows]), strict=True):
            if is_new:
                first.append(row)
            else:
                self.tally.leave_out("rows", REPEATED, row.image_id)
        self.tally.use("rows", len(first))
        return first

    def instances(self, image_id: str, *, crowds: bool = False) -> None:  # noqa: ARG002 - a manifest has no annotations
        """Return None: a manifest has no annotations."""
        return


class SeenIds:
    """The ids met so far: sixteen bytes of each, in sorted layers of which each is larger than the next."""

    def __init__(self) -> None:
        self._layers: list[Records] = []

    def add(self, ids: Sequence[str]) -> list[bool]:
        """Add ids; return which of them are here for the first time."""
        keys = as_keys(hashlib.blake2b(one.encode(), digest_size=16).digest() for one in ids)
        is_first = np.zeros(len(keys), dtype=np.bool_)
        is_first[np.unique(keys, return_index=True)[1]] = True
        is_first &= ~KeySet([[layer] for layer in self._layers]).contains(keys)
        layer = np.unique(keys[is_first])
        while self._layers and len(self._layers[-1]) <= len(layer):
            layer = np.union1d(self._layers.pop(), layer)
        self._layers.append(layer)
        return [bool(one) for one in is_first]


def _read(uri: str, base: str, *, outside: bool) -> Iterator[list[ImageRow]]:
    """A file's rows as it has them, batch by batch; version "" where it has none."""
    system, path = files.filesystem(uri)
    try:
        with system.open_input_file(path) as stream:
            table = pq.ParquetFile(stream)
            columns = [name for name in SOURCE.names if name in table.schema_arrow.names]
            if "uri" not in columns:
                raise SourceError(f"{uri}: has no column uri, only {', '.join(table.schema_arrow.names)}")
            # Group by group: one reader for all of them holds something of each from the start.
            for group in range(table.num_row_groups):
                for batch in table.iter_batches(_BATCH_ROWS, row_groups=[group], columns=columns):
                    yield _rows(batch, uri, base, outside=outside)
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{uri}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error


def _rows(batch: pa.RecordBatch, uri: str, base: str, *, outside: bool) -> list[ImageRow]:
    column = {name: batch.column(name).to_pylist() for name in batch.schema.names}
    for name in ("uri", "image_id"):
        for value in column.get(name, ()):
            if problem := name_problem(value):
                raise SourceError(f"{uri}: {name} {problem}")
    given = column["uri"]
    resolved = names.resolve_all(base, given, outside=outside)
    uris = [resolved[one] for one in given]
    triples = zip(column.get("image_id", given), uris, column.get("version", [None] * len(uris)), strict=True)
    return [ImageRow(image_id=i, uri=u, version="" if v is None else str(v)) for i, u, v in triples]


def _complete(row: ImageRow) -> ImageRow:
    return row if row.version else ImageRow(image_id=row.image_id, uri=row.uri, version=version_or_missing(row.uri))
