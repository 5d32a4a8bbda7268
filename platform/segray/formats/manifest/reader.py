"""A Parquet manifest: a table of URIs, for sources too large or too scattered to list.

Columns: `uri` (absolute, or relative to the manifest's folder), `image_id` (must be unique; the URI as written where
absent), `version` (asked for, one request an image, where absent). Read as a stream, file by file, in their order.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from segray.errors import SourceError
from segray.formats.manifest import ManifestSource
from segray.formats.source import name_problem, version_or_missing
from segray.storage import files
from segray.storage.prefetch import map_in_order
from segray.store.rows import SOURCE, ImageRow

_BATCH_ROWS = 16_384


class ManifestImages:
    """The images that a Parquet file, or all those below a folder, name."""

    classes: tuple[str, ...] = ()

    def __init__(self, config: ManifestSource) -> None:
        self._uri = config.uri

    def rows(self) -> Iterator[ImageRow]:
        """See `Source`."""
        uri = files.absolute(self._uri)
        single = files.version(uri) is not None
        base = files.parent(uri) if single else uri
        parts = [uri] if single else (entry.uri for entry in files.list_files(uri, (".parquet",)))
        found = False
        for part in parts:
            found = True
            for rows in _read(part, base):
                complete = all(row.version for row in rows)
                yield from rows if complete else map_in_order(_complete, rows)
        if not found:
            raise SourceError(f"{uri}: holds no .parquet files")

    def instances(self, image_id: str, *, crowds: bool = False) -> None:  # noqa: ARG002 - a manifest has no annotations
        """Return None: a manifest has no annotations."""
        return


def _read(uri: str, base: str) -> Iterator[list[ImageRow]]:
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
                    yield _rows(batch, uri, base)
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{uri}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error


def _rows(batch: pa.RecordBatch, uri: str, base: str) -> list[ImageRow]:
    column = {name: batch.column(name).to_pylist() for name in batch.schema.names}
    for name in ("uri", "image_id"):
        for value in column.get(name, ()):
            if problem := name_problem(value):
                raise SourceError(f"{uri}: {name} {problem}")
    uris = column["uri"]
    triples = zip(column.get("image_id", uris), uris, column.get("version", [None] * len(uris)), strict=True)
    return [ImageRow(image_id=i, uri=files.join(base, u), version="" if v is None else str(v)) for i, u, v in triples]


def _complete(row: ImageRow) -> ImageRow:
    return row if row.version else ImageRow(image_id=row.image_id, uri=row.uri, version=version_or_missing(row.uri))
